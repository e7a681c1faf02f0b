# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge's media in processes of its own, for `benchmarks.media`: JSON lines in, and out.

As in the bridge, one process steers a worker, which carries all calls.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import structlog
import uvloop

from benchmarks.network import HOST
from bridge.call.commands import AnswerMedia, CloseMedia, OfferMedia
from bridge.call.events import (
    Event,
    MediaAnswerReady,
    MediaClosed,
    MediaFailed,
    MediaLost,
    MediaOfferReady,
)
from bridge.call.ids import CallId, OpId, Side
from bridge.call.terms import Srtp, Terms
from bridge.config import Logging, Media
from bridge.media import garbage
from bridge.media.workers.engine import WorkerEngine

_TERMS = Terms(srtp=Srtp.OPTIONAL, video=True)


class Engine:
    """Answers each line of standard input with one on standard output."""

    def __init__(self) -> None:
        settings = Media.model_validate({"listen": HOST, "rtp_ports": (20000, 29999)})
        self._engine = WorkerEngine(settings, Logging(level="warning"), self._event, workers=1)
        self._waiting: dict[OpId | CallId, asyncio.Future[str]] = {}
        self._op = 0

    def _event(self, event: Event) -> None:
        match event:
            case MediaOfferReady() | MediaAnswerReady():
                self._waiting.pop(event.op).set_result(event.sdp)
            case MediaClosed() if event.call in self._waiting:
                self._waiting.pop(event.call).set_result("")
            case MediaFailed() | MediaLost():
                raise RuntimeError(f"unexpected {event}")

    async def serve(self) -> None:
        """Until standard input ends."""
        await self._engine.start()
        garbage.freeze()
        reader = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            request = json.loads(line)
            print(json.dumps([request["id"], await self._answer(request)]), flush=True)
        await self._engine.close()

    async def _answer(self, request: dict[str, str]) -> Any:
        if request["do"] == "pids":
            worker = self._engine.pids[1]
            return [os.getpid(), _parent(worker), worker]
        if request["do"] == "pause":
            return self._engine.longest_pause
        self._op += 1
        op, call = OpId(self._op), CallId(request["call"])
        closing = request["do"] == "close"
        result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[call if closing else op] = result
        fields: dict[str, Any] = {"call": call, "op": op, "sdp": request.get("sdp")}
        if closing:
            self._engine.do(CloseMedia(call=call))
        elif request["do"] == "offer":
            # Telephones that do not know keys do not look at them.
            self._engine.do(OfferMedia(side=Side.MATRIX, terms=_TERMS, **fields))
        else:
            self._engine.do(AnswerMedia(side=Side.SIP, **fields))
        return await result


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


if __name__ == "__main__":
    # Standard output belongs to the answers.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
    )
    uvloop.run(Engine().serve())
