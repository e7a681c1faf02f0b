# SPDX-License-Identifier: GPL-3.0-or-later
"""ICE and DTLS: what is used of the libraries' inside is still there, and what is built on it."""

import asyncio
import datetime
import inspect
import socket
from collections.abc import AsyncIterator
from typing import cast

import pytest
from aioice import Candidate, Connection
from aioice.ice import StunProtocol, relayed_candidate, server_reflexive_candidate
from aiortc import RTCDtlsTransport
from structlog.testing import capture_logs

from bridge.config import TurnServer
from bridge.errors import ConfigurationError
from bridge.media.embedded.candidates import (
    candidate_lines,
    candidate_ufrag,
    default_address,
    parse_candidate,
)
from bridge.media.embedded.dtls import CertificateSource
from bridge.media.embedded.ice_servers import REST, IceServers, Way, configured, named
from bridge.media.embedded.sockets import bound_socket
from bridge.media.embedded.webrtc import IceConnection
from bridge.records import IceServer


class TestWhatTheLibrariesMustKeep:
    """A release that changes one of these needs a look at `webrtc.py`."""

    def test_aioice_gathers_through_a_method_that_can_be_replaced(self) -> None:
        parameters = inspect.signature(Connection.get_component_candidates).parameters
        assert list(parameters) == ["self", "component", "addresses", "timeout"]
        assert "get_component_candidates" in inspect.getsource(Connection.gather_candidates)

    def test_aioice_has_the_functions_that_ask_servers(self) -> None:
        assert list(inspect.signature(server_reflexive_candidate).parameters) == [
            "protocol",
            "stun_server",
        ]
        assert list(inspect.signature(relayed_candidate).parameters) == [
            "component",
            "hide_related_address",
            "protocol_factory",
            "turn_server",
            "turn_username",
            "turn_password",
            "turn_ssl",
            "turn_transport",
        ]

    def test_aioice_hands_over_what_is_not_stun(self) -> None:
        assert "receiver.data_received(data" in inspect.getsource(StunProtocol.datagram_received)
        assert list(inspect.signature(Connection.data_received).parameters) == [
            "self",
            "data",
            "component",
        ]

    async def test_aioice_keeps_the_pair_in_use_where_it_was(self) -> None:
        connection = Connection(ice_controlling=True)
        assert connection._nominated == {}
        assert connection._protocols == []
        assert "self._nominated[pair.component] = pair" in inspect.getsource(
            Connection.check_complete
        )

    async def test_aioice_waits_for_candidates_that_come_late(self) -> None:
        """Its `connect` must not give up while there is none, for clients trickle."""
        connection = Connection(ice_controlling=False)
        connection._local_candidates_end = True
        connection.remote_username, connection.remote_password = "user", "p" * 22
        connecting = asyncio.create_task(connection.connect())
        await asyncio.sleep(0)
        assert not connecting.done()
        await connection.close()
        with pytest.raises(ConnectionError):
            await connecting

    def test_aiortc_lets_dtls_use_any_transport(self) -> None:
        source = inspect.getsource(RTCDtlsTransport)
        used = {
            line.split("self.transport.")[1].split("(")[0].strip()
            for line in source.splitlines()
            if "self.transport." in line
        }
        assert used <= {"_recv", "_send", 'role == "controlling":', "role,"}

    async def test_aiortc_keeps_the_keys_where_they_were(self) -> None:
        for name in ("_tx_srtp", "_rx_srtp", "_task"):
            assert f"self.{name}" in inspect.getsource(RTCDtlsTransport)
        assert list(inspect.signature(RTCDtlsTransport._set_role).parameters) == ["self", "role"]


def test_the_certificate_is_made_once_and_renewed_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = CertificateSource()
    first = source.get()
    assert source.get() is first
    later = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(days=30)
    monkeypatch.setattr("bridge.media.embedded.dtls._tomorrow", lambda: later)
    assert source.get() is not first


# --- servers ------------------------------------------------------------------------------------


def server(url: str) -> TurnServer:
    """As configured."""
    return TurnServer.model_validate({"url": url, "username": "u", "password": "p"})


def test_servers_are_taken_apart() -> None:
    servers = configured(
        [
            server("stun:stun.example.org"),
            server("stun:stun2.example.org:3479"),
            server("turn:turn.example.org?transport=tcp"),
            server("turns:turn.example.org"),
        ]
    )
    assert servers.stun == (("stun.example.org", 3478), ("stun2.example.org", 3479))
    assert [(t["turn_server"], t["turn_transport"], t["turn_ssl"]) for t in servers.turn] == [
        (("turn.example.org", 3478), "tcp", False),
        (("turn.example.org", 5349), "tcp", True),
    ]


def test_a_server_that_cannot_be_understood_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"media\.ice_servers: 'http://example.org'"):
        configured([server("http://example.org")])


# --- candidates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "candidate:1 1 udp 2122260223 192.0.2.1 44518 typ host generation 0 ufrag 49AG",
        "a=candidate:1 1 UDP 2122260223 192.0.2.1 44518 typ host",
        "1 1 udp 1686052607 203.0.113.1 44518 typ srflx raddr 192.0.2.1 rport 44518",
        "candidate:1 1 udp 2122260223 2001:db8::1 44518 typ host",
    ],
)
def test_candidates_of_all_shapes_are_read(line: str) -> None:
    candidate = parse_candidate(line)
    assert candidate is not None
    assert candidate.port == 44518


@pytest.mark.parametrize(
    "line",
    [
        "",
        "candidate:",
        "candidate:1 1 udp x 192.0.2.1 44518 typ host",
        "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
        "candidate:1 2 udp 2122260223 192.0.2.1 44518 typ host",
        "candidate:1 1 udp 1 0f3b8a1c-1111-4222-8333-444455556666.local 44518 typ host",
    ],
)
def test_candidates_that_are_of_no_use_are_left_out(line: str) -> None:
    assert parse_candidate(line) is None


def test_a_candidate_may_say_whose_it_is() -> None:
    assert candidate_ufrag("candidate:1 1 udp 1 192.0.2.1 1 typ host ufrag 49AG") == "49AG"
    assert candidate_ufrag("candidate:1 1 udp 1 192.0.2.1 1 typ host") is None


def candidate(kind: str, host: str, port: int) -> Candidate:
    """One of ours."""
    return Candidate("1", 1, "udp", 1, host, port, kind)


def test_the_public_address_stands_for_that_of_the_host() -> None:
    ours = [candidate("host", "10.0.0.1", 4000), candidate("relay", "198.51.100.1", 5000)]
    lines = candidate_lines(ours, "203.0.113.7")
    assert " 203.0.113.7 4000 typ host" in lines[0]
    assert " 198.51.100.1 5000 typ relay" in lines[1]
    assert " 10.0.0.1 4000 typ host" in candidate_lines(ours, None)[0]


def test_the_default_candidate_is_the_one_most_likely_to_work() -> None:
    host, ipv6 = candidate("host", "10.0.0.1", 4000), candidate("host", "2001:db8::1", 4001)
    relay = candidate("relay", "198.51.100.1", 5000)
    assert default_address([ipv6, host], None) == ("10.0.0.1", 4000)
    assert default_address([ipv6, host], "203.0.113.7") == ("203.0.113.7", 4000)
    assert default_address([host, relay], "203.0.113.7") == ("198.51.100.1", 5000)


# --- a connection -------------------------------------------------------------------------------


class StunServer(asyncio.DatagramProtocol):
    """Answers binding requests as if there were a NAT."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it for the answers."""
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """One answer: XOR-MAPPED-ADDRESS 203.0.113.5 and the port it came from."""
        cookie = data[4:8]
        port = (address[1] ^ int.from_bytes(cookie[:2], "big")).to_bytes(2, "big")
        mapped = bytes(a ^ b for a, b in zip(socket.inet_aton("203.0.113.5"), cookie, strict=True))
        attribute = b"\x00\x20\x00\x08\x00\x01" + port + mapped
        self.transport.sendto(b"\x01\x01\x00\x0c" + data[4:20] + attribute, address)


@pytest.fixture
async def stun_server() -> AsyncIterator[tuple[str, int]]:
    """Where a STUN server listens."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        StunServer, local_addr=("127.0.0.1", 0)
    )
    yield transport.get_extra_info("sockname")
    transport.close()
    await asyncio.sleep(0)


def connection(
    servers: IceServers, *, controlling: bool = True, host: str = "127.0.0.1"
) -> IceConnection:
    """With one socket, on loopback."""
    return IceConnection(
        controlling=controlling,
        sockets=lambda: [bound_socket(host, 0)],
        servers=servers,
        on_dtls=lambda data: None,
        on_selected=lambda ice: None,
    )


async def test_every_stun_server_is_asked_and_the_same_answer_counts_once(
    stun_server: tuple[str, int],
) -> None:
    ice = connection(IceServers((stun_server, stun_server), ()))
    await ice.gather_candidates()
    assert [(c.type, c.host) for c in ice.local_candidates] == [
        ("host", "127.0.0.1"),
        ("srflx", "203.0.113.5"),
    ]
    await ice.close()


async def test_a_server_that_does_not_answer_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.media.embedded.webrtc.GATHER_TIMEOUT", 0.05)
    with bound_socket("127.0.0.1", 0) as silent, capture_logs() as logs:
        address = silent.getsockname()
        ice = connection(IceServers((address,), ()))
        await ice.gather_candidates()
        assert [c.type for c in ice.local_candidates] == ["host"]
        await ice.close()
    assert [(each["server"], each["problem"]) for each in logs] == [
        (str(Way(address)), "it does not answer")
    ]


async def test_who_has_not_answered_is_not_waited_for_again_so_soon(
    monkeypatch: pytest.MonkeyPatch, stun_server: tuple[str, int]
) -> None:
    asked: list[tuple[str, int]] = []

    async def ask(protocol: StunProtocol, server: tuple[str, int]) -> tuple[Candidate, None]:
        asked.append(server)
        return await server_reflexive_candidate(protocol, server)

    monkeypatch.setattr("bridge.media.embedded.webrtc.server_reflexive_candidate", ask)
    monkeypatch.setattr("bridge.media.embedded.webrtc.GATHER_TIMEOUT", 0.3)
    with bound_socket("127.0.0.1", 0) as silent:
        servers = IceServers((silent.getsockname(), stun_server))
        for _ in range(2):
            ice = connection(servers)
            await ice.gather_candidates()
            assert [c.type for c in ice.local_candidates] == ["host", "srflx"]
            await ice.close()
        assert asked == [silent.getsockname(), stun_server, stun_server]
        now = asyncio.get_running_loop().time()
        assert not servers.answers(Way(silent.getsockname()), now)
        assert servers.answers(Way(silent.getsockname(), "tcp"), now)
        assert servers.answers(Way(silent.getsockname()), now + REST)


def test_servers_of_the_homeserver_stand_beside_those_of_the_settings() -> None:
    ours = configured([server("stun:a:1"), server("turn:b:2")])
    theirs = named(
        [
            IceServer(url="turn:b:2?transport=udp", username="t", password="theirs"),
            IceServer(url="turn:b:2?transport=tcp", username="t", password="theirs"),
            IceServer(url="turns:c", username="t", password="theirs"),
            IceServer(url="nonsense"),
            IceServer(url="stun:a:1"),
        ]
    )
    both = ours.with_others(theirs)
    assert both.stun == (("a", 1),)
    assert [
        (each["turn_server"], each["turn_transport"], each["turn_ssl"], each["turn_password"])
        for each in both.turn
    ] == [
        (("b", 2), "udp", False, "p"),
        (("b", 2), "tcp", False, "theirs"),
        (("c", 5349), "tcp", True, "theirs"),
    ]


async def test_a_turn_server_that_is_not_there_is_left_out() -> None:
    with bound_socket("127.0.0.1", 0) as gone:
        address = gone.getsockname()
    turn = {
        "turn_server": address,
        "turn_username": "u",
        "turn_password": "p",
        "turn_ssl": False,
        "turn_transport": "tcp",
    }
    ice = connection(IceServers((), (turn,)))
    with capture_logs() as logs:
        await ice.gather_candidates()
    assert [c.type for c in ice.local_candidates] == ["host"]
    assert [str(each["problem"]).startswith("[Errno 111]") for each in logs] == [True]
    await ice.close()
