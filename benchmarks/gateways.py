# SPDX-License-Identifier: GPL-3.0-or-later
"""Media gateways to compare: ours, and those that are installed. Each is a process on one core."""

import asyncio
import json
import os
import socket
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.network import HOST

PATIENCE: Final = 30.0
"""Seconds for a gateway's answer."""
_NULL: Final = asyncio.subprocess.DEVNULL


class Gateway(ABC):
    """A gateway under load. A call is a client's offer and a telephone's answer to it."""

    name: str
    setup = "actpass"
    """The DTLS role that clients offer."""
    transcodes = True
    program = ""
    """What it is called on the command line; empty: it is in this repository."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pids = [process.pid]
        """All processes that it consists of."""

    @classmethod
    @abstractmethod
    async def start(cls, core: int) -> Self:
        """Start it, bound to `core`."""

    @staticmethod
    async def spawn(core: int, *command: str, **options: Any) -> asyncio.subprocess.Process:
        """A process that may use one core, as may those that it starts."""
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            silent = {"stdin": _NULL, "stdout": _NULL, "stderr": _NULL}
            return await asyncio.create_subprocess_exec(*command, **(silent | options))
        finally:
            os.sched_setaffinity(0, everywhere)

    @abstractmethod
    async def offer(self, call: str, sdp: str, *, transcode: bool) -> str:
        """What to offer the telephone."""

    @abstractmethod
    async def answer(self, call: str, sdp: str) -> str:
        """What to answer the client."""

    @abstractmethod
    async def close(self, call: str) -> None:
        """End a call."""

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used, by the operating system's account."""
        clocks = [(~pid << 3) | 2 for pid in self.pids]  # clock_getcpuclockid(3), on Linux
        return sum(map(time.clock_gettime, clocks))

    async def pause(self) -> float:
        """Seconds that garbage collection stopped it for, at most."""
        return 0.0

    def memory(self) -> int:
        """Kilobytes of memory that it holds; what its processes share counts once."""
        held = 0
        for pid in self.pids:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            held += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return held

    async def stop(self) -> None:
        """End it."""
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()


def free_port() -> int:
    """A port for a gateway's control."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Embedded(Gateway):
    """This project's media, as the bridge runs it: a process that steers, and a worker."""

    name = "matrix-sip"

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__(process)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, core: int) -> Self:
        """Start it, bound to `core`."""
        pipe = asyncio.subprocess.PIPE
        process = await cls.spawn(
            core,
            sys.executable,
            "-m",
            "benchmarks.engine",
            stdin=pipe,
            stdout=pipe,
            stderr=None,
            limit=1 << 20,
        )
        gateway = cls(process)
        gateway.pids = await gateway._ask("pids")
        return gateway

    async def offer(self, call: str, sdp: str, *, transcode: bool) -> str:
        """What to offer the telephone."""
        return str(await self._ask("offer", call=call, sdp=sdp))

    async def answer(self, call: str, sdp: str) -> str:
        """What to answer the client."""
        return str(await self._ask("answer", call=call, sdp=sdp))

    async def close(self, call: str) -> None:
        """End a call."""
        await self._ask("close", call=call)

    async def pause(self) -> float:
        """Seconds that garbage collection stopped it for, at most."""
        return float(await self._ask("pause"))

    async def _ask(self, do: str, **fields: str) -> Any:
        assert self._process.stdin is not None
        self._asked += 1
        answer = self._answers[self._asked] = asyncio.get_running_loop().create_future()
        request = {"id": self._asked, "do": do, **fields}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            number, answer = json.loads(line)
            self._answers.pop(number).set_result(answer)

    async def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening


class RtpEngine(Gateway):
    """rtpengine, relaying in user space; spoken to by its control protocol ("ng", bencoded)."""

    name = "rtpengine"
    setup = "active"  # Version 10.5 does not get through the handshake otherwise.
    program = "rtpengine"

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        super().__init__(process)
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._control.setblocking(False)
        self._control.connect((HOST, port))
        self._cookie = 0

    @classmethod
    async def start(cls, core: int) -> Self:
        """Start it, bound to `core`."""
        port = free_port()
        process = await cls.spawn(
            core,
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
        )
        gateway = cls(process, port)
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

    async def close(self, call: str) -> None:
        """End a call."""
        request = {"command": "delete", "call-id": call, "from-tag": "client", "delete-delay": 0}
        await self._ask(request)

    async def _until_up(self) -> None:
        async with asyncio.timeout(PATIENCE):
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

    async def _ask(self, request: dict[str, Any], within: float = PATIENCE) -> dict[str, Any]:
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
