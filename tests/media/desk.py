# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a media engine commands and waits for its events; sets up whole calls."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bridge.call.commands import (
    AddRemoteCandidates,
    AnswerMedia,
    BridgeMedia,
    CloseMedia,
    JoinMedia,
    MediaCommand,
    OfferMedia,
    RollbackMedia,
)
from bridge.call.events import (
    Event,
    MediaAnswerReady,
    MediaClosed,
    MediaConnected,
    MediaFailed,
    MediaJoined,
    MediaOfferReady,
)
from bridge.call.ids import CallId, OpId, Side
from bridge.call.terms import Terms
from bridge.media.embedded.engine import EmbeddedEngine
from bridge.ports import Emit, MediaEngine
from tests.simulators.rtp import RtpPeer
from tests.simulators.waiting import until
from tests.simulators.webrtc import CHROMIUM, WebRtcPeer

CALL = CallId("call-1")
E = TypeVar("E", bound=Event)


class Desk:
    """What the driver is to an engine."""

    def __init__(self, make: Callable[[Emit], MediaEngine], call: CallId = CALL) -> None:
        self.events: list[Event] = []
        self.engine = make(self.events.append)
        self.call = call
        self._ops = itertools.count(1)
        self._alone = True

    def another(self, call: CallId) -> "Desk":
        """The same engine, for another call."""
        other = Desk(lambda _: self.engine, call)
        other.events, other._ops, other._alone = self.events, self._ops, False
        return other

    def of(self, kind: type[E]) -> list[E]:
        """The events of a kind so far; of this call, where there are several desks."""
        events = [event for event in self.events if isinstance(event, kind)]
        if self._alone:
            return events
        return [event for event in events if getattr(event, "call", None) == self.call]

    async def event(self, kind: type[E], number: int = 1) -> E:
        """Wait for the nth event of a kind."""
        await until(
            lambda: len(self.of(kind)) >= number,
            what=f"event {number} of {kind.__name__} came; there were {self.events}",
            every=0.005,
        )
        return self.of(kind)[number - 1]

    async def ask(self, make: Callable[[OpId], MediaCommand]) -> Any:
        """Give a command and wait for the event that answers it."""
        op = OpId(next(self._ops))
        self.engine.do(make(op))
        found = await until(
            lambda: [event for event in self.events if getattr(event, "op", None) == op],
            what=f"operation {op} was answered; there were {self.events}",
            every=0.005,
        )
        assert len(found) == 1
        return found[0]

    async def offer(
        self,
        side: Side,
        sdp: str | None,
        codecs: Sequence[str] = (),
        *,
        terms: Terms | None = None,
        audio_alone: bool = False,
    ) -> MediaOfferReady:
        """`OfferMedia` that succeeds."""
        wanted = terms or (Terms(codecs=tuple(codecs)) if codecs else None)
        event = await self.ask(
            lambda op: OfferMedia(
                call=self.call,
                op=op,
                side=side,
                sdp=sdp,
                terms=wanted,
                audio_alone=audio_alone,
            )
        )
        assert isinstance(event, MediaOfferReady), event
        return event

    async def answer(
        self, side: Side, sdp: str, *, provisional: bool = False, refused: bool = False
    ) -> str:
        """`AnswerMedia` that succeeds."""
        event = await self.ask(
            lambda op: AnswerMedia(
                call=self.call,
                op=op,
                side=side,
                sdp=sdp,
                provisional=provisional,
                refused=refused,
            )
        )
        assert isinstance(event, MediaAnswerReady), event
        return event.sdp

    async def join(self, matrix_sdp: str, sip_sdp: str) -> MediaJoined:
        """`JoinMedia` that succeeds."""
        event = await self.ask(
            lambda op: JoinMedia(call=self.call, op=op, matrix_sdp=matrix_sdp, sip_sdp=sip_sdp)
        )
        assert isinstance(event, MediaJoined), event
        return event

    async def refused(self, make: Callable[[OpId], MediaCommand]) -> MediaFailed:
        """A command that fails."""
        event = await self.ask(make)
        assert isinstance(event, MediaFailed), event
        return event

    def trickle(self, *candidates: str) -> None:
        """`AddRemoteCandidates`."""
        self.engine.do(AddRemoteCandidates(call=self.call, candidates=candidates))

    def bridge(self, other: CallId) -> None:
        """`BridgeMedia`."""
        self.engine.do(BridgeMedia(call=self.call, other=other))

    def roll_back(self) -> None:
        """`RollbackMedia`."""
        self.engine.do(RollbackMedia(call=self.call))

    async def hang_up(self) -> dict[str, int | float | str]:
        """`CloseMedia`; returns the statistics."""
        self.engine.do(CloseMedia(call=self.call))
        return (await self.event(MediaClosed)).statistics

    def engine_snapshot(self) -> dict[str, int | float | str]:
        """What the embedded engine shows of the call while it lives."""
        assert isinstance(self.engine, EmbeddedEngine)
        return self.engine.snapshot(self.call)

    # --- whole calls ------------------------------------------------------------------------------

    async def client_calls(
        self,
        client: WebRtcPeer,
        phone: RtpPeer,
        codecs: Sequence[str] = ("PCMU",),
        *,
        formats: Sequence[int] = CHROMIUM,
        phone_sdp: str | None = None,
    ) -> MediaConnected:
        """A call from Matrix to SIP whose phone answers with `codecs`."""
        offered = await self.offer(Side.MATRIX, await client.offer(formats))
        phone.aim(offered.sdp)
        answer = await self.answer(Side.SIP, phone_sdp or phone.sdp(codecs))
        await client.connect(answer)
        return await self.event(MediaConnected)

    async def phone_calls(
        self,
        client: WebRtcPeer,
        phone: RtpPeer,
        codecs: Sequence[str] = ("PCMU",),
        *,
        knows: Sequence[int] = CHROMIUM,
    ) -> MediaConnected:
        """A call from SIP to Matrix; the phone offers `codecs`."""
        offered = await self.offer(Side.SIP, phone.sdp(codecs))
        client_answer = await client.answer(offered.sdp, knows=knows)
        connecting = asyncio.create_task(client.connect(offered.sdp, role="client"))
        answer = await self.answer(Side.MATRIX, client_answer)
        phone.aim(answer)
        await connecting
        return await self.event(MediaConnected)
