# SPDX-License-Identifier: GPL-3.0-or-later
"""The log's messages, recorded dialogs, pauses, and the check for pjsua2."""

import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from bridge.errors import LocalError
from bridge.sip.dialog_state import DialogState, as_callee, as_caller
from bridge.sip.guard import guarded
from bridge.sip.loader import check_pjsua2
from bridge.sip.messages import parse
from bridge.sip.pauses import registration_pause
from bridge.sip.tap import read_entry, without_secrets, without_users

RECEIVED = (
    "RX 60 bytes Request msg OPTIONS/cseq=1 (rdata0x1) from UDP 192.0.2.1:5060:\n"
    "OPTIONS sip:x SIP/2.0\r\nCall-ID: one@x\r\n\r\nCall-ID: body\r\n"
    "\n--end msg--"
)


def test_received_message() -> None:
    tapped = read_entry(RECEIVED)
    assert tapped
    assert (tapped.direction, tapped.transport, tapped.peer) == (
        "received",
        "udp",
        "192.0.2.1:5060",
    )
    assert tapped.text == "OPTIONS sip:x SIP/2.0\r\nCall-ID: one@x\r\n\r\nCall-ID: body\r\n"
    assert tapped.call_id == "one@x"


def test_sent_message_by_ipv6() -> None:
    entry = (
        "TX 9 bytes Response msg 200/OPTIONS/cseq=1 (tdta0x1) to TLS6 [2001:db8::1]:5061:\n"
        "SIP/2.0 200 OK\r\ni: two\r\n\r\n\n--end msg--"
    )
    tapped = read_entry(entry)
    assert tapped
    assert (tapped.direction, tapped.transport, tapped.peer) == (
        "sent",
        "tls",
        "[2001:db8::1]:5061",
    )
    assert tapped.call_id == "two"


@pytest.mark.parametrize("entry", ["", "RX", "TX started", "Call 1: DISCONNECTED [reason=200]"])
def test_other_entries(entry: str) -> None:
    assert read_entry(entry) is None


def test_message_cut_short_by_the_log() -> None:
    tapped = read_entry(RECEIVED[:90])
    assert tapped
    assert tapped.text == RECEIVED[:90].partition(":\n")[2]
    assert tapped.call_id == ""


def test_log_line_has_no_users() -> None:
    line = 'To: "Ann" <sip:+12025550111@mx.test>;tag=1, tel:+12025550112\nmore'
    assert without_users(line) == 'To: "…" <sip:…@mx.test>;tag=1, tel:…'


def test_kept_message_has_no_secrets() -> None:
    text = (
        'Authorization: Digest username="me", response="0123abcd", qop=auth\r\n\r\n'
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3|2^20|1:32\r\n"
    )
    assert without_secrets(text) == (
        'Authorization: Digest username="me", response="…", qop=auth\r\n\r\n'
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:…|2^20|1:32\r\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "a=crypto:1 F8 inline:keepthisaway",
        "a=crypto: 1  F8  inline:keepthisaway",
        "a=crypto:1 F8 inline:keepthisaway|2^20|1:4;inline:keepthisaway|2^20|2:4 KDR=1",
        "a=crypto:1 F8 INLINE:keepthisaway",
        "a=crypto:1 inline:keepthisaway",
    ],
)
def test_no_key_is_kept_however_it_is_written(line: str) -> None:
    assert "keepthisaway" not in without_secrets(f"INVITE x\r\n\r\n{line}\r\na=sendrecv\r\n")


ANSWER = parse(
    "SIP/2.0 200 OK\r\nFrom: <sip:me@mx.test>;tag=ours\r\nTo: <sip:x@mx.test>;tag=theirs\r\n"
    "Call-ID: one\r\nCSeq: 7 INVITE\r\nContact: <sip:x@192.0.2.7:5070;ob>\r\n"
    "Record-Route: <sip:a.test;lr>\r\nRecord-Route: <sip:b.test;lr>\r\n\r\n"
)


def test_dialog_of_a_caller() -> None:
    dialog = as_caller(ANSWER, "t", "udp", "192.0.2.1:5060")
    assert dialog == DialogState(
        trunk="t",
        transport="udp",
        peer="192.0.2.1:5060",
        call_id="one",
        local="<sip:me@mx.test>;tag=ours",
        remote="<sip:x@mx.test>;tag=theirs",
        target="sip:x@192.0.2.7:5070;ob",
        routes=("<sip:b.test;lr>", "<sip:a.test;lr>"),
        cseq=7,
    )
    assert DialogState.from_json(dialog.to_json()) == dialog


def test_dialog_of_a_callee() -> None:
    invite = parse(
        "INVITE sip:me@mx.test SIP/2.0\r\nFrom: <sip:x@mx.test>;tag=theirs\r\n"
        "To: <sip:me@mx.test>\r\nCall-ID: one\r\nCSeq: 3 INVITE\r\nContact: sip:x@192.0.2.7\r\n"
        "Record-Route: <sip:a.test;lr>, <sip:b.test;lr>\r\n\r\n"
    )
    ack = parse(
        "ACK sip:me@192.0.2.2 SIP/2.0\r\nFrom: <sip:x@mx.test>;tag=theirs\r\n"
        "To: <sip:me@mx.test>;tag=ours\r\n\r\n"
    )
    dialog = as_callee(invite, ack, "t", "tcp", "192.0.2.1:5060")
    assert (dialog.local, dialog.remote, dialog.target) == (
        "<sip:me@mx.test>;tag=ours",
        "<sip:x@mx.test>;tag=theirs",
        "sip:x@192.0.2.7",
    )
    assert dialog.routes == ("<sip:a.test;lr>", "<sip:b.test;lr>")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"routes": []}', "nonsense"])
def test_what_is_not_a_dialog(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        DialogState.from_json(text)


def test_pauses_grow_to_two_minutes() -> None:
    pauses = [registration_pause(failures, 503, lambda: 1.0) for failures in range(1, 9)]
    assert pauses == [2, 4, 8, 16, 32, 64, 120, 120]
    assert registration_pause(10_000, 408, lambda: 1.0) == 120
    assert registration_pause(3, 408, lambda: 0.0) == 4


@pytest.mark.parametrize("status", [401, 403, 404])
def test_pauses_grow_to_half_an_hour_after_refusals(status: int) -> None:
    pauses = [registration_pause(failures, status, lambda: 1.0) for failures in (1, 9, 10, 11, 99)]
    assert pauses == [2, 512, 1024, 1800, 1800]


def test_accounts_do_not_come_back_all_at_once() -> None:
    pauses = {registration_pause(9, 503) for _ in range(50)}
    assert len(pauses) > 40
    assert min(pauses) >= 60
    assert max(pauses) <= 120


def test_exceptions_stay_inside() -> None:
    @guarded
    def callback(number: int) -> None:
        raise ValueError(number)

    with capture_logs() as logs:
        callback(5)
    assert [(entry["event"], entry["callback"]) for entry in logs] == [
        ("SIP callback failed", "callback")
    ]


def provide(monkeypatch: pytest.MonkeyPatch, version: str, calls: int) -> None:
    """Let pjsua2 be one of that version, built for that many calls."""
    config = SimpleNamespace(uaConfig=SimpleNamespace(maxCalls=calls))
    monkeypatch.setitem(sys.modules, "pjsua2", SimpleNamespace(EpConfig=lambda: config))
    monkeypatch.setattr(metadata, "version", lambda name: version)


@pytest.mark.parametrize("version", ["2.17", "2.17.1", "2.18-dev", "3.0"])
def test_pjsua2_that_will_do(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    provide(monkeypatch, version, 1024)
    assert check_pjsua2() == version


@pytest.mark.parametrize(
    ("version", "calls", "complaint"),
    [("2.16", 1024, r"2\.16, older than 2\.17"), ("2.17", 4, "for 4 calls at once, not 1024")],
)
def test_pjsua2_that_will_not_do(
    monkeypatch: pytest.MonkeyPatch, version: str, calls: int, complaint: str
) -> None:
    provide(monkeypatch, version, calls)
    with pytest.raises(LocalError, match=complaint) as caught:
        check_pjsua2()
    assert "scripts/build-pjsua2" in caught.value.remedy


def test_no_pjsua2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pjsua2", None)
    with pytest.raises(LocalError, match="cannot be imported"):
        check_pjsua2()
