# SPDX-License-Identifier: GPL-3.0-or-later
"""Those who call each other in `benchmarks.calls`: people with clients, and sipp's telephones."""

import asyncio
import secrets
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.homeserver import Homeserver
from benchmarks.load import Client
from bridge.media.embedded.dtls import DtlsError
from tests.simulators.processes import Child

DOMAIN: Final = "mx.test"
_SCENARIOS: Final = Path(__file__).parent / "scenarios"
_STEPS: Final = {"1": "rings", "2": "answered", "3": "over"}
"""What sipp measures, by the names of its clocks."""


_MUTE: Final = "\r\n".join(
    [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "c=IN IP4 127.0.0.1",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host",
        "a=ice-ufrag:mute",
        "a=ice-pwd:mutemutemutemutemutemute",
        f"a=fingerprint:sha-256 {':'.join(['00'] * 32)}",
        "a=setup:{setup}",
        "a=mid:0",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:0 PCMU/8000",
        "",
    ]
)


def person(number: int) -> str:
    """Matrix id of one of the people."""
    return f"@person{number}:{DOMAIN}"


def numbers(number: int) -> tuple[str, str]:
    """The telephone number of this person, and that of the one telephone that calls them."""
    return f"+1303{5550000 + number:07}", f"+1202{5550000 + number:07}"


@dataclass(slots=True)
class _Placed:
    """A call that a person placed."""

    at: float
    hold: float
    client: "Client | Mute"
    room: str
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Mute:
    """A client without ICE and DTLS, of which nothing is ever heard."""

    def __init__(self, setup: str) -> None:
        self._setup = setup

    async def offer(self) -> str:
        """Its offer, or its answer."""
        return _MUTE.format(setup=self._setup)

    async def connect(self, _: str) -> None:
        """It does not."""

    async def close(self) -> None:
        """There is nothing to close."""


class People:
    """Everybody's clients: they answer what rings at once, and call.

    `steps`: seconds that things took, by their names. `mute`: clients do no ICE and no DTLS.
    """

    def __init__(self, homeserver: Homeserver, *, mute: bool = False) -> None:
        self._mute = mute
        self.steps: defaultdict[str, list[float]] = defaultdict(list)
        self.failures: list[str] = []
        self.rooms: dict[str, str] = {}
        """By person."""
        self._homeserver = homeserver
        self._placed: dict[str, _Placed] = {}
        self._answered: dict[str, tuple[Client | Mute, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def talking(self) -> int:
        """Clients in a call."""
        return len(self._placed) + len(self._answered)

    def said(self, room: str, sender: str, kind: str, content: dict[str, Any]) -> None:
        """The bridge sent an event."""
        call = content.get("call_id", "")
        match kind:
            case "m.call.invite":
                self.rooms[content["invitee"]] = room
                self._spawn(self._answer(room, content))
            case "m.call.select_answer" if call in self._answered:
                self.steps["selected"].append(time.perf_counter() - self._answered[call][1])
            case "m.call.answer" if call in self._placed:
                self._spawn(self._go_on(self._placed[call], call, content))
            case "m.call.hangup" | "m.call.reject":
                self._spawn(self._end(call, content.get("reason", "user_hangup")))

    async def place(self, who: str, hold: float) -> None:
        """Call the person's number, and hang up `hold` seconds after it was answered."""
        client = self._client("actpass", controlling=True)
        offer, call = await client.offer(), secrets.token_hex(8)
        placed = self._placed[call] = _Placed(time.perf_counter(), hold, client, self.rooms[who])
        description = {"type": "offer", "sdp": offer}
        self._say(placed.room, who, "m.call.invite", call, offer=description, lifetime=60000)
        await placed.over.wait()

    async def _answer(self, room: str, invite: dict[str, Any]) -> None:
        client = self._client("active", controlling=False)
        answer = {"type": "answer", "sdp": await client.offer()}
        call = invite["call_id"]
        self._answered[call] = (client, time.perf_counter())
        self._say(room, invite["invitee"], "m.call.answer", call, answer=answer)
        await self._connect(client, invite["offer"]["sdp"], time.perf_counter())

    async def _go_on(self, placed: _Placed, call: str, answer: dict[str, Any]) -> None:
        self.steps["answered"].append(time.perf_counter() - placed.at)
        who = next(one for one, room in self.rooms.items() if room == placed.room)
        party = answer["party_id"]
        self._say(placed.room, who, "m.call.select_answer", call, selected_party_id=party)
        await self._connect(placed.client, answer["answer"]["sdp"], time.perf_counter())
        await asyncio.sleep(placed.hold)
        self._say(placed.room, who, "m.call.hangup", call, reason="user_hangup")
        await self._end(call, "user_hangup")

    def _client(self, setup: str, *, controlling: bool) -> Client | Mute:
        if self._mute:
            return Mute(setup)
        return Client("PCMU", setup=setup, stamped=False, controlling=controlling)

    async def _connect(self, client: Client | Mute, sdp: str, since: float) -> None:
        try:
            async with asyncio.timeout(15):
                await client.connect(sdp)
        except (ConnectionError, TimeoutError, DtlsError) as error:
            self.failures.append(f"audio: {error!r}")
            return
        self.steps["audio"].append(time.perf_counter() - since)

    async def _end(self, call: str, reason: str) -> None:
        placed, answered = self._placed.pop(call, None), self._answered.pop(call, None)
        if reason != "user_hangup":
            self.failures.append(reason)
        if placed:
            placed.over.set()
            await placed.client.close()
        if answered:
            await answered[0].close()

    def _say(self, room: str, who: str, kind: str, call: str, **content: Any) -> None:
        common = {"call_id": call, "party_id": "client", "version": "1"}
        self._homeserver.say(room, who, kind, {**common, **content})

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass(frozen=True, slots=True)
class Phones:
    """sipp at the other end of the trunk."""

    directory: Path
    address: str
    port: int
    bridge: str
    """`host:port`."""
    people: int
    at_once: int
    """Calls that they have at most, later ones wait."""

    async def answering(self) -> Child:
        """Telephones that answer whatever rings."""
        return await self._start("is_called", "-p", str(self.port), "-aa")

    async def calling(self, calls: int, rate: float, hold: float) -> Child:
        """Telephones that place calls, one for each person in turn."""
        pairs = [numbers(number)[::-1] for number in range(self.people)]
        lines = ["SEQUENTIAL", *(";".join(pair) for pair in pairs)]
        (self.directory / "numbers.csv").write_text("\n".join(lines) + "\n")
        for old in self.directory.glob("calls_*_rtt.csv"):
            old.unlink()
        return await self._start(
            *("calls", "-p", str(self.port + 1), "-inf", "numbers.csv", self.bridge),
            *("-m", str(calls), "-r", str(max(1, round(10 * rate))), "-rp", "10000"),
            *("-d", str(round(1000 * hold)), "-l", str(self.at_once), "-recv_timeout", "30000"),
            *("-trace_rtt", "-rtt_freq", "1"),
        )

    def steps(self) -> dict[str, list[float]]:
        """Seconds that things took, as sipp measured them."""
        found: dict[str, list[float]] = {name: [] for name in _STEPS.values()}
        for path in self.directory.glob("calls_*_rtt.csv"):
            for line in path.read_text().splitlines()[1:]:
                _, milliseconds, clock = line.split(";")[:3]
                found[_STEPS[clock]].append(float(milliseconds) / 1000)
        return found

    async def _start(self, scenario: str, *arguments: str) -> Child:
        sipp = shutil.which("sipp")
        if not sipp:
            raise FileNotFoundError(
                "there is no sipp; install it (Debian: apt-get install sip-tester)"
            )
        return await Child.start(
            f"sipp {scenario}",
            [
                *(sipp, "-sf", _SCENARIOS / f"{scenario}.xml", "-i", self.address, "-nostdin"),
                *arguments,
            ],
            log=self.directory / f"{scenario}.log",
            cwd=self.directory,
        )
