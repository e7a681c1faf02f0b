# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole calls through the bridge: how soon, how many, and what each costs.

The bridge runs as people run it. A homeserver that costs nothing and clients that do ICE and DTLS
are on its one side, sipp is on the other; all in a network of their own. sipp calls people, and
people call sipp; each call stays for `--stay` seconds after its answer. The bridge has one core,
the rest has the others. CPU and memory are what the operating system counted for the bridge's
processes.

    python -m benchmarks.calls [--calls 400] [--rates 10 20 40] [--stay 1] [--hold 200] [--json]

For whether anything grows, one rate and many calls; `--samples` then names a file that gets a line
of JSON every ten seconds:

    python -m benchmarks.calls --directions in --calls 50000 --rates 20 --hold 0 --samples samples

`--mute` leaves ICE and DTLS out, on the side of the clients and so for the most part in the bridge.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.callers import DOMAIN, People, Phones, numbers, person
from benchmarks.homeserver import Homeserver
from tests.simulators.bridge_process import BridgeProcess
from tests.simulators.isolation import isolate_for_good, isolated
from tests.simulators.processes import free_port
from tests.simulators.usage import Usage, family
from tests.simulators.waiting import until

TRUNK: Final = "127.0.0.10"
SETTLE: Final = 5.0
"""Seconds before memory is read."""
LINGER: Final = 32.0
"""Seconds that ended dialogs live on (RFC 3261, timers D and J)."""
_STEPS: Final = ("rings", "answered", "audio", "over")


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of calls in one direction measured. `steps`: milliseconds, p50, p95 and p99.

    `rings`: from INVITE to 180; `answered`: from INVITE to 200, of a client that answers at once;
    of a person's call, from `m.call.invite` to `m.call.answer`; `audio`: ICE and DTLS, as the
    client sees it; `over`: from BYE to its 200.
    """

    direction: str
    rate: float
    calls: int
    good: int
    per_second: float
    cpu_ms_per_call: float
    core_percent: float
    steps: dict[str, tuple[float, float, float]]


class Bench:
    """The bridge between its two sides."""

    def __init__(
        self,
        directory: Path,
        people: int,
        at_once: int,
        cores: tuple[int, set[int]],
        *,
        mute: bool,
    ) -> None:
        self.bridge = BridgeProcess(directory / "bridge")
        self._homeserver = Homeserver(DOMAIN, "sipbot", self._said)
        self.people = People(self._homeserver, mute=mute)
        self._count = people
        self._cores = cores
        self._sip_port = free_port(socket.SOCK_DGRAM)
        target = f"127.0.0.1:{self._sip_port}"
        self.phones = Phones(directory, TRUNK, 5060, target, people, at_once)

    async def start(self) -> None:
        """Start everything, and have everybody called once, which makes their rooms."""
        port, appservice = free_port(), free_port()
        await self.bridge.configure(self._settings(port, appservice))
        settings = yaml.safe_load(self.bridge.config.read_text())
        token = settings["appservice"]["hs_token"]
        await self._homeserver.start(port, f"http://127.0.0.1:{appservice}", token)
        await self.bridge.start()
        core, others = self._cores
        for process in family(self.bridge.pid):
            for task in os.listdir(f"/proc/{process}/task"):
                os.sched_setaffinity(int(task), {core})
        os.sched_setaffinity(0, others)
        await self.telephones_call(self._count, 20, 0.5)

    async def stop(self) -> None:
        """Stop everything."""
        await self.bridge.stop()
        await self._homeserver.stop()

    def usage(self) -> Usage:
        """What the bridge uses."""
        return Usage.of(self.bridge.pid)

    async def telephones_call(self, calls: int, rate: float, stay: float) -> int:
        """Have telephones call; returns how many calls went as they should."""
        failed = len(self.people.failures)
        sipp = await self.phones.calling(calls, rate, stay)
        await sipp.wait(within=10 * calls / rate + stay + 120)
        await self._quiet()
        answered = len(self.phones.steps()["over"])
        return min(answered, calls - len(self.people.failures) + failed)

    async def people_call(self, calls: int, rate: float, stay: float) -> int:
        """Have people call; returns how many calls went as they should."""
        failed = len(self.people.failures)
        phones = await self.phones.answering()
        begin, running = time.perf_counter(), []
        try:
            for number in range(calls):
                await asyncio.sleep(begin + number / rate - time.perf_counter())
                call = self.people.place(person(number % self._count), stay)
                running.append(asyncio.create_task(call))
            done, late = await asyncio.wait(running, timeout=stay + 60)
            await self._quiet()
        finally:
            await phones.stop()
        return len(done) - len(late) - len(self.people.failures) + failed

    async def _quiet(self) -> None:
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.people.talking == 0, within=30, what="all calls are over")

    def _said(self, room: str, sender: str, kind: str, content: dict[str, Any]) -> None:
        self.people.said(room, sender, kind, content)

    def _settings(self, homeserver: int, appservice: int) -> dict[str, Any]:
        listen = {"protocol": "udp", "listen": "127.0.0.1", "port": self._sip_port}
        return {
            "homeserver": {"address": f"http://127.0.0.1:{homeserver}", "domain": DOMAIN},
            "appservice": {"address": f"http://127.0.0.1:{appservice}", "port": appservice},
            "permissions": {DOMAIN: "call"},
            "encryption": {"mode": "off"},
            "sip": {"transports": [listen]},
            "trunks": {
                "trunk": {
                    "server": f"{TRUNK}:5060",
                    "peers": [f"{TRUNK}/32"],
                    "codecs": ["PCMU"],
                }
            },
            "outbound": [{"prefix": "+1202555", "trunk": "trunk"}],
            "inbound": [
                {"number": numbers(number)[0], "person": person(number)}
                for number in range(self._count)
            ],
            "limits": {"calls_per_person": 1000, "calls_per_minute": 1_000_000},
            "media": {"listen": "127.0.0.1"},
            "web": {"port": free_port()},
        }


async def measure(bench: Bench, direction: str, calls: int, rate: float, stay: float) -> Result:
    """One run in one direction: `in`, telephones call people, or `out`."""
    bench.people.steps.clear()
    before, begin = bench.usage(), time.perf_counter()
    place = bench.telephones_call if direction == "in" else bench.people_call
    good = await place(calls, rate, stay)
    lasted, after = time.perf_counter() - begin, bench.usage()
    steps = dict(bench.people.steps)
    if direction == "in":
        steps |= bench.phones.steps()
    used = after.cpu_s - before.cpu_s
    return Result(
        direction=direction,
        rate=rate,
        calls=calls,
        good=good,
        per_second=round(good / max(lasted - stay, 0.001), 1),
        cpu_ms_per_call=round(1000 * used / calls, 2),
        core_percent=round(100 * used / lasted, 1),
        steps={name: _percentiles(steps[name]) for name in _STEPS if steps.get(name)},
    )


async def held(bench: Bench, calls: int) -> dict[str, float]:
    """What the bridge needs for each of so many calls in which nobody says anything.

    Memory is that of the second half of them: the first has what calls before have left free.
    """
    await asyncio.sleep(LINGER + SETTLE)
    half, stay = calls // 2, calls / 20 + 2 * SETTLE + 10
    task = asyncio.create_task(bench.telephones_call(calls, 20, stay))
    await until(lambda: bench.people.talking >= half, within=calls / 20 + 20, what="half talk")
    talking, before = bench.people.talking, bench.usage()
    await until(lambda: bench.people.talking == calls, within=calls / 10 + 20, what="all talk")
    await asyncio.sleep(SETTLE)
    during = bench.usage()
    await asyncio.sleep(SETTLE)
    later = bench.usage()
    good = await task
    return {
        "calls": calls,
        "good": good,
        "memory_kb_per_call": round((during.memory_kb - before.memory_kb) / (calls - talking), 1),
        "files_per_call": round((during.files - before.files) / (calls - talking), 2),
        "cpu_ms_per_call_second": round(1000 * (later.cpu_s - during.cpu_s) / SETTLE / calls, 3),
    }


async def sample(bench: Bench, path: Path, every: float = 10.0) -> None:
    """Write down what the bridge uses, for ever."""
    begin = time.perf_counter()
    with path.open("a") as file:
        while True:
            line = {"at": round(time.perf_counter() - begin, 1), **asdict(bench.usage())}
            file.write(json.dumps(line) + "\n")
            file.flush()
            await asyncio.sleep(every)


async def run(options: argparse.Namespace, cores: tuple[int, set[int]]) -> dict[str, Any]:
    """All that was asked for."""
    with tempfile.TemporaryDirectory(prefix="calls") as directory:
        people, at_once = (max(each, options.hold) for each in (options.people, options.at_once))
        bench = Bench(Path(directory), people, at_once, cores, mute=options.mute)
        await bench.start()
        sampler = None
        if options.samples:
            sampler = asyncio.create_task(sample(bench, options.samples))
        try:
            first = bench.usage()
            idle = await held(bench, options.hold) if options.hold else None
            results = [
                await measure(bench, direction, options.calls, rate, options.stay)
                for rate in options.rates
                for direction in options.directions
            ]
            await asyncio.sleep(SETTLE)
            last = bench.usage()
        finally:
            if sampler:
                sampler.cancel()
            await bench.stop()
            if options.log:
                options.log.write_text(bench.bridge.output())
    return {
        "runs": [asdict(each) for each in results],
        "held": idle,
        "first": asdict(first),
        "last": asdict(last),
        "failures": bench.people.failures[:20],
    }


def report(found: dict[str, Any]) -> None:
    """Print the figures as tables."""
    names = ("way", "rate/s", "good", "ms CPU/call", "core %", *_STEPS)
    shown = Table(*names, title="calls; steps in ms: p50 / p95 / p99")
    for each in found["runs"]:
        steps = ["/".join(f"{ms:.0f}" for ms in each["steps"].get(name, ())) for name in _STEPS]
        shown.add_row(
            each["direction"],
            f"{each['rate']:g}",
            f"{each['good']} of {each['calls']}",
            f"{each['cpu_ms_per_call']:.1f}",
            f"{each['core_percent']:.0f}",
            *steps,
        )
    console = Console()
    console.print(shown)
    if found["held"]:
        console.print("held calls:", found["held"])
    console.print("the process, first and last:", found["first"], found["last"])


def _percentiles(seconds: list[float]) -> tuple[float, float, float]:
    cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
    p50, p95, p99 = (round(1000 * cuts[number], 1) for number in (49, 94, 98))
    return p50, p95, p99


def main() -> int:
    """Exit status: 0 when every call went as it should."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls")
    parser.add_argument("--calls", type=int, default=400, help="of each run")
    parser.add_argument("--rates", type=float, nargs="+", default=[10, 20, 40], help="per second")
    parser.add_argument("--directions", nargs="+", default=["in", "out"], choices=["in", "out"])
    parser.add_argument("--stay", type=float, default=1.0, help="seconds from answer to goodbye")
    parser.add_argument("--hold", type=int, default=200, help="calls held at once, for memory")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=200, help="calls of telephones at most")
    parser.add_argument("--mute", action="store_true", help="clients without ICE and DTLS")
    parser.add_argument("--samples", type=Path, help="file for memory and files, while it runs")
    parser.add_argument("--log", type=Path, help="file for the bridge's log")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    core, *others = sorted(os.sched_getaffinity(0))
    cores = (core, set(others) or {core})
    if os.geteuid() != 0:
        isolate_for_good()
    with isolated() if os.geteuid() == 0 else contextlib.nullcontext():
        found = uvloop.run(run(options, cores))
    if options.json:
        json.dump(found, sys.stdout, indent=2)
    else:
        report(found)
    return 0 if all(each["good"] == each["calls"] for each in found["runs"]) else 1


if __name__ == "__main__":
    sys.exit(main())
