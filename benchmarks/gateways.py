# SPDX-License-Identifier: GPL-3.0-or-later
"""Media gateways to compare: ours, and those that are installed. Each is a process on one core."""

import asyncio
import json
import os
import shutil
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

HOST: Final = "127.0.0.1"
_PATIENCE: Final = 10.0
"""Seconds for a gateway's answer."""


class Gateway(ABC):
    """A gateway under load. A call is a client's offer and a telephone's answer to it."""

    name: str
    setup = "actpass"
    """The DTLS role that clients offer."""

    def __init__(self, process: asyncio.subprocess.Process, core: int) -> None:
        self._process = process
        os.sched_setaffinity(process.pid, {core})

    @classmethod
    @abstractmethod
    async def start(cls, core: int) -> Self:
        """Start it, bound to `core`."""

    @abstractmethod
    async def offer(self, call: str, sdp: str, *, transcode: bool) -> str:
        """What to offer the telephone."""

    @abstractmethod
    async def answer(self, call: str, sdp: str) -> str:
        """What to answer the client."""

    @abstractmethod
    async def settle(self) -> None:
        """All calls are up: do what a gateway does by itself once it has run for a while."""

    def cpu(self) -> float:
        """Seconds of CPU that the whole process has used, by the operating system's account."""
        clock = (~self._process.pid << 3) | 2  # clock_getcpuclockid(3), on Linux
        return time.clock_gettime(clock)

    def memory(self) -> int:
        """Kilobytes of memory that it holds."""
        lines = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))

    async def stop(self) -> None:
        """End it."""
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()


class Embedded(Gateway):
    """This project's engine, as the bridge runs it."""

    name = "matrix-sip"

    @classmethod
    async def start(cls, core: int) -> Self:
        """Start it, bound to `core`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.engine",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        gateway = cls(process, core)
        await gateway.settle()
        return gateway

    async def offer(self, call: str, sdp: str, *, transcode: bool) -> str:
        """What to offer the telephone."""
        return str(await self._ask("offer", call=call, sdp=sdp))

    async def answer(self, call: str, sdp: str) -> str:
        """What to answer the client."""
        return str(await self._ask("answer", call=call, sdp=sdp))

    async def settle(self) -> None:
        """What the service does once it is up."""
        await self._ask("freeze")

    async def _ask(self, do: str, **fields: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        async with asyncio.timeout(_PATIENCE):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the engine's process ended")
        return json.loads(line)

    async def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


class RtpEngine(Gateway):
    """rtpengine, relaying in user space; spoken to by its control protocol ("ng", bencoded)."""

    name = "rtpengine"
    setup = "active"  # Version 10.5 does not get through the handshake otherwise.
    program = "rtpengine"

    def __init__(self, process: asyncio.subprocess.Process, core: int, port: int) -> None:
        super().__init__(process, core)
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._control.setblocking(False)
        self._control.connect((HOST, port))
        self._cookie = 0

    @classmethod
    async def start(cls, core: int) -> Self:
        """Start it, bound to `core`."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            cls.program,
            "--config-file=none",
            "--table=-1",
            "--foreground",
            "--log-stderr",
            "--log-level=3",
            f"--interface={HOST}",
            f"--listen-ng={HOST}:{port}",
            "--port-min=40000",
            "--port-max=49999",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        gateway = cls(process, core, port)
        await gateway._until_up()
        return gateway

    async def offer(self, call: str, sdp: str, *, transcode: bool) -> str:
        """What to offer the telephone."""
        codec = {"codec": {"strip": ["opus"], "transcode": ["PCMU"]}} if transcode else {}
        return await self._negotiate(
            {
                "command": "offer",
                "call-id": call,
                "from-tag": "client",
                "sdp": sdp,
                "ICE": "remove",
                "transport-protocol": "RTP/AVP",
                "rtcp-mux": ["demux"],
                **codec,
            }
        )

    async def answer(self, call: str, sdp: str) -> str:
        """What to answer the client."""
        return await self._negotiate(
            {
                "command": "answer",
                "call-id": call,
                "from-tag": "client",
                "to-tag": "phone",
                "sdp": sdp,
                "ICE": "force",
            }
        )

    async def settle(self) -> None:
        """It does nothing of that kind."""

    async def _until_up(self) -> None:
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    await self._ask({"command": "ping"}, within=0.2)
                    return
                except (TimeoutError, ConnectionRefusedError):
                    await asyncio.sleep(0.05)

    async def _negotiate(self, request: dict[str, Any]) -> str:
        reply = await self._ask(request)
        if reply.get("result") != "ok":
            raise RuntimeError(f"rtpengine: {reply}")
        return str(reply["sdp"])

    async def _ask(self, request: dict[str, Any], within: float = _PATIENCE) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        self._cookie += 1
        cookie = f"c{self._cookie} ".encode()
        async with asyncio.timeout(within):
            await loop.sock_sendall(self._control, cookie + bencode(request))
            while True:
                reply = await loop.sock_recv(self._control, 65536)
                if reply.startswith(cookie):
                    return dict(bdecode(reply[len(cookie) :]))

    async def stop(self) -> None:
        """End it."""
        self._control.close()
        await super().stop()


def bencode(value: Any) -> bytes:
    """A value in bencoding (BEP 3)."""
    match value:
        case dict():
            items = (bencode(key) + bencode(value[key]) for key in sorted(value))
            return b"d" + b"".join(items) + b"e"
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case int():
            return b"i%de" % value
    data = str(value).encode()
    return b"%d:%s" % (len(data), data)


def bdecode(data: bytes) -> Any:
    """What a bencoded value stands for; strings as text."""
    value, _ = _bdecode(data, 0)
    return value


def _bdecode(data: bytes, at: int) -> tuple[Any, int]:
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = _bdecode(data, at)
            items.append(item)
        pairs = zip(items[::2], items[1::2], strict=True)
        return (dict(pairs) if kind == b"d" else items), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(), end


GATEWAYS: Final[dict[str, tuple[type[Gateway], Callable[[], bool]]]] = {
    "matrix-sip": (Embedded, lambda: True),
    "rtpengine": (RtpEngine, lambda: shutil.which(RtpEngine.program) is not None),
}
"""By name, and whether each can be run here."""
