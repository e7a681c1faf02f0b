# SPDX-License-Identifier: GPL-3.0-or-later
"""The Matrix side of a session: generations of ICE under an association of DTLS-SRTP."""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog
from aiortc import RTCCertificate
from pylibsrtp import Error as SrtpError

from bridge.call.events import MediaFault
from bridge.media.embedded.candidates import candidate_ufrag
from bridge.media.embedded.dtls import DtlsAssociation, DtlsError
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.ice_servers import IceServers
from bridge.media.embedded.srtp import Outlet, Packet
from bridge.media.embedded.webrtc import IceConnection
from bridge.sdp.agreement import WebRtcPeer
from bridge.sdp.description import Setup

CONNECT_TIMEOUT = 30.0
"""Seconds for ICE and DTLS together. Clients give up after the same time."""
RESTART_PATIENCE = 2.0
"""Seconds that the client gets to check first when ICE restarts while the old way is good.

libwebrtc would drop a new pair that is checked before it has read our answer, and stay where it is.
"""
MAX_CANDIDATES = 100
"""Remote candidates kept, and tried by one generation: more than any client sends."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the session wants to know of its Matrix leg."""

    ear: Ear
    """Hears decrypted packets."""
    rtcp: Callable[[bytes], None]
    """A decrypted compound packet."""
    outlet: Callable[[Outlet | None], None]
    """Where RTP is sent from now on; None: there is no way."""
    connected: Callable[[], None]
    """Audio can pass: after the first handshake and after each ICE restart."""
    failed: Callable[[MediaFault, str], None]
    """There is no way to the client any more."""


@dataclass(slots=True)
class _Generation:
    ice: IceConnection
    dtls: DtlsAssociation
    peer: WebRtcPeer | None = None
    task: asyncio.Task[None] | None = None
    tried: int = 0
    hurdle: MediaFault = MediaFault.ICE_FAILED
    """What it will have failed at, if it does not get on."""

    async def try_candidate(self, line: str) -> None:
        """Add a remote candidate, unless it says that it belongs to another generation."""
        if self.peer is None or self.tried >= MAX_CANDIDATES:
            return
        if candidate_ufrag(line) in {None, self.peer.ice_ufrag}:
            self.tried += 1
            await self.ice.add_remote(line)

    async def close(self, *, keys: bool) -> None:
        """Free the sockets, and with `keys` the association, too."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        if keys:
            await self.dtls.close()
        await self.ice.close()


class MatrixLeg:
    """A WebRTC peer without media engine: keys, sockets, and what to do with packets."""

    def __init__(
        self,
        *,
        certificate: RTCCertificate,
        sockets: Callable[[], list[socket.socket]],
        servers: Callable[[], IceServers],
        callbacks: Callbacks,
    ) -> None:
        self.undecipherable = 0
        """Packets that were forged, repeated, or came with old keys."""
        self.malformed = 0
        """STUN messages that could not be read."""
        self._certificate = certificate
        self._sockets = sockets
        self._servers = servers
        self._callbacks = callbacks
        self._gathered: _Generation | None = None
        self._current: _Generation | None = None
        self._connecting: _Generation | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._trickled: deque[str] = deque(maxlen=MAX_CANDIDATES)
        self._send: Callable[[bytes | Packet], None] | None = None
        self.setup: Setup | None = None
        """Our DTLS role, once there is an association."""
        self.suite = ""
        """SRTP's, once there are keys."""
        self.pair = ""
        """The candidates in use last, ours and the client's."""

    async def gather(self, *, controlling: bool) -> IceConnection:
        """A new generation of ICE with all its candidates; the one in use goes on."""
        await self.discard()
        dtls = self._current.dtls if self._current else DtlsAssociation(self._certificate)
        ice = IceConnection(
            controlling=controlling,
            sockets=self._sockets,
            servers=self._servers(),
            on_dtls=dtls.feed,
            on_selected=self._selected,
        )
        ice.on_malformed = self._count_malformed
        generation = _Generation(ice, dtls)
        try:
            await ice.gather_candidates()
        except BaseException:
            await generation.close(keys=False)
            raise
        self._gathered = generation
        return ice

    def _count_malformed(self) -> None:
        self.malformed += 1

    async def discard(self) -> None:
        """Drop what was gathered and not used."""
        gathered, self._gathered = self._gathered, None
        if gathered is not None:
            await gathered.close(keys=False)

    @property
    def gathered(self) -> IceConnection | None:
        """What was gathered and not used yet."""
        return self._gathered.ice if self._gathered else None

    @property
    def ice(self) -> IceConnection | None:
        """The generation that was agreed on last."""
        generation = self._connecting or self._current
        return generation.ice if generation else None

    @property
    def connected(self) -> bool:
        """Whether audio can pass."""
        return self._current is not None

    def tell(self, ear: Ear) -> None:
        """Hand packets to somebody else from now on."""
        self._callbacks = replace(self._callbacks, ear=ear)
        for generation in (self._current, self._connecting):
            if generation is not None and generation.dtls.established:
                self._listen(generation)

    @property
    def hurdle(self) -> MediaFault | None:
        """What is still under way where audio cannot pass yet; None if it can."""
        if self._current is not None:
            return None
        return self._connecting.hurdle if self._connecting else MediaFault.ICE_FAILED

    def connect(self, peer: WebRtcPeer, *, setup: Setup) -> None:
        """Start ICE and DTLS with `peer` over what was gathered; `setup` is our DTLS role."""
        generation = self._gathered
        if generation is None:
            raise RuntimeError("connect() before gather()")
        self._gathered = None
        superseded, self._connecting = self._connecting, generation
        generation.peer = peer
        if self._needs_new_keys(peer):
            generation.dtls = DtlsAssociation(self._certificate)
            generation.ice.on_dtls = generation.dtls.feed
        if generation.dtls.established:
            self._listen(generation)  # The client may take the new way before we know of it.
        else:
            self.setup = setup
        self._retire(superseded)
        generation.task = asyncio.create_task(self._run(generation))

    def _needs_new_keys(self, peer: WebRtcPeer) -> bool:
        """A new fingerprint asks for a new association (RFC 8842 4)."""
        before = self._current.peer if self._current else None
        return before is not None and set(before.fingerprints) != set(peer.fingerprints)

    async def add_candidates(self, candidates: tuple[str, ...]) -> None:
        """Candidates that came later; those for a generation to come are kept for it."""
        for line in candidates:
            if not line:
                continue
            self._trickled.append(line)
            generation = self._connecting or self._current
            if generation is not None:
                await generation.try_candidate(line)

    async def _run(self, generation: _Generation) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._connect_ice(generation)
                generation.dtls.use(generation.ice)
                if not generation.dtls.established:
                    generation.hurdle = MediaFault.DTLS_FAILED
                    await self._handshake(generation)
        except TimeoutError:
            detail = f"no connection within {CONNECT_TIMEOUT:.0f} s"
            self._failed(generation, generation.hurdle, detail)
            return
        except (ConnectionError, DtlsError) as error:
            self._failed(generation, generation.hurdle, str(error))
            return
        except Exception as error:
            logger.exception("connecting to the client failed")
            self._failed(generation, MediaFault.INTERNAL, type(error).__name__)
            return
        self._adopt(generation)
        await generation.ice.get_event()
        self._failed(generation, MediaFault.ICE_FAILED, "the client no longer answers (RFC 7675)")

    async def _connect_ice(self, generation: _Generation) -> None:
        ice, peer = generation.ice, generation.peer
        assert peer is not None
        ice.remote_username = peer.ice_ufrag
        ice.remote_password = peer.ice_pwd
        ice.remote_is_lite = peer.ice_lite
        for line in (*peer.candidates, *self._trickled):
            await generation.try_candidate(line)
        if self._current is not None:
            # Not `wait_for`: until Python 3.12 it may swallow that we are cancelled.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESTART_PATIENCE):
                    await ice.checked.wait()
        await ice.connect()

    async def _handshake(self, generation: _Generation) -> None:
        assert generation.peer is not None
        await generation.dtls.handshake(
            active=self.setup is Setup.ACTIVE,
            fingerprints=[(f.algorithm, f.value) for f in generation.peer.fingerprints],
        )

    def _adopt(self, generation: _Generation) -> None:
        """Send over this generation from now on, and listen to it."""
        before = self._current
        self._current = generation
        self._connecting = None
        self.suite = generation.dtls.suite
        self._listen(generation)
        self._selected(generation.ice)
        self._retire(before)
        self._callbacks.connected()

    def _listen(self, generation: _Generation) -> None:
        """Take what comes over a generation whose keys are known."""
        callbacks = self._callbacks
        hearing = generation.dtls.hearing(callbacks.ear, callbacks.rtcp, self._forged)
        generation.ice.hear(hearing)

    def _forged(self) -> None:
        self.undecipherable += 1

    def _selected(self, ice: IceConnection) -> None:
        """The pair in use is another one: when ICE completes, and when the client moves."""
        generation = self._current
        if generation is None or generation.ice is not ice:
            return
        self._send = ice.outlet().send
        self.pair = ice.pair
        dtls = generation.dtls
        self._callbacks.outlet(ice.outlet(dtls.outgoing, dtls.suite))

    def _failed(self, generation: _Generation, fault: MediaFault, detail: str) -> None:
        """A generation is lost: that matters when there is no other."""
        if generation is self._connecting:
            self._connecting = None
        elif generation is self._current:
            self._current = None
            self._send = None
            self._callbacks.outlet(None)
        if self._current is None and self._connecting is None:
            self._callbacks.failed(fault, detail)
        self._retire(generation)

    def _retire(self, generation: _Generation | None) -> None:
        """Close a generation in the background; its keys, if no other uses them."""
        if generation is None:
            return
        others = (self._current, self._connecting, self._gathered)
        keys = not any(other and other.dtls is generation.dtls for other in others)
        if generation.task is asyncio.current_task():
            generation.task = None
        task = asyncio.create_task(generation.close(keys=keys))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt and send a compound packet, if there is a way to the client."""
        if self._current is None or self._send is None:
            return
        with contextlib.suppress(SrtpError, ValueError):
            self._send(self._current.dtls.protect_rtcp(packet))

    async def close(self) -> None:
        """Say goodbye and free everything."""
        generations = [g for g in (self._current, self._connecting) if g is not None]
        self._current = self._connecting = self._send = None
        await self.discard()
        for generation in generations:
            await generation.close(keys=True)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)


def our_setup(ours: Setup | None, theirs: Setup | None) -> Setup:
    """Our DTLS role after an exchange (RFC 5763 5): said in our answer, left to us by theirs."""
    if ours in {Setup.ACTIVE, Setup.PASSIVE}:
        return ours
    return Setup.ACTIVE if theirs is Setup.PASSIVE else Setup.PASSIVE
