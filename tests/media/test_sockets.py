# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports and addresses."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from bridge.errors import LocalError, SdpError
from bridge.media.embedded.sockets import (
    PortRange,
    bound_socket,
    connected_twin,
    gathering_addresses,
    local_address,
)

HOST = "127.0.0.1"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes sockets at the end."""
    with ExitStack() as stack:
        yield stack


def test_rtp_is_even_and_rtcp_next_to_it(stack: ExitStack) -> None:
    ports = PortRange(22001, 22040)
    for _ in range(15):
        rtp, rtcp = map(stack.enter_context, ports.pair(HOST))
        assert rtp.getsockname()[1] % 2 == 0
        assert rtcp.getsockname()[1] == rtp.getsockname()[1] + 1
        assert 22001 <= rtp.getsockname()[1] < 22040


def test_a_range_that_is_used_up_says_what_to_do(stack: ExitStack) -> None:
    ports = PortRange(22100, 22103)
    for _ in range(2):
        for sock in ports.pair(HOST):
            stack.enter_context(sock)
    with pytest.raises(LocalError, match=r"media\.rtp_ports.*22100 and 22103") as caught:
        ports.pair(HOST)
    assert "Widen" in caught.value.remedy
    with pytest.raises(LocalError):
        ports.single(HOST)


def test_ports_of_others_are_passed_over(stack: ExitStack) -> None:
    taken = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    taken.bind((HOST, 22203))
    rtp, rtcp = map(stack.enter_context, PortRange(22200, 22203).pair(HOST))
    assert (rtp.getsockname()[1], rtcp.getsockname()[1]) == (22200, 22201)
    assert stack.enter_context(PortRange(22202, 22203).single(HOST)).getsockname()[1] == 22202


def test_a_port_rests_before_it_serves_again() -> None:
    ports = PortRange(22300, 22309)
    seen = []
    for _ in range(5):
        rtp, rtcp = ports.pair(HOST)
        seen.append(rtp.getsockname()[1])
        rtp.close()
        rtcp.close()
    assert len(set(seen)) == 5


@pytest.mark.parametrize("host", [HOST, "::1"])
def test_a_twin_gets_what_its_peer_sends_and_the_first_socket_all_else(
    stack: ExitStack, host: str
) -> None:
    ours, peer, other = (stack.enter_context(bound_socket(host, 0)) for _ in range(3))
    twin = stack.enter_context(connected_twin(ours, peer.getsockname()))
    for sock, text in ((peer, b"peer"), (other, b"other")):
        sock.sendto(text, ours.getsockname())
    assert twin.recv(10) == b"peer"
    assert ours.recv(10) == b"other"
    for sock in (ours, twin):
        with pytest.raises(BlockingIOError):
            sock.recv(10)
    twin.send(b"back")
    assert peer.recvfrom(10) == (b"back", ours.getsockname())


def test_what_comes_before_a_twin_is_connected_is_not_its_peers(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, peer, other = (stack.enter_context(bound_socket(HOST, 0)) for _ in range(3))

    class Slow(socket.socket):
        def connect(self, address: Any, /) -> None:
            other.sendto(b"other", self.getsockname())
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Slow)
    twin = stack.enter_context(connected_twin(ours, peer.getsockname()))
    with pytest.raises(BlockingIOError):
        twin.recv(10)
    peer.sendto(b"peer", ours.getsockname())
    assert twin.recv(10) == b"peer"


def test_nobody_else_may_share_the_port_of_a_twin(stack: ExitStack) -> None:
    ours, peer = (stack.enter_context(bound_socket(HOST, 0)) for _ in range(2))
    stack.enter_context(connected_twin(ours, peer.getsockname()))
    with pytest.raises(OSError, match="in use"):
        bound_socket(HOST, ours.getsockname()[1])
    stranger = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with pytest.raises(OSError, match="in use"):
        stranger.bind(ours.getsockname())


def test_a_twin_that_cannot_be_leaves_the_first_socket_as_it_was(stack: ExitStack) -> None:
    ours = stack.enter_context(bound_socket(HOST, 0))
    with pytest.raises(OSError, match=r"unreachable|Invalid"):
        connected_twin(ours, ("192.0.2.1", 9))
    assert not ours.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_an_address_of_another_machine_names_the_setting() -> None:
    with pytest.raises(LocalError, match=r"media\.listen: 192\.0\.2\.1"):
        PortRange(22400, 22410).pair("192.0.2.1")


def test_one_address_that_cannot_be_had_does_not_spoil_the_others(stack: ExitStack) -> None:
    ports = PortRange(22500, 22510)
    found = ports.singles(["192.0.2.1", HOST])
    assert [stack.enter_context(sock).getsockname()[0] for sock in found] == [HOST]
    with pytest.raises(LocalError):
        ports.singles(["192.0.2.1"])


def test_the_configured_address_is_used_for_everything() -> None:
    listen = IPv4Address("192.0.2.9")
    assert gathering_addresses(listen) == ["192.0.2.9"]
    assert local_address(listen, "198.51.100.1") == "192.0.2.9"


class Adapter:
    """An interface as ifaddr lists it."""

    def __init__(self, *ips: object) -> None:
        self.ips = [type("IP", (), {"ip": ip})() for ip in ips]


def test_every_interface_counts_but_loopback_and_link_local(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapters = [
        Adapter("127.0.0.1", ("::1", 0, 0)),
        Adapter("10.0.0.5", ("2001:db8::5", 0, 0), ("fe80::1", 0, 2), "169.254.3.3"),
    ]
    monkeypatch.setattr("ifaddr.get_adapters", lambda: adapters)
    assert gathering_addresses(None) == ["10.0.0.5", "2001:db8::5"]
    assert gathering_addresses(IPv6Address("::")) == ["10.0.0.5", "2001:db8::5"]
    monkeypatch.setattr("ifaddr.get_adapters", lambda: adapters[:1])
    assert gathering_addresses(None) == ["127.0.0.1"]


def test_routing_chooses_the_address_for_a_peer() -> None:
    assert local_address(None, "127.0.0.5") == "127.0.0.1"
    with pytest.raises(SdpError, match=r"'mx\.test': not an IP address"):
        local_address(None, "mx.test")


def test_audio_is_offered_by_the_ip_that_is_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    adapters = [Adapter("10.0.0.5", ("2001:db8::5", 0, 0))]
    monkeypatch.setattr("ifaddr.get_adapters", lambda: adapters)
    # Nothing but loopback here, so that routing has no answer.
    monkeypatch.setattr("bridge.media.embedded.sockets._PROBE", {4: "256.0.0.1", 6: "256.0.0.1"})
    assert local_address(None, None) == "10.0.0.5"
    assert local_address(IPv4Address("0.0.0.0"), None) == "10.0.0.5"
    assert local_address(IPv6Address("::"), None) == "2001:db8::5"
    assert local_address(IPv6Address("::"), "127.0.0.5") == "127.0.0.1"
