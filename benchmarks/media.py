# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call costs the media engine: CPU time per call-second, with real ICE and DTLS-SRTP.

The engine runs in a process of its own on one core; WebRTC clients and RTP phones that echo
everything run here, on another. One packet each way every 20 ms, the calls evenly spread.

    python -m benchmarks.media --calls 60 --seconds 20 [--codec PCMU] [--transcode] [--json]
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import struct
import sys
import time
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from typing import Any

import structlog
import uvloop

from bridge.call.commands import AnswerMedia, OfferMedia
from bridge.call.events import Event, MediaAnswerReady, MediaConnected, MediaOfferReady
from bridge.call.ids import CallId, OpId, Side
from bridge.config import Media
from bridge.media.embedded.engine import EmbeddedEngine, freeze_garbage_collector
from tests.media.sound import tone
from tests.simulators.rtp import Packet, RtpPeer
from tests.simulators.webrtc import WebRtcPeer

PACKET = 0.02
STAMP = struct.Struct("!d")
SETTLE = 1.0


# --- the engine's process -----------------------------------------------------------------------


class Engine:
    """Takes JSON lines on standard input and answers each with one on standard output."""

    def __init__(self) -> None:
        settings = Media(listen=IPv4Address("127.0.0.1"), rtp_ports=(20000, 29999))
        self._engine = EmbeddedEngine(settings, self._event)
        self._waiting: dict[OpId, asyncio.Future[str]] = {}
        self._connected = 0

    def _event(self, event: Event) -> None:
        if isinstance(event, MediaConnected):
            self._connected += 1
        elif isinstance(event, MediaOfferReady | MediaAnswerReady):
            self._waiting.pop(event.op).set_result(event.sdp)
        else:
            raise RuntimeError(f"unexpected {event}")

    async def serve(self) -> None:
        """Until standard input ends."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            print(json.dumps(await self._answer(json.loads(line))), flush=True)
        await self._engine.close()

    async def _answer(self, request: dict[str, Any]) -> object:
        match request["do"]:
            case "offer" | "answer" as kind:
                return await self._negotiate(kind, request)
            case "freeze":
                freeze_garbage_collector()
                return None
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "cpu": usage.ru_utime + usage.ru_stime,
            "memory": usage.ru_maxrss,
            "connected": self._connected,
        }

    async def _negotiate(self, kind: str, request: dict[str, Any]) -> str:
        op = OpId(request["op"])
        call = CallId(request["call"])
        self._waiting[op] = asyncio.get_running_loop().create_future()
        result = self._waiting[op]
        if kind == "offer":
            self._engine.do(OfferMedia(call=call, op=op, side=Side.MATRIX, sdp=request["sdp"]))
        else:
            self._engine.do(AnswerMedia(call=call, op=op, side=Side.SIP, sdp=request["sdp"]))
        return await result


# --- the generator ------------------------------------------------------------------------------


class Gateway:
    """The engine's process, seen from here."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._op = 0

    @classmethod
    async def start(cls, core: int) -> "Gateway":
        """Start it, bound to `core`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.media",
            "--engine",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        os.sched_setaffinity(process.pid, {core})
        return cls(process)

    async def ask(self, do: str, **fields: str) -> Any:
        """One request, one answer."""
        self._op += 1
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, "op": self._op, **fields}).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the engine's process ended")
        return json.loads(line)

    async def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@dataclass(frozen=True, slots=True)
class Result:
    """What one run measured."""

    calls: int
    seconds: float
    mode: str
    cpu_ms_per_call_second: float
    memory_kb: int
    sent: int
    echoed: int
    returned: int
    round_trip_p50_ms: float
    round_trip_p99_ms: float


class Call:
    """One client and one phone."""

    def __init__(self, codec: str, *, transcode: bool) -> None:
        self.client = WebRtcPeer()
        self.phone = RtpPeer()
        self.returned = 0
        self.round_trips: list[float] = []
        self._transcode = transcode
        client_codec = "opus" if transcode else codec
        self._formats = (111, 110) if transcode else (111, 9, 0, 8, 110, 126)
        self._phone_codec = codec
        self._sender = self.client.sender(client_codec)
        self._payloads = tone(client_codec, 440)

    async def connect(self, gateway: Gateway, name: str) -> None:
        """Set the call up."""
        offer = await gateway.ask("offer", call=name, sdp=await self.client.offer(self._formats))
        self.phone.aim(offer)
        sdp = self.phone.sdp((self._phone_codec,))
        await self.client.connect(await gateway.ask("answer", call=name, sdp=sdp))
        self.phone.echo()
        self.client.on_packet = self._back

    def _back(self, packet: Packet) -> None:
        self.client.received.packets.clear()
        self.returned += 1
        if not self._transcode:
            self.round_trips.append(time.perf_counter() - STAMP.unpack_from(packet.payload)[0])

    async def send(self, number: int) -> None:
        """The next packet, with the time in it where it comes back as it is."""
        payload = self._payloads[number % len(self._payloads)]
        if not self._transcode:
            payload = STAMP.pack(time.perf_counter()) + payload[STAMP.size :]
        await self.client.send(self._sender.next(payload))

    async def close(self) -> None:
        """Free the sockets."""
        self.phone.close()
        await self.client.close()


async def _drive(calls: list[Call], seconds: float) -> int:
    """Send on every call for so long; returns how many packets."""
    step = PACKET / len(calls)
    due = time.perf_counter()
    end = due + seconds
    sent = 0
    while due < end:
        while due <= time.perf_counter():
            await calls[sent % len(calls)].send(sent // len(calls))
            sent += 1
            due += step
            if not sent % 8:
                await asyncio.sleep(0)  # What comes back wants to be read even when we are late.
        await asyncio.sleep(0.001)
    return sent


async def measure(count: int, seconds: float, codec: str, *, transcode: bool, core: int) -> Result:
    """One run with `count` calls, the engine on `core`."""
    gateway = await Gateway.start(core)
    calls = [Call(codec, transcode=transcode) for _ in range(count)]
    for number, call in enumerate(calls):
        await call.connect(gateway, f"call-{number}")
    await gateway.ask("freeze")
    await _drive(calls, SETTLE)
    for call in calls:
        call.returned = 0
        call.round_trips.clear()
        call.phone.received.packets.clear()
    before = await gateway.ask("usage")
    sent = await _drive(calls, seconds)
    after = await gateway.ask("usage")
    await asyncio.sleep(0.2)
    if after["connected"] != count:
        raise RuntimeError(f"only {after['connected']} of {count} calls connected")
    times = sorted(1000 * t for call in calls for t in call.round_trips) or [0.0]
    result = Result(
        calls=count,
        seconds=seconds,
        mode=f"opus to {codec}" if transcode else f"relay {codec}",
        cpu_ms_per_call_second=round(1000 * (after["cpu"] - before["cpu"]) / (seconds * count), 2),
        memory_kb=after["memory"],
        sent=sent,
        echoed=sum(len(call.phone.received.packets) for call in calls),
        returned=sum(call.returned for call in calls),
        round_trip_p50_ms=round(statistics.median(times), 2),
        round_trip_p99_ms=round(times[int(len(times) * 0.99)], 2),
    )
    for call in calls:
        await call.close()
    await gateway.stop()
    return result


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, nargs="+", default=[30])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--codec", default="PCMU", choices=["PCMU", "PCMA", "G722", "opus"])
    parser.add_argument("--transcode", action="store_true", help="clients know only Opus")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--engine", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        # Standard output belongs to the answers.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
        uvloop.run(Engine().serve())
        return
    engine_core, *own_cores = sorted(os.sched_getaffinity(0))
    if not own_cores:
        parser.error("two cores are needed: one for the engine, one for the calls")
    os.sched_setaffinity(0, own_cores)
    results = [
        uvloop.run(
            measure(
                count, options.seconds, options.codec, transcode=options.transcode, core=engine_core
            )
        )
        for count in options.calls
    ]
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    print(f"{'calls':>6} {'mode':<14} {'ms/call-s':>10} {'lost':>7} {'p50 ms':>7} {'p99 ms':>7}")
    for r in results:
        print(
            f"{r.calls:>6} {r.mode:<14} {r.cpu_ms_per_call_second:>10.2f}"
            f" {r.sent - r.returned:>7} {r.round_trip_p50_ms:>7.2f} {r.round_trip_p99_ms:>7.2f}"
        )


if __name__ == "__main__":
    main()
