# SPDX-License-Identifier: GPL-3.0-or-later
"""baresip as the telephone: it speaks or echoes, and writes down what it hears."""

import asyncio
import contextlib
import json
import re
import shutil
import socket
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulators import audio
from tests.simulators.processes import Child, free_port
from tests.simulators.waiting import PATIENCE, until, until_async

_CODECS = {
    "PCMU": ("PCMU/8000/1", 8000, 1),
    "PCMA": ("PCMA/8000/1", 8000, 1),
    "G722": ("G722/16000/1", 16000, 1),
    "opus": ("opus/48000/2", 48000, 2),
}
"""baresip's names for codecs, and the sampling rate and channels of their audio."""
_MODULE_DIRECTORIES = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules")
_SPEECH_SECONDS = 300
# When its speech is over, baresip ends the call.


def baresip() -> Path:
    """Where baresip is; raises FileNotFoundError that says how to get it."""
    found = shutil.which("baresip")
    if not found:
        raise FileNotFoundError(
            "there is no baresip, the SIP phone; install it (Debian: apt-get install baresip-core)"
        )
    return Path(found)


def _modules() -> str:
    for directory in _MODULE_DIRECTORIES:
        if Path(directory).is_dir():
            return directory
    raise FileNotFoundError(f"baresip's modules are in none of {', '.join(_MODULE_DIRECTORIES)}")


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """Something that baresip told, such as CALL_ESTABLISHED."""

    type: str
    seen_at: float
    """Monotonic seconds at which we were told."""
    peer: str
    parameter: str


@dataclass(frozen=True, slots=True)
class Registrar:
    """Where a telephone registers, by UDP."""

    uri: str
    domain: str
    password: str


class Phone:
    """A baresip process with one account, at `sip:phone@<address>:<port>`."""

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int | None = None,
        user: str = "phone",
        codecs: Sequence[str] = ("PCMU",),
        says: "int | audio.Samples | None" = 1000,
        answers: bool = True,
        name: str = "",
        encrypts: str = "",
        certificate: Path | None = None,
        registrar: Registrar | None = None,
    ) -> None:
        """`says`: the tone it speaks, in hertz, or samples; None: it echoes what it hears.

        `name`: its caller name, if it has one. `encrypts`: `srtp` offers plain audio with keys,
        `srtp-mand` wants nothing else than RTP/SAVP. `certificate`: with its key, in PEM; with one
        it is called by TLS at the port above, and calls by TLS. `registrar`: where it registers,
        and through which it calls.
        """
        self.directory = directory
        self.address = address
        self.port = port or free_port(socket.SOCK_DGRAM, address)
        self.user = user
        self.events: list[PhoneEvent] = []
        self._codecs = tuple(codecs)
        self._says = says
        self._answers = answers
        self._name = name
        self._encrypts = encrypts
        self._certificate = certificate
        self._registrar = registrar
        self._control = free_port(address=address)
        self._child: Child | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Phone":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it and wait until it can be called and dialled."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "accounts").write_text(self._account())
        (self.directory / "config").write_text(self._configuration())
        (self.directory / "contacts").write_text("")
        self._write_speech()
        self._child = await Child.start(
            "baresip",
            ["stdbuf", "-oL", baresip(), "-f", self.directory],
            log=self.directory / "baresip.log",
            cwd=self.directory,
        )
        child = self._child
        await child.listens(self._control, address=self.address)
        reader, self._writer = await asyncio.open_connection(self.address, self._control)
        self._reader = asyncio.create_task(self._read(reader))

    async def stop(self) -> None:
        """End every call and the process."""
        if self._writer:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        if self._child:
            await self._child.stop()
        if self._reader:
            await self._reader

    @property
    def log(self) -> str:
        """What baresip wrote."""
        return self._child.output() if self._child else ""

    async def command(self, name: str, parameter: str = "") -> None:
        """A command of baresip's menu, such as `dial` or `hangup`."""
        if not self._writer:
            raise RuntimeError("the phone has not been started")
        body = json.dumps({"command": name, "params": parameter}).encode()
        self._writer.write(b"%d:%s," % (len(body), body))
        await self._writer.drain()

    async def registers(self, *, within: float = PATIENCE) -> None:
        """Wait until it is registered; it may tell that before there is anybody to be told."""
        await until(
            lambda: re.search(r" 200 OK .*\[\d+ binding", self.log),
            within=within,
            what=lambda: f"the phone registers; its log:\n{self.log}",
        )

    async def dial(self, uri: str) -> None:
        """Call a SIP URI."""
        await self.command("dial", uri)

    async def answer(self) -> None:
        """Answer what rings."""
        await self.command("accept")

    async def hang_up(self) -> None:
        """End the call, or refuse what rings."""
        await self.command("hangup")

    def seen(self, event: str) -> list[PhoneEvent]:
        """The events of a type so far."""
        return [one for one in self.events if one.type == event]

    async def sees(self, event: str, *, count: int = 1, within: float = PATIENCE) -> PhoneEvent:
        """Wait for the `count`th event of a type: CALL_INCOMING, CALL_ESTABLISHED, CALL_CLOSED…"""
        found = await until(
            lambda: self.seen(event)[count - 1 :],
            within=within,
            what=lambda: f"the phone saw {event}; it saw {[one.type for one in self.events]}",
        )
        return found[0]

    def heard(self) -> tuple[audio.Samples, int]:
        """What the latest call has brought so far, decoded: samples and their rate.

        baresip stops recording when it is sent a re-INVITE.
        """
        recordings = sorted(self.directory.glob("dump-*-dec.wav"))
        if not recordings:
            return array("h"), 8000
        return audio.read_wav(recordings[-1])

    async def hears(self, hertz: float, *, within: float = PATIENCE) -> None:
        """Wait until the last half second heard is a tone of `hertz`."""

        def found() -> bool:
            samples, rate = self.heard()
            return audio.find_tone(samples, rate).is_near(hertz)

        def what() -> str:
            samples, rate = self.heard()
            return (
                f"the phone hears {hertz} Hz; it hears {audio.find_tone(samples, rate)} and has "
                f"recorded {len(samples) / rate:.1f} s; its log:\n{self.log}"
            )

        await until(found, within=within, what=what, every=0.1)

    async def hears_nothing(self, *, within: float = PATIENCE) -> None:
        """Wait for 0.3 s in which nothing arrives, or nothing but silence."""

        async def silent() -> bool:
            before = len(self.heard()[0])
            await asyncio.sleep(0.3)
            samples, rate = self.heard()
            new = samples[before:]
            return audio.find_tone(new, rate).rms < 0.002

        await until_async(silent, within=within, what="the phone hears nothing")

    def summary(self) -> dict[str, str]:
        """baresip's own account of the last call that ended, from its RTCP (EX, PR, PS, PL…)."""
        lines = re.findall(r"^EX=BareSip;.*$", self.log, re.MULTILINE)
        if not lines:
            return {}
        pairs = (part.partition("=") for part in lines[-1].rstrip(";").split(";"))
        return {key: value for key, _, value in pairs}

    def _write_speech(self) -> None:
        if self._says is None:
            return
        _, rate, channels = _CODECS[self._codecs[0]]
        speech = audio.sine(self._says, 1, rate) if isinstance(self._says, int) else self._says
        audio.write_wav(
            self.directory / "speech.wav",
            speech,
            rate,
            channels=channels,
            times=_SPEECH_SECONDS * rate // len(speech),
        )

    def _account(self) -> str:
        mode = "auto" if self._answers else "manual"
        codecs = ",".join(_CODECS[codec][0] for codec in self._codecs)
        name = f'"{self._name}" ' if self._name else ""
        return (
            f"{name}{self._identity()}"
            f";answermode={mode};audio_codecs={codecs}"
            f"{f';mediaenc={self._encrypts}' if self._encrypts else ''}\n"
        )

    def _identity(self) -> str:
        at = self._registrar
        if at is None:
            return f"<sip:{self.user}@{self.address}:{self.port}>;regint=0"
        secret = f"auth_pass={at.password}"
        return f'<sip:{self.user}@{at.domain}>;regint=60;outbound="{at.uri}";{secret}'

    def _configuration(self) -> str:
        # baresip keeps 127 characters of a path, so paths start where it runs.
        source = "aubridge,echo" if self._says is None else "aufile,speech.wav"
        rtp = free_port(socket.SOCK_DGRAM, self.address, even=True)
        modules = ("g711", "g722", "opus", "aufile", "aubridge", "sndfile", "srtp")
        certificate = [f"sip_certificate {self._certificate}"] if self._certificate else []
        lines = [
            f"module_path {_modules()}",
            f"sip_listen {self.address}:{self.port}",
            *certificate,
            f"net_interface {self.address}",
            f"ctrl_tcp_listen {self.address}:{self._control}",
            f"rtp_ports {rtp}-{rtp + 200}",
            "snd_path .",
            f"audio_source {source}",
            f"audio_player aubridge,{'echo' if self._says is None else 'ear'}",
            "statmode_default off",
            "audio_alert aubridge,alert",
            *(f"module {name}.so" for name in modules),
            *(f"module_tmp {name}.so" for name in ("uuid", "account")),
            *(f"module_app {name}.so" for name in ("menu", "ctrl_tcp", "rtcpsummary")),
        ]
        return "\n".join(lines) + "\n"

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Netstrings of JSON: events, and replies to commands."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                message: dict[str, Any] = json.loads(await reader.readexactly(length))
                await reader.readexactly(1)
                if message.get("event"):
                    self.events.append(
                        PhoneEvent(
                            message["type"],
                            time.monotonic(),
                            message.get("peeruri", ""),
                            message.get("param", ""),
                        )
                    )
