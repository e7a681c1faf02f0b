# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server is, by NAPTR, SRV and addresses."""

from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Final

import pytest

from bridge.config import Transport
from bridge.sip.lookup import LONGEST, SHORTEST, Lookup, Reachable, Target
from tests.simulators.nameserver import NameServer

ALL: Final[Reachable] = {"udp": {4, 6}, "tcp": {4, 6}, "tls": {4, 6}}


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        server.say("a.example.com", "A", "192.0.2.1")
        server.say("b.example.com", "A", "192.0.2.2")
        server.say("b.example.com", "AAAA", "2001:db8::2")
        yield server


def at(address: str, port: int = 5060, protocol: Transport = "udp") -> Target:
    return Target(ip_address(address), port, protocol)


async def test_address_needs_no_name_server(names: NameServer) -> None:
    lookup = Lookup([names.address])
    assert (await lookup.targets("192.0.2.9", None, "tls", ALL)).targets == (
        (0, at("192.0.2.9", 5061, "tls")),
    )
    assert (await lookup.targets("2001:db8::9", 5070, None, ALL)).targets == (
        (0, at("2001:db8::9", 5070)),
    )
    assert (await lookup.targets("2001:db8::9", 5070, None, {"udp": {4}})).targets == ()
    assert names.asked == []


async def test_port_leaves_out_srv(names: NameServer) -> None:
    lookup = Lookup([names.address])
    found = await lookup.targets("b.example.com", 5070, "tcp", ALL)
    assert found.targets == (
        (0, at("192.0.2.2", 5070, "tcp")),
        (0, at("2001:db8::2", 5070, "tcp")),
    )
    assert {kind for _, kind in names.asked} == {"A", "AAAA"}


async def test_priorities_are_kept(names: NameServer) -> None:
    names.say(
        "_sip._udp.example.com",
        "SRV",
        "20 1 5070 a.example.com.",
        "10 1 5080 b.example.com.",
        ttl=60,
    )
    found = await Lookup([names.address]).targets("example.com", None, "udp", ALL)
    assert found.targets == (
        (10, at("192.0.2.2", 5080)),
        (10, at("2001:db8::2", 5080)),
        (20, at("192.0.2.1", 5070)),
    )
    assert found.good_for == 60


async def test_weights_share_a_priority(names: NameServer) -> None:
    names.say(
        "_sip._tcp.example.com", "SRV", "1 10 5060 a.example.com.", "1 90 5060 b.example.com."
    )
    lookup = Lookup([names.address])
    first = [
        (await lookup.targets("example.com", None, "tcp", {"tcp": {4}})).targets[0][1]
        for _ in range(60)
    ]
    heavy = first.count(at("192.0.2.2", 5060, "tcp"))
    assert 40 < heavy < 60


async def test_domain_without_srv_is_a_host(names: NameServer) -> None:
    found = await Lookup([names.address]).targets("a.example.com", None, "tls", ALL)
    assert found.targets == ((0, at("192.0.2.1", 5061, "tls")),)


async def test_domain_that_wants_no_sip(names: NameServer) -> None:
    names.say("_sip._udp.a.example.com", "SRV", "0 0 0 .")
    found = await Lookup([names.address]).targets("a.example.com", None, "udp", ALL)
    # It may say so, but then it was us whom somebody told to call there.
    assert found.targets == ((0, at("192.0.2.1")),)


async def test_records_say_the_transport(names: NameServer) -> None:
    names.say(
        "example.com",
        "NAPTR",
        '20 1 "s" "SIP+D2U" "" _sip._udp.example.com.',
        '10 2 "s" "SIP+D2T" "" _sip._tcp.example.com.',
        '10 1 "s" "SIPS+D2T" "" _sips._tcp.example.com.',
        '5 1 "s" "SIP+D2S" "" _sip._sctp.example.com.',
        '1 1 "u" "E2U+sip" "!^.*$!sip:x@example.com!" .',
    )
    names.say("_sip._udp.example.com", "SRV", "1 1 5060 a.example.com.")
    names.say("_sip._tcp.example.com", "SRV", "1 1 5060 a.example.com.")
    names.say("_sips._tcp.example.com", "SRV", "1 1 5061 a.example.com.")
    lookup = Lookup([names.address])
    found = await lookup.targets("example.com", None, None, ALL)
    assert [target for _, target in found.targets] == [
        at("192.0.2.1", 5061, "tls"),
        at("192.0.2.1", 5060, "tcp"),
        at("192.0.2.1"),
    ]
    found = await lookup.targets("example.com", None, None, {"udp": {4}})
    assert [target for _, target in found.targets] == [at("192.0.2.1")]


async def test_without_naptr_srv_says_the_transport(names: NameServer) -> None:
    names.say("_sip._tcp.example.com", "SRV", "1 1 5062 a.example.com.")
    found = await Lookup([names.address]).targets("example.com", None, None, ALL)
    assert [target for _, target in found.targets] == [at("192.0.2.1", 5062, "tcp")]


async def test_short_lives_are_not_taken_at_their_word(names: NameServer) -> None:
    lookup = Lookup([names.address])
    names.say("a.example.com", "A", "192.0.2.1", ttl=1)
    assert (await lookup.targets("a.example.com", 5060, "udp", ALL)).good_for == SHORTEST
    names.say("a.example.com", "A", "192.0.2.1", ttl=86400)
    names.say("a.example.com", "AAAA", "2001:db8::1", ttl=86400)
    assert (await lookup.targets("a.example.com", 5060, "udp", ALL)).good_for == LONGEST


async def test_name_server_that_is_away(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.sip.lookup._PATIENCE", 0.1)
    names.silent = True
    found = await Lookup([names.address]).targets("example.com", None, None, ALL)
    assert found.targets == ()


async def test_system_knows_names_of_its_own() -> None:
    addresses, _ = await Lookup().addresses("localhost")
    assert ip_address("127.0.0.1") in addresses
    assert (await Lookup().addresses("nowhere.invalid"))[0] == []
