# SPDX-License-Identifier: GPL-3.0-or-later
"""The media engine as a process of its own, for `benchmarks.media`: JSON lines in, and out."""

import asyncio
import json
import sys
from ipaddress import IPv4Address
from typing import Any

import structlog

from bridge.call.commands import AnswerMedia, OfferMedia
from bridge.call.events import Event, MediaAnswerReady, MediaFailed, MediaLost, MediaOfferReady
from bridge.call.ids import CallId, OpId, Side
from bridge.call.terms import Srtp, Terms
from bridge.config import Media
from bridge.media import garbage
from bridge.media.embedded.engine import EmbeddedEngine
from bridge.media.packets import PacketLoop

_TERMS = Terms(srtp=Srtp.OPTIONAL)


class Engine:
    """Answers each line of standard input with one on standard output."""

    def __init__(self) -> None:
        settings = Media(listen=IPv4Address("127.0.0.1"), rtp_ports=(20000, 29999))
        self._engine = EmbeddedEngine(settings, self._event)
        self._waiting: dict[OpId, asyncio.Future[str]] = {}
        self._op = 0

    def _event(self, event: Event) -> None:
        match event:
            case MediaOfferReady() | MediaAnswerReady():
                self._waiting.pop(event.op).set_result(event.sdp)
            case MediaFailed() | MediaLost():
                raise RuntimeError(f"unexpected {event}")

    async def serve(self) -> None:
        """Until standard input ends."""
        reader = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            print(json.dumps(await self._answer(json.loads(line))), flush=True)
        await self._engine.close()

    async def _answer(self, request: dict[str, str]) -> str | None:
        if request["do"] == "freeze":
            garbage.freeze()
            return None
        self._op += 1
        op, call = OpId(self._op), CallId(request["call"])
        result: asyncio.Future[str]
        result = self._waiting[op] = asyncio.get_running_loop().create_future()
        fields: dict[str, Any] = {"call": call, "op": op, "sdp": request["sdp"]}
        if request["do"] == "offer":
            # Telephones that do not know keys do not look at them.
            self._engine.do(OfferMedia(side=Side.MATRIX, terms=_TERMS, **fields))
        else:
            self._engine.do(AnswerMedia(side=Side.SIP, **fields))
        return await result


if __name__ == "__main__":
    # Standard output belongs to the answers.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
    )
    with asyncio.Runner(loop_factory=PacketLoop) as runner:
        runner.run(Engine().serve())
