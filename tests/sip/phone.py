# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge's SIP side as a test sees it, and sipp as the party at the other end."""

import asyncio
import shutil
import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, TypeVar

from pydantic import SecretStr

from bridge.call.commands import SendSipInvite
from bridge.call.events import Event, SipDialogChanged, SipEvent, SipHeard
from bridge.call.ids import CallId, LegId, TrunkName
from bridge.config import Sip, SipTransport, Trunk
from bridge.numbers import from_sip
from bridge.records import Mailbox, RefusedCalls, SipText
from bridge.sip.adapter import SipAdapter
from bridge.sip.trunks import Registration
from tests.simulators.processes import Child, free_port
from tests.simulators.waiting import PATIENCE, until
from tests.sip.certificates import Certificates

SCENARIOS: Final = Path(__file__).parent / "scenarios"
LOCALHOST: Final = "127.0.0.1"
LOCALHOST_6: Final = "::1"
CALL: Final = CallId("call")
TRUNK: Final = TrunkName("provider")
_DEFAULTS: Final = {
    "contact": "[local_ip]:[local_port];transport=[transport]",
    "extra": "X-Nothing: 1",
    "line": "",
    "payload": "8",
    "codec": "PCMA/8000",
}
"""Values for the keys that many scenarios have."""

E = TypeVar("E", bound=SipEvent)
Protocol = Literal["udp", "tcp", "tls"]


def description(direction: str = "sendrecv", *, version: int = 1) -> str:
    """What our media engine might say."""
    return (
        f"v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        "m=audio 41000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
        f"a={direction}\r\n"
    )


def encrypted(sdp: str) -> str:
    """The same with SDES keying (RFC 4568)."""
    key = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
    return sdp.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {key}\r\n"


def trunk(
    port: int, *, transport: Protocol = "udp", register: bool = False, host: str = LOCALHOST
) -> Trunk:
    """A trunk at a port of this machine."""
    return Trunk(
        server=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        transport=transport,
        register=register,
        username="me",
        auth_username="me-auth",
        password=SecretStr("secret"),
    )


def tcp(host: str = LOCALHOST) -> SipTransport:
    """A TCP listener at a free port."""
    port = free_port(socket.SOCK_STREAM)
    return SipTransport(protocol="tcp", listen=ip_address(host), port=port)


def tls(certificates: Certificates, *, trusted: bool = True, host: str = LOCALHOST) -> SipTransport:
    """A TLS listener at a free port."""
    return SipTransport(
        protocol="tls",
        listen=ip_address(host),
        port=free_port(socket.SOCK_STREAM),
        certificate=certificates.chain,
        private_key=certificates.key,
        ca_list=certificates.authority if trusted else None,
    )


class Bridge:
    """A SIP adapter with its events in a queue, and its ladder and registrations in lists."""

    def __init__(
        self,
        trunks: Mapping[str, Trunk],
        *,
        transports: tuple[SipTransport, ...] = (),
        listen: str = LOCALHOST,
        max_calls: int = 100,
        log_messages: bool = False,
        nameservers: tuple[str, ...] = (),
        pause: Callable[[int, int], float] = lambda failures, status: 0.0,
    ) -> None:
        self.port = free_port(socket.SOCK_DGRAM)
        self.ladder: list[tuple[str, str, str]] = []
        self.dialogs: dict[LegId, str] = {}
        self.signs: list[LegId] = []
        """The leg of each message that came in a call that was answered."""
        self.registrations: asyncio.Queue[Registration] = asyncio.Queue()
        self.texts: list[SipText] = []
        self.answers_text = 202
        self.mailboxes: list[Mailbox] = []
        self.refused: list[RefusedCalls] = []
        self.observer: Callable[[TrunkName, Registration], None] = lambda trunk, state: None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        udp = SipTransport(listen=ip_address(listen), port=self.port)
        self.sip = SipAdapter(
            Sip(
                transports=(udp, *transports),
                max_calls=max_calls,
                log_messages=log_messages,
                nameservers=nameservers,
            ),
            trunks,
            emit=self._emit,
            tap=lambda *entry: self.ladder.append(entry),
            normalise=lambda user, host: from_sip(user, host, "US"),
            on_registration=self._registered,
            admits=lambda text: self.answers_text,
            on_message=self.texts.append,
            on_mailbox=self.mailboxes.append,
            on_refused=self.refused.extend,
            registration_pause=pause,
        )

    async def __aenter__(self) -> Self:
        await self.sip.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.sip.stop()

    def call(
        self,
        leg: str = "leg",
        *,
        caller: str = "",
        name: str = "",
        sdp: str = "",
        trunk: TrunkName = TRUNK,
        withheld: bool = False,
        spare: bool = False,
    ) -> LegId:
        """Call a number through a trunk."""
        self.sip.do(
            SendSipInvite(
                call=CALL,
                leg=LegId(leg),
                trunk=trunk,
                target="+12025550123",
                caller=caller,
                caller_name=name,
                sdp=sdp or description(),
                withheld=withheld,
                spare=spare,
            )
        )
        return LegId(leg)

    async def expect(self, kind: type[E], *, within: float = PATIENCE) -> E:
        """The next event, which has to be of that kind and to come `within` so many seconds."""
        event = await asyncio.wait_for(self._events.get(), within)
        assert isinstance(event, kind), f"{event} instead of {kind.__name__}"
        return event

    async def any_event(self) -> Event:
        """The next event, whatever it is, and however long it takes."""
        return await self._events.get()

    def nothing_more(self) -> bool:
        """Whether every event has been taken."""
        return self._events.empty()

    async def registration(self) -> Registration:
        """The next change of the trunk's registration."""
        return await asyncio.wait_for(self.registrations.get(), PATIENCE)

    def _registered(self, trunk: TrunkName, state: Registration) -> None:
        self.registrations.put_nowait(state)
        self.observer(trunk, state)

    def _emit(self, event: Event) -> None:
        if isinstance(event, SipDialogChanged):
            self.dialogs[event.leg] = event.state
        elif isinstance(event, SipHeard):
            self.signs.append(event.leg)
        else:
            self._events.put_nowait(event)


class Sipp:
    """Plays one of `scenarios`, and says what went differently."""

    def __init__(
        self,
        scenario: str,
        directory: Path,
        *,
        port: int | None = None,
        calls: int | None = None,
        times: int = 1,
        rate: int = 50,
        tcp: bool = False,
        address: str = LOCALHOST,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """`calls`: port that it calls, for a scenario that does; `keys`: `[key]` to value."""
        kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
        self.port = port or free_port(kind)
        self._name = scenario
        self._directory = directory
        self._calls = calls
        self._times, self._rate = times, rate
        self._tcp = tcp
        self._address = address
        self._keys = {**_DEFAULTS, **(keys or {})}
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        sipp = shutil.which("sipp")
        assert sipp, "sipp is missing: apt-get install sip-tester"
        host = LOCALHOST_6 if ":" in self._address else LOCALHOST
        target = (f"[{host}]:{self._calls}" if ":" in host else f"{host}:{self._calls}",)
        text = (SCENARIOS / f"{self._name}.xml").read_text()
        for key, value in self._keys.items():
            text = text.replace(f"[{key}]", value)
        if ":" in self._address:
            text = text.replace("IN IP4 127.0.0.1", "IN IP6 ::1")
        scenario = self._directory / f"{self._name}.xml"
        scenario.write_text(text)
        self._child = await Child.start(
            f"sipp {self._name}",
            [
                *(sipp, *(target if self._calls else ()), "-sf", str(scenario)),
                *("-i", self._address, "-p", str(self.port), "-t", "t1" if self._tcp else "u1"),
                *("-m", str(self._times), "-r", str(self._rate), "-nostdin"),
                *("-timeout", f"{PATIENCE:.0f}", "-timeout_error"),
                *("-trace_msg", "-message_file", "messages", "-trace_err", "-error_file", "errors"),
            ],
            log=self._directory / "sipp.log",
            cwd=self._directory,
        )
        if not self._calls:
            await self._listens()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._child
        await self._child.stop()

    async def succeeds(self) -> None:
        """Wait for its end; everything must have gone as written."""
        assert self._child
        status = await self._child.wait(within=PATIENCE + 10)
        errors = self._directory / "errors"
        told = errors.read_text() if errors.exists() else self._child.output()
        assert status == 0, f"{self._name} ended with {status}:\n{told[-3000:]}\n{self.messages()}"

    def messages(self) -> str:
        """Every message so far."""
        path = self._directory / "messages"
        return path.read_text() if path.exists() else ""

    async def has_received(self, word: str, times: int) -> None:
        """Wait until so many different messages with that method or status have come."""
        await self._has("received", word, times)

    async def has_sent(self, word: str, times: int) -> None:
        """Wait until it has sent so many different messages with that method or status."""
        await self._has("sent", word, times)

    async def _has(self, way: str, word: str, times: int) -> None:
        def enough() -> bool:
            entries = self.messages().split(f"message {way} ")[1:]
            bare = (entry.partition("\n\n")[2].partition("\n-----")[0] for entry in entries)
            # A busy machine has messages retransmitted, which then count once.
            return sum(word in message[:20] for message in set(bare)) >= times

        await until(enough, what=f"{self._name} has {way} {times} {word}")

    async def _listens(self) -> None:
        assert self._child
        if self._tcp:
            await self._child.listens(self.port, address=self._address)
            return
        child, mark = self._child, f":{self.port:04X} "

        def bound() -> bool:
            child.check()
            return any(mark in Path(f"/proc/net/{name}").read_text() for name in ("udp", "udp6"))

        await until(bound, what=f"{child.name} is bound to {self.port}")
