# SPDX-License-Identifier: GPL-3.0-or-later
"""URIs of trunks, and whose trunk a request is."""

import asyncio
from ipaddress import ip_address, ip_network
from typing import Final

import pytest

from bridge.call.ids import TrunkName
from bridge.config import Transport, Trunk
from bridge.sip.lookup import Reachable, Target, split_host_port
from bridge.sip.messages import Message, parse
from bridge.sip.trunks import Peers, Route

BOTH: Final[Reachable] = {"udp": {4, 6}, "tcp": {4, 6}, "tls": {4, 6}}


def route(name: str = "t", **settings: object) -> Route:
    return Route(TrunkName(name), Trunk.model_validate({"server": "mx.test", **settings}))


def request(uri: str = "sip:+12025550123@mx.test", to: str = "<sip:x@mx.test>") -> Message:
    return parse(f"INVITE {uri} SIP/2.0\r\nTo: {to}\r\n\r\n")


def test_uris_of_a_plain_trunk() -> None:
    plain = route(server="mx.test:5070", username="ann b")
    assert plain.identity == "sip:ann%20b@mx.test"
    assert plain.registrar == "sip:mx.test"
    assert plain.next_hop == "mx.test:5070"
    assert plain.target("+12025550123") == "sip:+12025550123@mx.test:5070"
    assert plain.target("*43#") == "sip:*43%23@mx.test:5070"


def at(address: str, port: int = 5060, protocol: Transport = "udp") -> Target:
    return Target(ip_address(address), port, protocol)


def test_route_set_is_an_address() -> None:
    assert route().hops(at("192.0.2.1", 5070)) == ("<sip:192.0.2.1:5070;lr;hide>",)
    by_tcp = route(transport="tcp").hops(at("2001:db8::1", 5060, "tcp"))
    assert by_tcp == ("<sip:[2001:db8::1]:5060;transport=tcp;lr;hide>",)


def test_route_set_names_the_proxies() -> None:
    proxied = route(outbound_proxy=["edge.test:5070", "core.test"])
    assert proxied.next_hop == "edge.test:5070"
    assert proxied.hops(at("192.0.2.1", 5070)) == (
        "<sip:192.0.2.1:5070;lr;hide>",
        "<sip:edge.test:5070;lr>",
        "<sip:core.test;lr>",
    )


def test_route_set_of_tls_is_the_name_that_the_certificate_is_for() -> None:
    there = at("192.0.2.1", 5061, "tls")
    assert route(transport="tls").hops(there) == ("<sip:mx.test:5061;transport=tls;lr;hide>",)
    named = route(transport="tls", tls={"server_name": "sip.example.org"})
    assert named.hops(there) == ("<sip:sip.example.org:5061;transport=tls;lr;hide>",)


def test_uris_of_a_trunk_with_a_domain_and_another_transport() -> None:
    secure = route(server="[2001:db8::1]:5061", transport="tls", domain="example.org")
    assert secure.identity == "sip:matrix-sip@example.org"
    assert secure.registrar == "sip:example.org;transport=tls"
    there = at("2001:db8::1", 5061, "tls")
    assert secure.hops(there) == ("<sip:[2001:db8::1]:5061;transport=tls;lr;hide>",)
    assert secure.target("100") == "sip:100@example.org;transport=tls"
    assert secure.target("sip:door@pbx.test") == "sip:door@pbx.test;transport=tls"
    assert secure.target("door@pbx.test;user=phone") == "sip:door@pbx.test;user=phone"


def test_domain_of_a_server_that_is_an_address() -> None:
    assert route(server="[2001:db8::1]").domain == "[2001:db8::1]"
    assert route(server="192.0.2.1:5070").domain == "192.0.2.1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mx.test", ("mx.test", None)),
        ("mx.test:5070", ("mx.test", 5070)),
        ("[2001:db8::1]:5070", ("2001:db8::1", 5070)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("2001:db8::1", ("2001:db8::1", None)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int | None]) -> None:
    assert split_host_port(text) == expected


async def test_source_address_names_the_trunk() -> None:
    peers = Peers(
        [
            route("first", server="192.0.2.1"),
            route("second", server="192.0.2.1", username="second"),
            route("wide", server="192.0.2.9", peers=[ip_network("198.51.100.0/24")]),
            route("six", server="2001:db8::1", peers=[ip_network("2001:db8:1::/48")]),
        ]
    )
    await peers.resolve(BOTH)
    assert peers.trunk_of(request(), "192.0.2.1:5060") == "first"
    assert peers.trunk_of(request("sip:second@mx.test"), "192.0.2.1:5060") == "second"
    assert peers.trunk_of(request(), "198.51.100.7:1024") == "wide"
    assert peers.trunk_of(request(), "::ffff:198.51.100.7") == "wide"
    assert peers.trunk_of(request(), "[2001:db8::1]:5060") == "six"
    assert peers.trunk_of(request(), "[2001:db8:1::7]:5060") == "six"
    assert peers.trunk_of(request(), "203.0.113.1:5060") is None
    assert peers.trunk_of(request(), "nonsense") is None


async def test_user_in_to_tells_two_accounts_of_one_server_apart() -> None:
    accounts = [route(name, server="192.0.2.1", username=name) for name in ("ann", "ben")]
    peers = Peers(accounts)
    await peers.resolve(BOTH)
    call = request("sip:pool@mx.test", to='"Ben" <sip:ben@mx.test>')
    assert peers.trunk_of(call, "192.0.2.1:5060") == "ben"


async def test_address_of_a_personal_account_draws_only_what_is_registered_for() -> None:
    shared = route("shared", server="192.0.2.1", username="company")
    own = Route(
        TrunkName("own"), shared.trunk.model_copy(update={"username": "ann"}), personal=True
    )
    peers = Peers([own])
    peers.add(shared)
    await peers.resolve(BOTH)
    from_there = "192.0.2.1:5060"
    assert peers.trunk_of(request("sip:ann@mx.test"), from_there) == "shared"
    peers.registered(own.name, True)
    assert peers.trunk_of(request("sip:ann@mx.test"), from_there) == "own"
    assert peers.trunk_of(request("sip:company@mx.test"), from_there) == "shared"
    assert peers.trunk_of(request(), from_there) == "shared"
    peers.remove(shared.name)
    assert peers.trunk_of(request(), from_there) is None
    peers.registered(own.name, False)
    assert peers.trunk_of(request("sip:ann@mx.test"), from_there) is None


def test_mark_of_our_contact_names_the_trunk_wherever_it_comes_from() -> None:
    registered = route("registered", register=True, username="u")
    known = route("known")
    peers = Peers([registered, known])
    stranger = "203.0.113.1:5060"
    assert peers.trunk_of(request(f"sip:u@b.test;line={registered.line}"), stranger) == "registered"
    assert peers.trunk_of(request(f"sip:u@b.test;line={known.line}"), stranger) is None
    assert peers.trunk_of(request("sip:u@b.test;line="), stranger) is None
    assert registered.line != route(register=True).line


async def test_name_without_an_address_is_told_and_keeps_what_it_had() -> None:
    peers = Peers([route("local", server="localhost"), route("lost", server="nowhere.invalid")])
    await peers.resolve(BOTH)
    assert peers.targets_of(TrunkName("lost")) == ()
    assert peers.trunk_of(request(), "127.0.0.1:5060") == "local"


async def test_server_in_use_stays_first_while_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = Peers([route("t", server="mx.test:5070")])
    name = TrunkName("t")
    answers = [["192.0.2.1", "2001:db8::1"], ["192.0.2.2", "192.0.2.1"], ["192.0.2.3"]]

    async def look_up(host: str, *_: object, **__: object) -> list[object]:
        assert host == "mx.test"
        return [(0, 0, 0, "", (address, 0)) for address in answers[0]]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    assert peers.targets_of(name) == ()
    await peers.resolve(BOTH)
    assert peers.targets_of(name) == (at("192.0.2.1", 5070), at("2001:db8::1", 5070))
    await peers.resolve({"udp": {6}})
    assert peers.targets_of(name) == (at("2001:db8::1", 5070),)
    del answers[0]
    await peers.resolve(BOTH)
    await peers.resolve(BOTH)
    assert peers.targets_of(name) == (at("192.0.2.2", 5070), at("192.0.2.1", 5070))
    answers[0].reverse()
    await peers.resolve(BOTH)
    assert peers.targets_of(name) == (at("192.0.2.2", 5070), at("192.0.2.1", 5070))
    assert peers.trunk_of(request(), "192.0.2.2:5060") == "t"
    del answers[0]
    await peers.resolve(BOTH)
    assert peers.targets_of(name) == (at("192.0.2.3", 5070),)
    await peers.resolve({"udp": {6}})
    assert peers.targets_of(name) == (at("192.0.2.3", 5070),)
