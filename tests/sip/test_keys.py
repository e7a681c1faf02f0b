# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys by SIP INFO: bodies of many kinds, and calls with sipp at the other end."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.call.commands import SendSipKey
from bridge.call.events import SipAnswered, SipEnded, SipKeyPressed, SipProgressed
from bridge.sip.keypad import BODIES, PLAIN, RELAY, Infos, body_of, key_in
from bridge.sip.messages import parse
from bridge.sip.tap import without_secrets
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, trunk


def info(body: str, kind: str = RELAY, number: int = 1) -> str:
    return f"INFO sip:a@b.test SIP/2.0\r\nCSeq: {number} INFO\r\nContent-Type: {kind}\r\n\r\n{body}"


@pytest.mark.parametrize(
    ("kind", "body", "key", "duration"),
    [
        (RELAY, "Signal=5\r\nDuration=160\r\n", "5", 0.16),
        (RELAY, "Signal= 5\r\nDuration= 250", "5", 0.25),
        (RELAY, "signal = #\nduration = 1000\n", "#", 1.0),
        (RELAY, "Signal=*\r\n", "*", 0.16),
        (RELAY, "Signal=10\r\nDuration=80", "*", 0.08),
        (RELAY, "Signal=11\r\nDuration=80", "#", 0.08),
        (RELAY, "Signal=d\r\nDuration=never", "D", 0.16),
        (RELAY, "Duration=80\r\nSignal=0\r\n", "0", 0.08),
        (f"{RELAY}; charset=utf-8", "Signal=1\r\n", "1", 0.16),
        (PLAIN, "7", "7", 0.16),
        ("Application/DTMF", " # \r\n", "#", 0.16),
        (PLAIN, "11", "#", 0.16),
    ],
)
def test_key(kind: str, body: str, key: str, duration: float) -> None:
    assert key_in(parse(info(body, kind))) == (key, duration)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (RELAY, ""),
        (RELAY, "Duration=80"),
        (RELAY, "Signal=!"),
        (RELAY, "Signal=16"),
        (RELAY, "Signal=123"),
        (RELAY, "nonsense"),
        (PLAIN, ""),
        (PLAIN, "Signal=1"),
        ("application/media_control+xml", "1"),
        ("text/plain", "Signal=1"),
    ],
)
def test_no_key(kind: str, body: str) -> None:
    assert key_in(parse(info(body, kind))) is None


@given(st.text(), st.sampled_from(BODIES))
def test_no_body_is_too_strange(body: str, kind: str) -> None:
    key_in(parse(info(body, kind)))


@given(st.sampled_from("0123456789*#ABCD"), st.floats(0.04, 99), st.sampled_from(BODIES))
def test_what_we_write_is_read(key: str, duration: float, kind: str) -> None:
    read = key_in(parse(info(body_of(key, duration, kind), kind)))
    assert read is not None
    assert read[0] == key
    assert kind == PLAIN or read[1] == pytest.approx(duration, abs=0.001)


@pytest.mark.parametrize("kind", BODIES)
def test_which_key_it_was_is_not_kept(kind: str) -> None:
    kept = without_secrets(info(body_of("7", 0.1, kind), kind))
    assert kept.endswith(f"Content-Type: {kind}\r\n\r\n…")


def test_keys_leave_in_their_order() -> None:
    sent: list[str] = []

    def send(kind: str, key: str) -> bool:
        assert kind == PLAIN
        sent.append(key)
        return key != "x"

    keypad = Infos(send)
    for key in "12x3":
        keypad.say(PLAIN, key)
    assert sent == ["1"]
    keypad.answered()
    assert sent == ["1", "2"]
    keypad.answered()
    assert sent == ["1", "2", "x", "3"]
    keypad.answered()
    keypad.answered()
    assert sent == ["1", "2", "x", "3"]


def test_a_repeated_info_is_one_key() -> None:
    keypad = Infos(lambda kind, body: True)
    first = parse(info("Signal=5\r\nDuration=100", number=7))
    assert keypad.heard(first) == (True, ("5", 0.1))
    assert keypad.heard(first) == (True, None)
    assert keypad.heard(parse(info("Signal=5\r\nDuration=100", number=8))) == (True, ("5", 0.1))
    assert keypad.heard(parse(info("x", number=9))) == (False, None)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (RELAY, "Signal=5\n      Duration=160", "200"),
        (PLAIN, "5", "200"),
        (RELAY, "Signal=?", "415"),
        ("application/media_control+xml", "&lt;x/&gt;", "415"),
        (f"{RELAY}\n      Info-Package: unknown", "Signal=5", "469"),
    ],
)
async def test_a_telephone_presses_a_key(tmp_path: Path, kind: str, body: str, status: str) -> None:
    keys = {"extra": f"Content-Type: {kind}", "body": body, "status": status}
    async with (
        Sipp("callee_presses", tmp_path, keys=keys) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        leg = bridge.call()
        await bridge.expect(SipProgressed)
        await bridge.expect(SipAnswered)
        if status == "200":
            assert await bridge.expect(SipKeyPressed) == SipKeyPressed(
                leg=leg, key="5", duration=0.16
            )
        await bridge.expect(SipEnded)
        await phone.succeeds()
        if status == "415":
            assert (
                "Accept: application/dtmf-relay, application/dtmf, application/media_control"
                in phone.messages()
            )
        received = [text for _, way, text in bridge.ladder if way == "received" and "INFO" in text]
        assert any(text.startswith("INFO ") for text in received) == (status != "469")
        assert not any("Signal=5" in text for text in received)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("dtmf", "first", "second"),
    [
        ("auto", "application/dtmf-relay.*Signal=1.*Duration=160", "Signal=#.*Duration=250"),
        ("dtmf-relay", "application/dtmf-relay.*Signal=1", "Signal=#.*Duration=250"),
        ("dtmf", "Content-Type: application/dtmf[^-].*1", "Content-Type: application/dtmf[^-].*#"),
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "415 Unsupported Media Type"])
async def test_keys_are_told_to_a_telephone(
    tmp_path: Path, dtmf: str, first: str, second: str, status: str
) -> None:
    keys = {"first": first, "second": second, "status": status}
    async with (
        Sipp("callee_is_told_keys", tmp_path, keys=keys) as phone,
        Bridge({TRUNK: trunk(phone.port).model_copy(update={"dtmf": dtmf})}) as bridge,
    ):
        leg = bridge.call()
        await bridge.expect(SipProgressed)
        await bridge.expect(SipAnswered)
        bridge.sip.do(SendSipKey(call=CALL, leg=leg, key="1", duration=0.16))
        bridge.sip.do(SendSipKey(call=CALL, leg=leg, key="#", duration=0.25))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        sent = [text for _, way, text in bridge.ladder if way == "sent" and text.startswith("INFO")]
        assert len(sent) == 2
        assert all(text.endswith("…") for text in sent)
