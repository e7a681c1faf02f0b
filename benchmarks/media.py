# SPDX-License-Identifier: GPL-3.0-or-later
"""What calls cost a media gateway: CPU, memory and delay, ours beside others that are installed.

A gateway runs on one core, with all its processes; WebRTC clients (ICE, DTLS-SRTP) and telephones
that echo run on another, in a network of their own. Gateways take turns, so that noise hits all of
them; figures are medians. It needs root or user namespaces.

    python -m benchmarks.media --calls 30 60 100 300 --phases ticked random --seconds 10
        [--codecs PCMU opus/PCMU] [--rounds 3] [--signalled 20] [--idle 10] [--srtp] [--video]
        [--gateways matrix-sip rtpengine janus] [--json]
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.gateways import Embedded, Gateway, RtpEngine
from benchmarks.janus import Janus
from benchmarks.load import NUMBERS, Client, Phone, drive
from benchmarks.network import HOST, network

SETTLE: Final = 1.5
"""Seconds of traffic before anything is counted."""
ON_ITS_WAY: Final = 0.05
"""Seconds that the last packets may take."""
GATEWAYS: Final[dict[str, type[Gateway]]] = {
    each.name: each for each in (Embedded, RtpEngine, Janus)
}
OURS: Final = Embedded.name
_HEADINGS: Final = {
    "calls": "{calls}",
    "gateway": "{gateway}",
    "ms/call-s": "{cpu_ms_per_call_second:.2f}",
    "ours/it": "",
    "lost": "{lost}",
    "p50 ms": "{delay_p50_ms:.3f}",
    "p99 ms": "{delay_p99_ms:.2f}",
    "kB/call": "{memory_kb_per_call:.0f}",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What a run consists of."""

    calls: int
    seconds: float
    phases: str
    codec: str
    """Of the telephone."""
    transcode: bool
    """The client knows Opus alone."""
    srtp: bool
    """Whether telephones encrypt; ours alone."""
    video: bool
    """Whether there is a megabit a second of video each way, too; ours alone."""
    signalled: float
    """Calls that are set up and ended a second, meanwhile."""

    @property
    def title(self) -> str:
        """In words."""
        mode = f"Opus to {self.codec}" if self.transcode else f"{self.codec}, relayed"
        secured = ", telephones encrypt" if self.srtp else ""
        secured += ", 1 Mbit/s of video each way" if self.video else ""
        signalled = f", {self.signalled:g} calls a second set up meanwhile"
        return f"{mode}{secured}, {self.phases} phases{signalled if self.signalled else ''}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a run measured. Delays are one-way, through the gateway once, both ways together."""

    gateway: str
    calls: int
    cpu_ms_per_call_second: float
    memory_kb_per_call: float
    lost: int
    delay_p50_ms: float
    delay_p99_ms: float
    delay_max_ms: float
    signalled: int
    """Calls that were set up and ended meanwhile."""
    longest_pause_ms: float
    """For which garbage collection stopped it, since it was started."""


@dataclass(frozen=True, slots=True)
class Idle:
    """What a gateway costs that has nothing to do."""

    gateway: str
    cpu_ms_per_second: float
    memory_kb: int


async def connect(
    gateway: Gateway, load: Load, name: str, turn: asyncio.Lock
) -> tuple[Client, Phone]:
    """One call through the gateway."""
    client = Client(
        "opus" if load.transcode else load.codec,
        setup=gateway.setup,
        stamped=not load.transcode,
        video=load.video,
        host=HOST,
    )
    phone = Phone(load.codec, client, srtp=load.srtp)
    asked = await client.offer()
    async with turn:
        offer = await gateway.offer(name, asked, transcode=load.transcode)
        answer = await gateway.answer(name, phone.answer(offer))
    async with asyncio.timeout(15):
        await client.connect(answer)
    return client, phone


async def signal(gateway: Gateway, load: Load, turn: asyncio.Lock) -> int:
    """Set calls up, and end them; returns how many that were."""
    loop = asyncio.get_running_loop()
    begun, number = loop.time(), 0

    async def one(name: str) -> None:
        client, phone = await connect(gateway, load, name, turn)
        async with turn:
            await gateway.close(name)
        phone.close()
        await client.close()

    async with asyncio.TaskGroup() as tasks:
        while (due := number / load.signalled) < load.seconds:
            await asyncio.sleep(max(0.0, begun + due - loop.time()))
            number += 1
            tasks.create_task(one(f"signalled-{number}"))
    return number


async def warm_up(gateway: Gateway, load: Load, turn: asyncio.Lock) -> None:
    """Let one call go through, so that what is loaded once does not count as what calls take."""
    client, phone = await connect(gateway, load, "first", turn)
    await drive([client], 0.2, phases=load.phases)
    await gateway.close("first")
    phone.close()
    await client.close()


async def all_back(clients: list[Client]) -> None:
    """Wait for what is still on its way, or waits to be read on a busy machine."""
    before = -1
    while (returned := sum(client.returned for client in clients)) != before:
        before = returned
        await asyncio.sleep(0.3)


async def measure(kind: type[Gateway], load: Load, core: int) -> Result:
    """One run of one gateway."""
    gateway = await kind.start(core)
    turn = asyncio.Lock()
    await warm_up(gateway, load, turn)
    empty = gateway.memory()
    calls = [await connect(gateway, load, f"call-{number}", turn) for number in range(load.calls)]
    clients = [client for client, _ in calls]
    try:
        await drive(clients, SETTLE, phases=load.phases)
        await asyncio.sleep(0.1)
        for client in clients:
            client.start_over()
        before, memory = gateway.cpu(), gateway.memory()
        signalling = asyncio.create_task(signal(gateway, load, turn)) if load.signalled else None
        sent = await drive(clients, load.seconds, phases=load.phases)
        used = gateway.cpu() - before
        signalled = await signalling if signalling else 0
        if load.transcode:  # Goes on by itself where clients pause, and telephones echo it.
            await asyncio.sleep(ON_ITS_WAY)
        else:
            await all_back(clients)
        times = sorted(1000 * t for each in clients for t in each.there.taken + each.back.taken)
        return Result(
            gateway=gateway.name,
            calls=load.calls,
            cpu_ms_per_call_second=1000 * used / (load.seconds * load.calls),
            memory_kb_per_call=(memory - empty) / load.calls,
            lost=max(0, sent - sum(client.returned for client in clients))
            + sum(client.film.missing for client in clients if client.film),
            delay_p50_ms=statistics.median(times),
            delay_p99_ms=times[int(len(times) * 0.99)],
            delay_max_ms=times[-1],
            signalled=signalled,
            longest_pause_ms=1000 * await gateway.pause(),
        )
    finally:
        for client, phone in calls:
            phone.close()
            await client.close()
        await gateway.stop()


async def rest(kind: type[Gateway], seconds: float, core: int) -> Idle:
    """Let a gateway do nothing."""
    gateway = await kind.start(core)
    await asyncio.sleep(SETTLE)
    before = gateway.cpu()
    await asyncio.sleep(seconds)
    used = 1000 * (gateway.cpu() - before) / seconds
    memory = gateway.memory()
    await gateway.stop()
    return Idle(gateway.name, round(used, 3), memory)


def summary(results: list[Result]) -> Result:
    """The medians of a gateway's runs of one load; what was lost, and the worst, of all of them."""
    values = {each.name: [getattr(one, each.name) for one in results] for each in fields(Result)}
    merged: dict[str, float] = {
        name: round(statistics.median(found), 3)
        for name, found in values.items()
        if name not in ("gateway", "lost", "delay_max_ms", "longest_pause_ms")
    }
    return Result(
        gateway=results[0].gateway,
        calls=results[0].calls,
        cpu_ms_per_call_second=merged["cpu_ms_per_call_second"],
        memory_kb_per_call=merged["memory_kb_per_call"],
        lost=sum(values["lost"]),
        delay_p50_ms=merged["delay_p50_ms"],
        delay_p99_ms=merged["delay_p99_ms"],
        delay_max_ms=round(max(values["delay_max_ms"]), 3),
        signalled=sum(values["signalled"]),
        longest_pause_ms=round(max(values["longest_pause_ms"]), 3),
    )


def table(title: str, results: Iterable[Result]) -> Table:
    """The results, ours set against each of the others."""
    made = Table(title=title)
    for heading in _HEADINGS:
        made.add_column(heading, justify="left" if heading == "gateway" else "right")
    found = list(results)
    ours = {each.calls: each.cpu_ms_per_call_second for each in found if each.gateway == OURS}
    for each in found:
        ratio = ours[each.calls] / each.cpu_ms_per_call_second if each.calls in ours else None
        cells = {name: text.format(**asdict(each)) for name, text in _HEADINGS.items()}
        cells["ours/it"] = "" if ratio is None or each.gateway == OURS else f"{ratio:.2f}"
        made.add_row(*cells.values())
    return made


def _codecs(text: str) -> tuple[str, bool]:
    """`PCMU`: relayed; `opus/PCMU`: coded anew."""
    client, _, phone = text.partition("/")
    if phone and client != "opus":
        raise argparse.ArgumentTypeError("a client that is to be transcoded speaks opus")
    if (phone or client) not in NUMBERS:
        raise argparse.ArgumentTypeError(f"wanted: opus/ and, or only, one of {', '.join(NUMBERS)}")
    return phone or client, bool(phone)


def _options() -> argparse.Namespace:
    installed = [
        name for name, each in GATEWAYS.items() if not each.program or shutil.which(each.program)
    ]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="+", default=[30])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1, help="runs of each gateway")
    parser.add_argument(
        "--phases", nargs="+", default=["random"], choices=["random", "ticked"], help="of packets"
    )
    parser.add_argument(
        "--codecs", type=_codecs, nargs="+", default=[("PCMU", False)], help="PCMU, opus/PCMU, ..."
    )
    parser.add_argument("--signalled", type=float, default=0.0, help="calls set up a second")
    parser.add_argument("--idle", type=float, default=0.0, help="seconds without a call, first")
    parser.add_argument("--srtp", action="store_true", help="telephones encrypt (ours alone)")
    parser.add_argument(
        "--video", action="store_true", help="1 Mbit/s of video each way, too (ours alone)"
    )
    parser.add_argument("--gateways", nargs="+", default=installed, choices=installed)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    if options.srtp or options.video:
        options.gateways = [OURS]
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the gateway, one for the calls")
    return options


def _loads(options: argparse.Namespace) -> Iterable[Load]:
    for codec, transcode in options.codecs:
        for phases in options.phases:
            for calls in options.calls:
                yield Load(
                    calls=calls,
                    seconds=options.seconds,
                    phases=phases,
                    codec=codec,
                    transcode=transcode,
                    srtp=options.srtp,
                    video=options.video,
                    signalled=options.signalled,
                )


def _compare(load: Load, kinds: list[type[Gateway]], rounds: int, core: int) -> list[Result]:
    runs: dict[str, list[Result]] = {}
    for _ in range(rounds):
        for kind in kinds:
            if kind.transcodes or not load.transcode:
                runs.setdefault(kind.name, []).append(uvloop.run(measure(kind, load, core)))
    return [summary(each) for each in runs.values()]


def main() -> None:
    """Run what the command line asks for."""
    options = _options()
    core, *own_cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, own_cores)
    kinds = [GATEWAYS[name] for name in options.gateways]
    idle: list[Idle] = []
    results: dict[str, list[Result]] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(network())
        if options.idle:
            idle = [uvloop.run(rest(kind, options.idle, core)) for kind in kinds]
        for load in _loads(options):
            results.setdefault(load.title, []).extend(_compare(load, kinds, options.rounds, core))
    if options.json:
        runs = {title: [asdict(each) for each in found] for title, found in results.items()}
        json.dump({"idle": [asdict(each) for each in idle], "runs": runs}, sys.stdout, indent=2)
        return
    console = Console()
    for each in idle:
        console.print(
            f"{each.gateway}, idle: {each.cpu_ms_per_second} ms of CPU a second, "
            f"{each.memory_kb / 1024:.0f} MB"
        )
    for title, found in results.items():
        console.print(table(title, found))


if __name__ == "__main__":
    main()
