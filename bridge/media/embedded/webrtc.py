# SPDX-License-Identifier: GPL-3.0-or-later
"""ICE: the only module that knows aioice from the inside, as `dtls` does aiortc.

Its public interface hands every packet through a queue and two coroutines, knows one STUN and one
TURN server, and cannot restart ICE. What is used of its inside is held by tests: a release that
moves it fails there and not in a call.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from aioice import Candidate, Connection, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import (
    CandidatePair,
    StunProtocol,
    relayed_candidate,
    server_reflexive_candidate,
)
from pylibsrtp import Session

from bridge.media.embedded.candidates import parse_candidate
from bridge.media.embedded.consent import INTERVAL, REQUEST, Answered, Consent
from bridge.media.embedded.flow import Ear, Flow
from bridge.media.embedded.ice_servers import IceServers, Way, way_to
from bridge.media.embedded.sockets import connected_twin
from bridge.media.embedded.srtp import ARRIVAL, SIZE, TRAILER, Outlet, Packet
from bridge.media.packets import until_round, unwatch, watch

UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, struct.error)
"""What comes of messages that are not what they should be."""
GATHER_TIMEOUT = 3.0
"""Seconds that STUN and TURN servers get; what has not answered by then is left out."""

OnDatagram = Callable[[bytes], None]
OnMedia = Callable[[int, float], None]
"""Takes a packet of that many bytes out of `ARRIVAL`, and when it came (monotonic, seconds)."""

_Asking = Coroutine[Any, Any, tuple[Candidate, StunProtocol | None]]
_Asked = tuple[Way, _Asking]
"""Where a server is, and what asks it."""


class Protocol(StunProtocol):
    """aioice's STUN on one way, but for checks that go on when all is settled."""

    def __init__(self, ice: "IceConnection") -> None:
        super().__init__(ice)
        self._ice = ice
        self._answered: Answered | None = None
        self._good = False

    def datagram_received(self, data: Any, addr: Any) -> None:
        """Anything but media."""
        address = addr[0], addr[1]
        if self._ice.consent.take(data, monotonic()) or self._repeated(data, address):
            return
        self._good = False
        super().datagram_received(data, address)
        if self._good and data[:2] == REQUEST:
            self._answered = Answered.of(data, address, controlling=self._ice.ice_controlling)

    def _repeated(self, data: bytes, address: tuple[str, int]) -> bool:
        """Whether it is what was answered before on the way that media goes, and is answered."""
        ice, answered = self._ice, self._answered
        if (
            answered is None
            or not answered.fits(address, controlling=ice.ice_controlling)
            or not ice.is_selected(self, address)
        ):
            return False
        answer = answered.answer(data, ice.local_password.encode())
        if answer:
            self.transport.sendto(answer, address)
        return bool(answer)

    def send_stun(self, message: stun.Message, addr: tuple[str, int]) -> None:
        """As ever; and whether what was asked is granted."""
        self._good |= message.message_class == stun.Class.RESPONSE
        super().send_stun(message, addr)


class SocketTransport(asyncio.DatagramTransport):
    """A raw UDP socket that aioice may use as its transport, and media without aioice.

    asyncio's own datagram transport costs several times as much for each packet.
    """

    def __init__(self, sock: socket.socket, ice: "IceConnection") -> None:
        super().__init__(extra={"socket": sock, "sockname": sock.getsockname()})
        self.sock = sock
        self._ice = ice
        self._protocol = Protocol(ice)
        self._loop = asyncio.get_running_loop()
        self._twin: socket.socket | None = None
        self._flow: Flow | None = None
        self._peer: Any = None
        self._closing = False
        watch(sock, self._readable)
        self._protocol.connection_made(self)

    @property
    def protocol(self) -> StunProtocol:
        """The STUN protocol on this socket."""
        return self._protocol

    def _readable(self, now: float) -> None:
        try:
            size, address = self.sock.recvfrom_into(ARRIVAL)
        except OSError:
            return
        if size and 127 < ARRIVAL[0] < 192:  # RFC 7983: SRTP and SRTCP
            self._ice.on_media(size, now)
        elif size:
            self._hand_over(bytes(ARRIVAL[:size]), address)

    def _hand_over(self, data: bytes, address: Any) -> None:
        """STUN and DTLS. What aioice cannot read it may refuse in any way."""
        try:
            self._protocol.datagram_received(data, address)
        except UNREADABLE:
            self._ice.on_malformed()

    def favour(self, peer: Any) -> Callable[[bytes | Packet], object]:
        """How to send to `peer`, and hear it, at the least cost, until another is favoured."""
        if self._twin is None or peer != self._peer:
            self._drop_twin()
            try:
                self._twin = connected_twin(self.sock, peer)
            except OSError:  # It works without, at a higher price.
                return lambda data: self.sock.sendto(data, peer)
            self._peer = peer
            self.listen()
        return self._twin.send

    def listen(self) -> None:
        """Hear the favoured peer, with the keys that there are and for who is there to hear."""
        twin, hearing = self._twin, self._ice.hearing
        if twin is None or hearing is None:
            return
        self._turn_away(twin)
        flow = self._flow = Flow(
            twin.recv_into,
            self._taken,
            session=hearing.session,
            suite=hearing.suite,
            most=SIZE - TRAILER,
            forged=hearing.forged,
        )
        hearing.ear.adopt(flow)
        watch(twin, flow.readable)

    def _taken(self, size: int, now: float) -> None:
        """Something of the favoured peer's that is not simply passed on."""
        if size and 127 < ARRIVAL[0] < 192:
            self._ice.on_media(size, now)
        elif size:
            self._hand_over(bytes(ARRIVAL[:size]), self._peer)

    def _turn_away(self, twin: socket.socket) -> None:
        flow, self._flow = self._flow, None
        if flow is not None:
            unwatch(twin)
            flow.stop()

    def _drop_twin(self) -> None:
        twin, self._twin = self._twin, None
        if twin is not None:
            self._turn_away(twin)
            twin.close()

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send now or never: a full socket buffer loses the packet, as the network would."""
        with contextlib.suppress(OSError):
            self.sock.sendto(data, addr)

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def close(self) -> None:
        """Stop reading and free the port."""
        if self._closing:
            return
        self._closing = True
        self._drop_twin()
        unwatch(self.sock)
        self.sock.close()
        self._loop.call_soon(self._protocol.connection_lost, None)


def _nobody() -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """Who takes media, and with which keys."""

    take: OnMedia
    ear: Ear
    session: Session
    suite: str
    forged: Callable[[], None]
    """Told of each packet that could not be decrypted."""


class IceConnection(Connection):
    """One generation of ICE: own sockets, any number of servers, media past the queue.

    End-of-candidates is never told to aioice: it would fail the connection although checks from an
    address that was not announced (mDNS, NAT) could still come. A timeout decides.
    """

    def __init__(
        self,
        *,
        controlling: bool,
        sockets: Callable[[], list[socket.socket]],
        servers: IceServers,
        on_dtls: OnDatagram,
        on_selected: Callable[["IceConnection"], None],
    ) -> None:
        super().__init__(ice_controlling=controlling)
        self.hearing: Hearing | None = None
        """None: there are no keys yet, and media is lost."""
        self.on_malformed: Callable[[], None] = _nobody
        """Called for what is neither STUN that can be read, nor anything else."""
        self._make_sockets = sockets
        self._servers = servers
        self.on_dtls = on_dtls
        self._on_selected = on_selected
        self._selected: CandidatePair | None = None
        self.consent = Consent()
        self.checked = asyncio.Event()
        """Set when the client has checked a pair before us: it has our description."""

    def request_received(
        self, message: stun.Message, addr: tuple[str, int], protocol: StunProtocol
    ) -> None:
        """A check of the client, or of somebody who tries."""
        super().request_received(message, addr, protocol)
        if self._early_checks:  # Those that are authentic, until `connect`.
            self.checked.set()

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109 - aioice's signature
    ) -> list[Candidate]:
        """Gather from the sockets given and from every server."""
        hosts = [SocketTransport(sock, self).protocol for sock in self._make_sockets()]
        for protocol in hosts:
            protocol.local_candidate = _host_candidate(component, protocol)
        self._protocols += hosts
        found = [protocol.local_candidate for protocol in hosts]
        now = asyncio.get_running_loop().time()
        waiting: list[_Asked] = [
            (Way(server), server_reflexive_candidate(protocol, server))
            for server in self._servers.stun
            for protocol in hosts
            if ":" not in protocol.local_candidate.host and self._servers.answers(Way(server), now)
        ]
        waiting += [
            (way_to(server), self._relayed(component, server))
            for server in self._servers.turn
            if self._servers.answers(way_to(server), now)
        ]
        for candidate, relay in await _in_time(waiting, self._servers):
            found.append(candidate)
            if relay is not None:
                self._protocols.append(relay)
        return _without_duplicates(found)

    def _relayed(self, component: int, server: dict[str, Any]) -> _Asking:
        return relayed_candidate(
            component=component,
            hide_related_address=False,
            protocol_factory=lambda: Protocol(self),
            **server,
        )

    def data_received(self, data: bytes, component: int) -> None:
        """What is not STUN: DTLS, and media that came through TURN."""
        size = len(data)
        if data and 127 < data[0] < 192:
            if size <= SIZE:
                ARRIVAL[:size] = data
                self.on_media(size, monotonic())
        elif data:
            self.on_dtls(data)

    def hear(self, hearing: Hearing) -> None:
        """Let media go there from now on."""
        self.hearing = hearing
        for protocol in self._protocols:
            if isinstance(protocol.transport, SocketTransport):
                protocol.transport.listen()

    def on_media(self, size: int, now: float) -> None:
        """A packet of that many bytes is in `ARRIVAL`."""
        if self.hearing is not None:
            self.hearing.take(size, now)

    def check_complete(self, pair: CandidatePair) -> None:
        """Follow the nominated pair: a client changes it when it changes networks."""
        super().check_complete(pair)
        selected = self._nominated.get(1)
        if selected is not None and selected is not self._selected:
            self._selected = selected
            self.consent.renew(monotonic())
            self._on_selected(self)

    def is_selected(self, protocol: StunProtocol, address: tuple[str, int]) -> bool:
        """Whether media goes this way."""
        pair = self._selected
        return pair is not None and pair.protocol is protocol and pair.remote_addr == address

    async def query_consent(self) -> None:
        """Ask the client, as long as it answers; in place of aioice's."""
        self.consent.renew(monotonic())
        while self.consent.lasts(now := monotonic()):
            pair = self._nominated[1]
            asking = bytes(self.build_request(pair, nominate=False))[stun.HEADER_LENGTH :]
            assert self.remote_password is not None  # `connect` has it.
            check = self.consent.ask(asking, self.remote_password.encode(), now)
            pair.protocol.transport.sendto(check, pair.remote_addr)
            await asyncio.sleep(until_round(INTERVAL * random.uniform(0.8, 1.2)))
        self._query_consent_task = None
        await self.close()

    @property
    def pair(self) -> str:
        """The selected candidates, ours and the client's, by type, address and port."""
        pair = self._nominated[1]
        return ", ".join(
            f"{each.type} {each.host}:{each.port}"
            for each in (pair.local_candidate, pair.remote_candidate)
        )

    def outlet(self, session: Session | None = None, suite: str = "") -> Outlet:
        """Sends packets to the selected pair, encrypted by `session` if there is one."""
        pair = self._nominated[1]
        transport, address = pair.protocol.transport, pair.remote_addr
        if isinstance(transport, SocketTransport):
            return Outlet(transport.favour(address), session, suite)
        # TURN
        return Outlet(lambda data: transport.sendto(bytes(data), address), session, suite)

    async def add_remote(self, candidate: str) -> bool:
        """Add a candidate line; False if it is one that cannot be used (TCP, mDNS, malformed)."""
        parsed = parse_candidate(candidate)
        if parsed is None:
            return False
        await self.add_remote_candidate(parsed)
        return True


def _host_candidate(component: int, protocol: StunProtocol) -> Candidate:
    host, port = protocol.transport.get_extra_info("sockname")[:2]
    return Candidate(
        foundation=candidate_foundation("host", "udp", host),
        component=component,
        transport="udp",
        priority=candidate_priority(component, "host"),
        host=host,
        port=port,
        type="host",
    )


async def _in_time(
    waiting: Sequence[_Asked], servers: IceServers
) -> list[tuple[Candidate, StunProtocol | None]]:
    """Results of those that succeed within the timeout; the others are cancelled.

    A server that was of no use is left alone for a while: every call would wait for it.
    """
    if not waiting:
        return []
    tasks = [(way, asyncio.create_task(asking)) for way, asking in waiting]
    try:
        done, _ = await asyncio.wait([task for _, task in tasks], timeout=GATHER_TIMEOUT)
    finally:
        for _, task in tasks:
            task.cancel()
        await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
    good = [(way, task) for way, task in tasks if task in done and _succeeded(task)]
    of_use = {way for way, _ in good}
    problems = {way: _problem(task) for way, task in tasks if way not in of_use}
    servers.rest(problems, asyncio.get_running_loop().time())
    return [task.result() for _, task in good]


def _succeeded(task: asyncio.Task[Any]) -> bool:
    return not task.cancelled() and task.exception() is None


def _problem(task: asyncio.Task[Any]) -> str:
    """Why a server is of no use, in words."""
    error = None if task.cancelled() else task.exception()
    if error is None or isinstance(error, stun.TransactionTimeout):
        return "it does not answer"
    return str(error) or type(error).__name__


def _without_duplicates(candidates: list[Candidate]) -> list[Candidate]:
    """Without a NAT, or with two STUN servers, the same address is found again (RFC 8445 5.1.3)."""
    unique = {(c.host, c.port): c for c in reversed(candidates)}
    return [c for c in candidates if unique[c.host, c.port] is c]
