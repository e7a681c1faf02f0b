# SPDX-License-Identifier: GPL-3.0-or-later
"""A media engine without media: it answers as the embedded one does, and connects when told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from bridge.call.commands import (
    AnswerMedia,
    BridgeMedia,
    CloseMedia,
    DropSuccessor,
    JoinMedia,
    MediaCommand,
    OfferMedia,
    OfferSuccessor,
    SwitchMedia,
)
from bridge.call.events import (
    Event,
    MediaAnswerReady,
    MediaClosed,
    MediaConnected,
    MediaFailed,
    MediaFault,
    MediaJoined,
    MediaLost,
    MediaOfferReady,
    MediaSwitched,
)
from bridge.call.ids import CallId, OpId, Side
from bridge.errors import SdpError
from bridge.ports import Emit
from bridge.records import IceServer
from bridge.sdp.agreement import audio_of
from bridge.sdp.codecs import NoCommonCodec
from bridge.sdp.description import MediaDirection
from bridge.sdp.parser import parse

_HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
_TEXTS = {
    Side.SIP: f"{_HEAD}m=audio 4000 RTP/AVP 0 101\r\n",
    Side.MATRIX: (
        f"{_HEAD}m=audio 4002 UDP/TLS/RTP/SAVPF 111 0 101\r\n"
        "a=rtpmap:111 opus/48000/2\r\na=mid:0\r\na=rtcp-mux\r\n"
        "a=ice-ufrag:fake\r\na=ice-pwd:fakefakefakefakefakefake\r\n"
        "a=candidate:1 1 udp 2130706431 192.0.2.1 4002 typ host\r\n"
        f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=setup:actpass\r\n"
        "a=msid:stream track\r\n"
    ),
}
_EVENTS = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"


def description(side: Side, direction: MediaDirection = MediaDirection.SENDRECV) -> str:
    """What this engine sends to a side."""
    return f"{_TEXTS[side]}{_EVENTS}a={direction.value}\r\n"


@dataclass(slots=True)
class _Call:
    directions: dict[Side, MediaDirection] = field(default_factory=dict)
    """What each side's last description said; both there: established."""
    pending: tuple[Side, MediaDirection | None] | None = None
    """Who has to answer, and what the other side offered; None if that was nothing."""
    late: bool = False
    """The answer that is waited for goes to nobody."""
    told: MediaDirection = MediaDirection.SENDRECV
    """What Matrix was told last."""
    succeeds: bool = False
    """Another SIP peer was offered something."""
    bridged: bool = False
    """Another call's SIP peer is there instead of Matrix."""
    free: bool = True
    """Whether SIP was offered to send and receive."""
    stale: bool = False
    """Matrix has yet to be told what that peer wants."""


class FakeEngine:
    """`MediaEngine` for tests of what is around it. Keeps every command it was given."""

    def __init__(self, emit: Emit) -> None:
        self.commands: list[MediaCommand] = []
        self._emit = emit
        self._calls: dict[CallId, _Call] = {}

    def do(self, command: MediaCommand) -> None:
        """Answer in the next round of the event loop."""
        self.commands.append(command)
        asyncio.get_running_loop().call_soon(self._carry_out, command)

    async def start(self) -> None:
        """There is nothing to wait for."""

    def use_servers(self, servers: Sequence[IceServer]) -> None:
        """It needs none."""

    async def close(self) -> None:
        """End every call."""
        for call in list(self._calls):
            del self._calls[call]
            self._emit(MediaClosed(call=call))

    def connect(self, call: CallId, *, matrix: str = "PCMU/8000", sip: str = "PCMU/8000") -> None:
        """Audio can pass."""
        self._emit(MediaConnected(call=call, matrix_codec=matrix, sip_codec=sip))

    def lose(self, call: CallId, fault: MediaFault = MediaFault.ICE_FAILED) -> None:
        """The Matrix side is gone."""
        self._emit(MediaLost(call=call, side=Side.MATRIX, fault=fault))

    def _carry_out(self, command: MediaCommand) -> None:
        try:
            event = self._event(command)
        except SdpError as error:
            no_codec = isinstance(error, NoCommonCodec)
            fault = MediaFault.NO_COMMON_CODEC if no_codec else MediaFault.BAD_SDP
            event = _failed(command, fault, str(error))
        if event is not None:
            self._emit(event)

    def _event(self, command: MediaCommand) -> Event | None:
        if isinstance(command, CloseMedia):
            self._calls.pop(command.call, None)
            return MediaClosed(call=command.call, statistics={"mode": "none"})
        if isinstance(command, OfferMedia | JoinMedia | BridgeMedia):
            call = self._calls.setdefault(command.call, _Call())
        else:
            known = self._calls.get(command.call)
            if known is None:
                return _failed(command, MediaFault.INTERNAL, "the call has no media session")
            call = known
        match command:
            case BridgeMedia():
                call.bridged, call.pending = True, None
                return None
            case OfferMedia() if call.bridged:
                return _offer_beside(call, command)
            case OfferMedia():
                return _offer(call, command)
            case AnswerMedia():
                return _answer(call, command)
            case JoinMedia():
                return _join(call, command)
            case OfferSuccessor():
                call.succeeds = True
                return MediaOfferReady(call=command.call, op=command.op, sdp=description(Side.SIP))
            case SwitchMedia():
                return _switch(call, command)
            case DropSuccessor():
                call.succeeds = False
                return None
        call.pending = call.pending if len(call.directions) < 2 else None
        return None


def _offer_beside(call: _Call, command: OfferMedia) -> Event:
    id_, op = command.call, command.op
    if command.side is Side.SIP:
        direction = _direction(command.sdp) if command.sdp else MediaDirection.SENDRECV
        answer = description(Side.SIP, direction.reversed)
        call.pending, call.late = (Side.SIP, None), True
        return MediaOfferReady(call=id_, op=op, sdp="", needed=False, answer=answer)
    if Side.SIP in call.directions and call.free:
        return MediaOfferReady(call=id_, op=op, sdp="", needed=False)
    call.pending, call.late, call.free = (Side.SIP, None), True, True
    return MediaOfferReady(call=id_, op=op, sdp=description(Side.SIP))


def _offer(call: _Call, command: OfferMedia) -> Event:
    side, id_, op = command.side, command.call, command.op
    direction = _direction(command.sdp) if command.sdp is not None else None
    call.late = False
    if len(call.directions) < 2:
        call.pending = (side.other, direction)
        sdp = description(side.other, direction or MediaDirection.SENDRECV)
        return MediaOfferReady(call=id_, op=op, sdp=sdp)
    if direction is None:
        call.pending, call.late = (side, None), True
        return MediaOfferReady(call=id_, op=op, sdp="", needed=False, answer=description(side))
    if direction is call.directions[side] and not (side is Side.SIP and call.stale):
        call.pending = None
        answer = description(side, direction.reversed)
        return MediaOfferReady(call=id_, op=op, sdp="", needed=False, answer=answer)
    call.pending = (side.other, direction)
    if side is Side.MATRIX:
        call.free = direction is MediaDirection.SENDRECV
    if side is Side.SIP:
        call.told = direction
    return MediaOfferReady(call=id_, op=op, sdp=description(side.other, direction))


def _answer(call: _Call, command: AnswerMedia) -> Event:
    if call.pending is None:
        raise SdpError("An answer without an offer")
    side, offered = call.pending
    call.directions[side] = direction = _direction(command.sdp)
    call.stale = call.stale and side is not Side.MATRIX
    if call.late:
        if not command.provisional:
            call.pending, call.late = None, False
        return MediaAnswerReady(call=command.call, op=command.op, sdp="")
    if offered is None:
        call.pending, call.late = (side.other, None), True
    else:
        call.directions[side.other] = offered
        call.pending = call.pending if command.provisional else None
    return MediaAnswerReady(
        call=command.call, op=command.op, sdp=description(side.other, direction)
    )


def _switch(call: _Call, command: SwitchMedia) -> Event:
    direction = _direction(command.sdp)
    if not command.offered and not call.succeeds:
        raise SdpError("An answer without an offer")
    call.succeeds, call.pending = False, None
    call.directions[Side.SIP] = direction
    call.stale = direction is not call.told
    sdp = description(Side.SIP, direction.reversed) if command.offered else ""
    return MediaSwitched(call=command.call, op=command.op, sdp=sdp, needed=call.stale)


def _join(call: _Call, command: JoinMedia) -> Event:
    matrix, sip = _direction(command.matrix_sdp), _direction(command.sip_sdp)
    call.directions = {Side.MATRIX: matrix, Side.SIP: sip}
    call.pending, call.late = None, False
    return MediaJoined(
        call=command.call,
        op=command.op,
        matrix_sdp=description(Side.MATRIX, sip),
        sip_sdp=description(Side.SIP, matrix),
    )


def _direction(sdp: str) -> MediaDirection:
    return audio_of(parse(sdp)).active_direction


def _failed(command: MediaCommand, fault: MediaFault, detail: str) -> Event | None:
    op: OpId | None = getattr(command, "op", None)
    if op is None:
        return None
    return MediaFailed(call=command.call, op=op, fault=fault, detail=detail)
