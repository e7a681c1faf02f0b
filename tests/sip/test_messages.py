# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading SIP messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.call.ids import Address
from bridge.numbers import from_sip
from bridge.sip.identity import FarParty
from bridge.sip.messages import (
    Caller,
    Message,
    NameAddr,
    Uri,
    caller_of,
    causes_of,
    parse,
    parse_name_addr,
    parse_uri,
    quoted,
    split_list,
    tag_of,
)

INVITE = (
    "INVITE sip:+12025550123@mx.test;user=phone SIP/2.0\r\n"
    "v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    'f: "Ann, \\"A\\" Example" <sip:+12025550111@mx.test>;tag=1\r\n'
    "t: <sip:+12025550123@mx.test>\r\n"
    "i: one@192.0.2.1\r\n"
    "CSeq: 7 INVITE\r\n"
    "Record-Route: <sip:a.test;lr>, <sip:b.test;lr>\r\n"
    "Record-Route:\r\n <sip:c.test;lr>\r\n"
    "c: application/sdp\r\n"
    "Content-Length: 5\r\n"
    "\r\n"
    "v=0\r\n"
)


def invite(*headers: str) -> str:
    return "\r\n".join(("INVITE sip:x@mx.test SIP/2.0", *headers, "", ""))


@pytest.mark.parametrize("end", ["\r", "\n", "\v", "\f", "\x1c", "\x85", "\u2028"])
def test_a_name_brings_no_headers(end: str) -> None:
    name = f"Ann{end}P-Asserted-Identity: <sip:+12025550199@mx.test>"
    invite = parse(f'INVITE sip:a SIP/2.0\r\nFrom: "{name}" <sip:+12025550111@mx.test>\r\n\r\n')
    assert caller_of(invite).user == "+12025550111"
    assert not {"\r", "\n"} & set(invite.first("from"))


def test_request() -> None:
    message = parse(INVITE)
    assert (message.method, message.status, message.reason) == ("INVITE", 0, "")
    assert message.request_uri == "sip:+12025550123@mx.test;user=phone"
    assert message.first("call-id") == "one@192.0.2.1"
    assert message.first("missing") == ""
    assert message.cseq == (7, "INVITE")
    assert message.sdp == "v=0\r\n"
    assert list(message.every("record-route")) == [
        "<sip:a.test;lr>",
        "<sip:b.test;lr>",
        "<sip:c.test;lr>",
    ]


def test_response() -> None:
    message = parse("SIP/2.0 486 Busy Here\r\nTo: <sip:x@mx.test>;tag=2\r\n\r\n")
    assert (message.method, message.status, message.reason) == ("", 486, "Busy Here")
    assert message.request_uri == ""
    assert tag_of(message.first("to")) == "2"
    assert message.sdp is None


def test_description_inside_a_multipart_body() -> None:
    message = parse(
        "INVITE sip:x@mx.test SIP/2.0\r\n"
        'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n'
        "--b1\r\nContent-Type: application/isup\r\n\r\nxyz\r\n"
        "--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n"
        "--b1--\r\n"
    )
    assert message.sdp == "v=0\r\ns=-\r\n"


@pytest.mark.parametrize(
    "content_type", ["multipart/mixed", "multipart/mixed;boundary=b2", "text/plain"]
)
def test_body_without_a_description(content_type: str) -> None:
    assert parse(f"INVITE x SIP/2.0\r\nContent-Type: {content_type}\r\n\r\nhello").sdp is None


@given(st.text())
def test_anything_can_be_read(text: str) -> None:
    message = parse(text)
    assert message.status == 0 or 0 <= message.status <= 999
    assert isinstance(caller_of(message), Caller)
    assert isinstance(causes_of(message), dict)
    assert message.sdp is None or message.sdp


@given(st.text())
def test_any_address_can_be_read(text: str) -> None:
    assert isinstance(parse_name_addr(text), NameAddr)
    assert isinstance(parse_uri(text), Uri)
    assert isinstance(split_list(text), list)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "sip:ann:secret@Mx.Test:5070;lr;x=1",
            Uri("sip", "ann", "mx.test", 5070, {"lr": "", "x": "1"}),
        ),
        ("sips:mx.test", Uri("sips", "", "mx.test")),
        ("sip:ann@[2001:db8::1]:5061", Uri("sip", "ann", "2001:db8::1", 5061)),
        (
            "tel:+1-202-555-0123;phone-context=x",
            Uri("tel", "+1-202-555-0123", "", None, {"phone-context": "x"}),
        ),
        ("nonsense", Uri("", "", "")),
        ("x:y:" + "9" * 5000, Uri("x", "", "y")),
    ],
)
def test_uri(text: str, expected: Uri) -> None:
    assert parse_uri(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '"Ann \\"A\\"" <sip:a@mx.test;lr>;tag=1',
            NameAddr('Ann "A"', "sip:a@mx.test;lr", {"tag": "1"}),
        ),
        ("Ann Example <sip:a@mx.test>", NameAddr("Ann Example", "sip:a@mx.test", {})),
        ("sip:a@mx.test;tag=1", NameAddr("", "sip:a@mx.test", {"tag": "1"})),
        ('"Ann"<sip:a@mx.test>', NameAddr("Ann", "sip:a@mx.test", {})),
        ('"" <sip:a@mx.test>', NameAddr("", "sip:a@mx.test", {})),
        (" Ann\t<sip:a@mx.test>", NameAddr("Ann", "sip:a@mx.test", {})),
    ],
)
def test_name_addr(text: str, expected: NameAddr) -> None:
    assert parse_name_addr(text) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["From: <sip:+12025550111@mx.test>"], Caller("+12025550111", "mx.test")),
        (
            [
                'P-Asserted-Identity: "Desk" <sip:100@pbx.test>, <tel:+12025550142>',
                "From: <sip:x@y>",
            ],
            Caller("100", "pbx.test", "Desk"),
        ),
        (
            ["P-Asserted-Identity: <tel:+12025550142>", "From: <sip:anonymous@anonymous.invalid>"],
            Caller(),
        ),
        (
            [
                "P-Asserted-Identity: <tel:+12025550142>",
                "From: <sip:anonymous@anonymous.invalid>",
                "Privacy: none",
            ],
            Caller("+12025550142"),
        ),
        (
            ["P-Asserted-Identity: <tel:+12025550142>", "From: <sip:Restricted@mx.test>"],
            Caller(),
        ),
        (
            ["P-Asserted-Identity: <tel:+12025550142>", "From: <sip:unknown@mx.test>"],
            Caller("+12025550142"),
        ),
        (["P-Asserted-Identity: <sip:7@pbx.test>", "Privacy: header; critical"], Caller()),
        (["From: <sip:unavailable@mx.test>"], Caller()),
        (
            ["From: <sip:x@y>", 'Remote-Party-ID: "D" <sip:7@pbx.test>;privacy=off'],
            Caller("7", "pbx.test", "D"),
        ),
        (["From: <sip:x@y>", "Remote-Party-ID: <sip:7@pbx.test>;privacy=full"], Caller()),
        (["P-Asserted-Identity: <sip:7@pbx.test>", "Privacy: user;id"], Caller()),
        (["P-Asserted-Identity: <sip:7@pbx.test>", "Privacy: none"], Caller("7", "pbx.test")),
        (["From: Anonymous <sip:Anonymous@mx.test>"], Caller()),
        (["From: <sip:mx.test>"], Caller()),
        ([], Caller()),
    ],
)
def test_caller(headers: list[str], expected: Caller) -> None:
    assert caller_of(parse(invite(*headers))) == expected


def test_caller_by_a_trunk_whose_word_does_not_count() -> None:
    headers = ["From: <sip:7@pbx.test>", "P-Asserted-Identity: <sip:8@pbx.test>"]
    assert caller_of(parse(invite(*headers)), asserted=False) == Caller("7", "pbx.test")
    hidden = parse(invite(*headers, "Privacy: id"))
    assert caller_of(hidden, asserted=False) == Caller()


def ok(*headers: str) -> Message:
    return parse("SIP/2.0 200 OK\r\n" + "\r\n".join(headers) + "\r\n\r\n")


def test_another_party_is_noticed_once() -> None:
    def normalise(user: str, host: str) -> Address:
        return from_sip(user, host, "US")

    party = FarParty(normalise, Address("tel:+12025550123"))
    assert party.heard(ok()) is None
    assert party.heard(ok("P-Asserted-Identity: <sip:2025550123@mx.test>")) is None
    desk = 'P-Asserted-Identity: "Front Desk" <sip:+12025550142@mx.test>'
    assert party.heard(ok(desk)) == ("tel:+12025550142", "Front Desk")
    assert party.heard(ok(desk)) is None
    assert party.heard(ok("P-Asserted-Identity: <sip:7@pbx.test>", "Privacy: id")) is None
    other = ok("Remote-Party-ID: <sip:door@pbx.test>;party=called", "From: <sip:anonymous@x>")
    assert party.heard(other) == ("sip:door@pbx.test", "")
    deaf = FarParty(normalise, Address("tel:+12025550123"), believed=False)
    assert deaf.heard(ok(desk)) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Q.850;cause=16;text="Normal"', {"q.850": 16}),
        (
            'SIP ;cause=200;text="Call completed elsewhere", Q.850;cause=26',
            {"sip": 200, "q.850": 26},
        ),
        ('SIP;text="no cause"', {}),
    ],
)
def test_causes(header: str, expected: dict[str, int]) -> None:
    assert causes_of(parse(f"BYE x SIP/2.0\r\nReason: {header}\r\n\r\n")) == expected


def test_sequence_number_that_is_none() -> None:
    assert parse(f"BYE x SIP/2.0\r\nCSeq: {'9' * 5000} BYE\r\n\r\n").cseq == (0, "BYE")


def test_display_name_cannot_break_out() -> None:
    assert quoted('Eve"\r\nRoute: <sip:evil.test> \\') == '"EveRoute: <sip:evil.test> " '
    assert quoted("") == ""


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ("Allow: INVITE, ACK,REFER\r\n", True),
        ("Allow: INVITE\r\nallow: REFER\r\n", True),
        ("Allow: INVITE, XREFER\r\n", False),
        ("", False),
    ],
)
def test_methods_that_are_allowed(headers: str, allowed: bool) -> None:
    assert parse(f"SIP/2.0 200 OK\r\n{headers}\r\n").allows("REFER") is allowed
