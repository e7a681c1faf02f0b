# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded media engine: one session for each call, commands in order, events out."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from bridge.call.commands import (
    AddRemoteCandidates,
    AnswerMedia,
    BridgeMedia,
    CloseMedia,
    DropSuccessor,
    EndAudio,
    JoinMedia,
    MediaCommand,
    OfferMedia,
    OfferSuccessor,
    PlayAudio,
    PlayKey,
    RecordAudio,
    RefreshPicture,
    RollbackMedia,
    SwitchMedia,
)
from bridge.call.events import (
    Event,
    MediaAnswerReady,
    MediaClosed,
    MediaFault,
    MediaJoined,
    MediaOfferReady,
    MediaSwitched,
)
from bridge.call.ids import CallId
from bridge.config import Media as MediaSettings
from bridge.errors import BridgeError, LocalError, SdpError
from bridge.media.early import Early, failed, refuse
from bridge.media.embedded.dtls import CertificateSource
from bridge.media.embedded.ice_servers import configured, named
from bridge.media.embedded.legs import Resources
from bridge.media.embedded.session import Session
from bridge.media.embedded.sockets import PortRange
from bridge.media.embedded.streams import Statistics
from bridge.ports import Emit
from bridge.records import IceServer
from bridge.sdp.codecs import NoCommonCodec
from bridge.sdp.sdes import EncryptionMismatch

logger = structlog.get_logger(__name__)


class EmbeddedEngine:
    """`MediaEngine` in this process: aiortc's ICE and DTLS, own packets."""

    def __init__(self, settings: MediaSettings, emit: Emit) -> None:
        """Raises ConfigurationError when an ICE server cannot be understood."""
        self._emit = emit
        self._configured = configured(settings.ice_servers)
        self._resources = Resources(
            settings=settings,
            ports=PortRange(*settings.rtp_ports),
            servers=self._configured,
            certificates=CertificateSource(),
        )
        self._calls: dict[CallId, _Call] = {}
        self._early = Early()
        self._ending: set[asyncio.Task[None]] = set()

    def do(self, command: MediaCommand) -> None:
        """Start to carry out a command; the order is kept for each call."""
        call = self._calls.get(command.call)
        if isinstance(command, CloseMedia):
            self._end(command.call)
        elif call is not None:
            call.commands.put_nowait(command)
        elif isinstance(command, OfferMedia | JoinMedia | BridgeMedia):
            call = _Call(command.call, self._resources, self._emit, self._session)
            self._calls[command.call] = call
            for early in self._early.take(command.call):
                call.commands.put_nowait(early)
            call.commands.put_nowait(command)
        elif isinstance(command, AddRemoteCandidates):
            self._early.keep(command)
        else:
            asyncio.get_running_loop().call_soon(refuse, command, self._emit)

    def snapshot(self, call: CallId) -> Statistics:
        """What a live call measured so far, as `MediaClosed` will report it; empty if unknown."""
        known = self._calls.get(call)
        return known.session.statistics() if known is not None else {}

    async def start(self) -> None:
        """There is nothing to wait for."""

    def use_servers(self, servers: Sequence[IceServer]) -> None:
        """Use these beside those of the settings; also where ICE restarts in a call."""
        self._resources.servers = self._configured.with_others(named(servers))

    async def close(self) -> None:
        """End every session and free every socket."""
        for call in list(self._calls):
            self._end(call)
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    def _session(self, call: CallId) -> Session | None:
        known = self._calls.get(call)
        return None if known is None else known.session

    def _end(self, call: CallId) -> None:
        self._early.take(call)
        known = self._calls.pop(call, None)
        if known is None:
            asyncio.get_running_loop().call_soon(self._emit, MediaClosed(call=call))
            return
        task = asyncio.create_task(known.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Call:
    """A session and the task that carries out its commands one by one."""

    def __init__(
        self,
        call: CallId,
        resources: Resources,
        emit: Emit,
        session_of: Callable[[CallId], Session | None],
    ) -> None:
        self._call = call
        self._emit = emit
        self._session_of = session_of
        self._log = logger.bind(call=call)
        self.session = Session(call, resources, emit)
        self.commands: asyncio.Queue[MediaCommand] = asyncio.Queue()
        self._over = False
        self._worker = asyncio.create_task(self._work())

    async def end(self) -> None:
        """Stop whatever is going on, free everything, and say what was measured."""
        self._over = True  # What a command waits for may swallow that it is cancelled.
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        statistics = self.session.statistics()
        try:
            await self.session.close()
        except Exception:
            self._log.exception("media session did not close cleanly")
        self._emit(MediaClosed(call=self._call, statistics=statistics))

    async def _work(self) -> None:
        structlog.contextvars.bind_contextvars(call=self._call)  # Of all tasks that begin here.
        while not self._over:
            command = await self.commands.get()
            event = await self._result(command)
            if event is not None:
                self._emit(event)

    async def _result(self, command: MediaCommand) -> Event | None:
        """Carry out a command; its event, if it has one."""
        try:
            return await self._carry_out(command)
        except Exception as error:
            fault, detail = _fault(error)
            name = type(command).__name__
            if fault is MediaFault.INTERNAL:
                self._log.exception("media command failed", command=name)
            else:
                self._log.info("media refused", command=name, fault=fault.value, detail=detail)
            return failed(command, fault, detail)

    def _carry_out(self, command: MediaCommand) -> Awaitable[Event | None]:
        match command:
            case OfferMedia():
                return self._offer(command)
            case AnswerMedia():
                return self._answer(command)
            case JoinMedia():
                return self._join(command)
            case AddRemoteCandidates():
                return self.session.add_candidates(command.candidates)
            case PlayKey(key=key, duration=duration):
                return self.session.play(key, duration)
            case RefreshPicture():
                return self.session.refresh_picture()
            case BridgeMedia(other=other):
                return self.session.bridge(other, self._session_of)
            case PlayAudio():
                return self.session.sounds.play(command)
            case RecordAudio():
                return self.session.sounds.record(command)
            case EndAudio(side=side):
                return self.session.sounds.end(side)
            case RollbackMedia():
                return self.session.rollback()
            case OfferSuccessor():
                return self._offer_successor(command)
            case SwitchMedia():
                return self._switch(command)
            case DropSuccessor():
                return self.session.drop_successor()
        raise TypeError(f"unknown media command {type(command).__name__}")

    async def _offer(self, command: OfferMedia) -> MediaOfferReady:
        offered = await self.session.offer(
            command.side, command.sdp, command.terms, audio_alone=command.audio_alone
        )
        return MediaOfferReady(
            call=self._call,
            op=command.op,
            sdp=offered.offer,
            needed=bool(offered.offer),
            answer=offered.answer,
            video=offered.video,
        )

    async def _answer(self, command: AnswerMedia) -> MediaAnswerReady:
        sdp = await self.session.answer(
            command.side, command.sdp, provisional=command.provisional, refused=command.refused
        )
        return MediaAnswerReady(call=self._call, op=command.op, sdp=sdp)

    async def _join(self, command: JoinMedia) -> MediaJoined:
        matrix_sdp, sip_sdp = await self.session.join(
            command.matrix_sdp, command.sip_sdp, command.terms
        )
        return MediaJoined(call=self._call, op=command.op, matrix_sdp=matrix_sdp, sip_sdp=sip_sdp)

    async def _offer_successor(self, command: OfferSuccessor) -> MediaOfferReady:
        offered = await self.session.offer_successor(command.terms, audio_alone=command.audio_alone)
        return MediaOfferReady(
            call=self._call, op=command.op, sdp=offered.offer, video=offered.video
        )

    async def _switch(self, command: SwitchMedia) -> MediaSwitched:
        sdp, needed = await self.session.switch(
            command.sdp, offered=command.offered, terms=command.terms
        )
        return MediaSwitched(call=self._call, op=command.op, sdp=sdp, needed=needed)


def _fault(error: Exception) -> tuple[MediaFault, str]:
    """Whose fault an exception is, and what to tell of it."""
    if isinstance(error, NoCommonCodec):
        return MediaFault.NO_COMMON_CODEC, str(error)
    if isinstance(error, EncryptionMismatch):
        return MediaFault.NOT_ENCRYPTED, str(error)
    if isinstance(error, SdpError):
        return MediaFault.BAD_SDP, str(error)
    if isinstance(error, LocalError | OSError):
        return MediaFault.NO_RESOURCES, str(error)
    if isinstance(error, BridgeError):
        return MediaFault.INTERNAL, str(error)
    return MediaFault.INTERNAL, type(error).__name__
