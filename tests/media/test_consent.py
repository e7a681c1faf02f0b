# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that go on for as long as a call does: what aioice would do, at less cost."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aioice import Connection, stun
from aioice.ice import StunProtocol
from hypothesis import given
from hypothesis import strategies as st

from bridge.media.embedded.consent import (
    EXPIRY,
    REQUEST,
    Answered,
    Consent,
    attributes_of,
    is_signed,
    signed,
)
from bridge.media.embedded.ice_servers import IceServers
from bridge.media.embedded.webrtc import IceConnection, Protocol
from tests.media.test_webrtc import connection
from tests.simulators.waiting import until

KEY = b"password of ours, or theirs"
ATTRIBUTES: dict[str, Any] = {"USERNAME": "ours:theirs", "PRIORITY": 7, "ICE-CONTROLLING": 2**63}
HERE = "127.0.0.1", 40_000
transactions = st.binary(min_size=12, max_size=12)
addresses = st.tuples(st.ip_addresses().map(str), st.integers(1, 65_535))


def message(
    kind: stun.Class, transaction: bytes, attributes: dict[str, Any], key: bytes = KEY
) -> bytes:
    """As aioice writes it."""
    written = stun.Message(stun.Method.BINDING, kind, transaction, dict(attributes))
    written.add_message_integrity(key)
    return bytes(written)


def request(transaction: bytes, **more: Any) -> bytes:
    """A check of the client."""
    return message(stun.Class.REQUEST, transaction, ATTRIBUTES | more)


# --- messages -----------------------------------------------------------------------------------


@given(transactions)
def test_a_message_is_written_as_aioice_would(transaction: bytes) -> None:
    expected = request(transaction)
    assert signed(REQUEST, transaction, attributes_of(expected), KEY) == expected
    assert is_signed(expected, KEY)
    assert not is_signed(expected, b"another")


@given(st.data())
def test_no_byte_may_be_another(data: st.DataObject) -> None:
    whole = bytearray(request(bytes(12)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    assert not is_signed(bytes(whole), KEY)


@given(st.binary(max_size=80), st.integers(0, 140))
def test_no_message_is_too_odd(data: bytes, size: int) -> None:
    for odd in (data, request(bytes(12))[:size]):
        answered = Answered.of(request(bytes(12)), HERE, controlling=True)
        assert is_signed(odd, KEY) == (odd == request(bytes(12)))
        assert bool(answered.answer(odd, KEY)) == is_signed(odd, KEY)


@given(transactions, transactions, addresses)
def test_the_same_check_gets_the_same_answer(
    before: bytes, transaction: bytes, address: tuple[str, int]
) -> None:
    answered = Answered.of(request(before), address, controlling=True)
    expected = message(stun.Class.RESPONSE, transaction, {"XOR-MAPPED-ADDRESS": address})
    assert answered.answer(request(transaction), KEY) == expected


def test_another_check_gets_none() -> None:
    answered = Answered.of(request(bytes(12)), HERE, controlling=True)
    assert not answered.answer(request(bytes(12), **{"USE-CANDIDATE": None}), KEY)
    assert not answered.answer(message(stun.Class.REQUEST, bytes(12), ATTRIBUTES, b"other"), KEY)
    assert not answered.answer(message(stun.Class.RESPONSE, bytes(12), ATTRIBUTES), KEY)
    assert answered.fits(HERE, controlling=True)
    assert not answered.fits(("127.0.0.1", 1), controlling=True)
    assert not answered.fits(HERE, controlling=False)


# --- consent --------------------------------------------------------------------------------------


def response(check: bytes, key: bytes = KEY) -> bytes:
    """What the client answers."""
    return message(stun.Class.RESPONSE, check[8:20], {"XOR-MAPPED-ADDRESS": HERE}, key)


def test_consent_lasts_as_long_as_answers_come() -> None:
    consent = Consent()
    consent.renew(100.0)
    check = consent.ask(attributes_of(request(bytes(12))), KEY, 101.0)
    assert is_signed(check, KEY)
    assert consent.lasts(100.0 + EXPIRY - 1)
    assert not consent.lasts(100.0 + EXPIRY)
    assert consent.take(response(check), 102.0)
    assert consent.lasts(102.0 + EXPIRY - 1)


def test_only_an_answer_to_a_check_of_ours_counts_and_only_once() -> None:
    consent = Consent()
    check = consent.ask(b"", KEY, 100.0)
    assert consent.take(response(check, b"forged"), 101.0)
    assert not consent.take(response(bytes(20)), 101.0)
    assert not consent.take(request(check[8:20]), 101.0)
    assert not consent.lasts(101.0)
    assert consent.take(response(check), 101.0)
    assert not consent.take(response(check), 150.0)
    assert not consent.lasts(150.0)


def test_an_answer_that_is_late_counts_until_it_makes_no_difference() -> None:
    consent = Consent()
    first = consent.ask(b"", KEY, 100.0)
    consent.ask(b"", KEY, 105.0)
    assert consent.take(response(first), 106.0)
    second = consent.ask(b"", KEY, 110.0)
    consent.ask(b"", KEY, 110.0 + EXPIRY)
    assert not consent.take(response(second), 110.0 + EXPIRY)


def test_an_answer_without_a_fingerprint_counts() -> None:
    consent = Consent()
    check = consent.ask(b"", KEY, 100.0)
    shorter = response(check)[: -stun.FINGERPRINT_LENGTH]
    text = stun.set_body_length(shorter, len(shorter) - stun.HEADER_LENGTH)
    assert consent.take(text, 101.0)
    assert consent.lasts(102.0)


# --- a connection ---------------------------------------------------------------------------------


async def connect(ours: IceConnection, theirs: IceConnection) -> None:
    """As two clients do by signalling."""
    for one, other in ((ours, theirs), (theirs, ours)):
        await other.gather_candidates()
        one.remote_username, one.remote_password = other.local_username, other.local_password
    for one, other in ((ours, theirs), (theirs, ours)):
        for each in other.local_candidates:
            await one.add_remote(each.to_sdp())
    await asyncio.gather(ours.connect(), theirs.connect())


@pytest.fixture(params=["127.0.0.1", "::1"])
async def ends(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[IceConnection, IceConnection]]:
    """Two that are connected, and check often."""
    monkeypatch.setattr("bridge.media.embedded.webrtc.INTERVAL", 0.1)
    ours = connection(IceServers(), controlling=False, host=request.param)
    theirs = connection(IceServers(), controlling=True, host=request.param)
    await connect(ours, theirs)
    yield ours, theirs
    await asyncio.gather(ours.close(), theirs.close())


Ends = tuple[IceConnection, IceConnection]


async def test_checks_that_go_on_are_answered_without_being_taken_apart(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, parsed = [0, 0], [0]
    for number, end in enumerate(ends):
        monkeypatch.setattr(end.consent, "renew", count(answered, number, end.consent.renew))
    monkeypatch.setattr("aioice.stun.parse_message", count(parsed, 0, stun.parse_message))
    await until(lambda: min(answered) >= 3, what="both have answered a few times")
    known, parsed[0] = answered[:], 0  # Until now, there may have been other checks.
    await until(
        lambda: all(new >= old + 3 for new, old in zip(answered, known, strict=True)),
        what="both have answered again",
    )
    assert parsed == [0]


def count(counts: list[int], number: int, function: Any) -> Any:
    """The function, which is counted."""

    def counted(*arguments: Any) -> Any:
        counts[number] += 1
        return function(*arguments)

    return counted


async def test_a_check_from_elsewhere_is_for_aioice(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ends
    asked: list[tuple[str, int]] = []

    def ask(_: object, message: stun.Message, address: tuple[str, int], __: object) -> None:
        asked.append(address)

    pair = ours._nominated[1]
    protocol, address = pair.protocol, pair.remote_addr
    assert isinstance(protocol, Protocol)
    asking = attributes_of(bytes(signed_check(theirs)))
    key = ours.local_password.encode()
    protocol.datagram_received(signed(REQUEST, b"1" * 12, asking, key), address)
    monkeypatch.setattr(IceConnection, "request_received", ask)
    protocol.datagram_received(signed(REQUEST, b"2" * 12, asking, key), address)
    assert asked == []
    for where, attributes, signature in (
        ((address[0], 9), asking, key),
        (address, asking + b"\x00\x25\x00\x00", key),
        (address, asking, b"forged"),
    ):
        protocol.datagram_received(signed(REQUEST, b"3" * 12, attributes, signature), where)
        assert asked.pop() == where
    ours.switch_role(ice_controlling=True)
    protocol.datagram_received(signed(REQUEST, b"4" * 12, asking, key), address)
    assert asked.pop() == address
    ours._selected = None
    protocol.datagram_received(signed(REQUEST, b"5" * 12, asking, key), address)
    assert asked == [address]


def signed_check(end: IceConnection) -> stun.Message:
    """What it would ask next."""
    check = end.build_request(end._nominated[1], nominate=False)
    assert end.remote_password is not None
    check.add_message_integrity(end.remote_password.encode())
    return check


async def test_what_is_refused_is_not_answered_the_next_time(ends: Ends) -> None:
    ours, theirs = ends
    pair = ours._nominated[1]
    assert isinstance(pair.protocol, Protocol)
    check = signed_check(theirs)
    check.attributes["USERNAME"] = "somebody:else"
    check.add_message_integrity(ours.local_password.encode())
    for _ in range(2):
        pair.protocol.datagram_received(bytes(check), pair.remote_addr)
        assert pair.protocol._answered is None or pair.protocol._answered.attributes != (
            attributes_of(bytes(check))
        )


def test_aioice_asks_for_consent_by_a_method_that_can_be_replaced() -> None:
    source = inspect.getsource(Connection.connect)
    assert "self._query_consent_task = asyncio.create_task(self.query_consent())" in source
    assert list(inspect.signature(StunProtocol.send_stun).parameters) == [
        "self",
        "message",
        "addr",
    ]
