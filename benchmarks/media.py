# SPDX-License-Identifier: GPL-3.0-or-later
"""What calls cost a media gateway: CPU, memory and delay, ours beside others that are installed.

A gateway runs on one core; WebRTC clients (ICE, DTLS-SRTP) and telephones that echo run on
another. Gateways take turns, so that noise hits all of them; figures are medians.

    python -m benchmarks.media --calls 60 100 --seconds 10 [--rounds 3] [--phases random]
        [--codec PCMU] [--transcode] [--srtp] [--gateways matrix-sip rtpengine] [--json]
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
from dataclasses import asdict, dataclass
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.gateways import GATEWAYS, Gateway
from benchmarks.load import Client, Phone, drive

SETTLE: Final = 1.5
"""Seconds of traffic before anything is counted."""
OURS: Final = "matrix-sip"
_HEADINGS: Final = (
    "calls",
    "gateway",
    "ms/call-s",
    "ours/it",
    "lost",
    "p50 ms",
    "p99 ms",
    "kB/call",
)


@dataclass(frozen=True, slots=True)
class Load:
    """What a run consists of."""

    calls: int
    seconds: float
    phases: str
    codec: str
    transcode: bool
    srtp: bool
    """Whether telephones encrypt; ours alone."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run measured. Delays are round trips: through the gateway twice."""

    gateway: str
    calls: int
    cpu_ms_per_call_second: float
    memory_kb_per_call: float
    sent: int
    returned: int
    round_trip_p50_ms: float
    round_trip_p99_ms: float


async def connect(gateway: Gateway, load: Load, number: int) -> tuple[Client, Phone]:
    """One call through the gateway."""
    client = Client(
        "opus" if load.transcode else load.codec,
        setup=gateway.setup,
        stamped=not load.transcode,
    )
    phone = Phone(load.codec, srtp=load.srtp)
    call = f"call-{number}"
    offer = await gateway.offer(call, await client.offer(), transcode=load.transcode)
    answer = await gateway.answer(call, phone.answer(offer))
    async with asyncio.timeout(15):
        await client.connect(answer)
    return client, phone


async def measure(kind: type[Gateway], load: Load, core: int) -> Result:
    """One run of one gateway."""
    gateway = await kind.start(core)
    empty = gateway.memory()
    calls = [await connect(gateway, load, number) for number in range(load.calls)]
    clients = [client for client, _ in calls]
    try:
        await gateway.settle()
        await drive(clients, SETTLE, phases=load.phases)
        await asyncio.sleep(0.1)
        for client in clients:
            client.start_over()
        before = gateway.cpu()
        sent = await drive(clients, load.seconds, phases=load.phases)
        used = gateway.cpu() - before
        await asyncio.sleep(0.2)
        times = sorted(1000 * t for client in clients for t in client.round_trips) or [0.0]
        return Result(
            gateway=gateway.name,
            calls=load.calls,
            cpu_ms_per_call_second=1000 * used / (load.seconds * load.calls),
            memory_kb_per_call=(gateway.memory() - empty) / load.calls,
            sent=sent,
            returned=sum(client.returned for client in clients),
            round_trip_p50_ms=statistics.median(times),
            round_trip_p99_ms=times[int(len(times) * 0.99)],
        )
    finally:
        for client, phone in calls:
            phone.close()
            await client.close()
        await gateway.stop()


def summary(results: list[Result]) -> Result:
    """The medians of a gateway's runs with the same number of calls."""

    def median(name: str) -> float:
        values: list[float] = [getattr(each, name) for each in results]
        return round(statistics.median(values), 3)

    return Result(
        gateway=results[0].gateway,
        calls=results[0].calls,
        cpu_ms_per_call_second=median("cpu_ms_per_call_second"),
        memory_kb_per_call=median("memory_kb_per_call"),
        sent=sum(each.sent for each in results),
        returned=sum(each.returned for each in results),
        round_trip_p50_ms=median("round_trip_p50_ms"),
        round_trip_p99_ms=median("round_trip_p99_ms"),
    )


def table(results: list[Result], load: Load) -> Table:
    """The results, ours set against each of the others."""
    mode = f"Opus to {load.codec}" if load.transcode else f"{load.codec}, relayed"
    secured = ", telephones encrypt" if load.srtp else ""
    made = Table(title=f"{mode}{secured}, {load.phases} phases")
    for heading in _HEADINGS:
        made.add_column(heading, justify="left" if heading == "gateway" else "right")
    ours = {each.calls: each.cpu_ms_per_call_second for each in results if each.gateway == OURS}
    for each in results:
        ratio = ours[each.calls] / each.cpu_ms_per_call_second if each.calls in ours else None
        made.add_row(
            str(each.calls),
            each.gateway,
            f"{each.cpu_ms_per_call_second:.2f}",
            "" if ratio is None or each.gateway == OURS else f"{ratio:.2f}",
            str(max(0, each.sent - each.returned)),
            f"{each.round_trip_p50_ms:.2f}",
            f"{each.round_trip_p99_ms:.2f}",
            f"{each.memory_kb_per_call:.0f}",
        )
    return made


def _options() -> argparse.Namespace:
    installed = [name for name, (_, there) in GATEWAYS.items() if there()]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="+", default=[30])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1, help="runs of each gateway")
    parser.add_argument("--phases", default="random", choices=["random", "ticked"])
    parser.add_argument("--codec", default="PCMU", choices=["PCMU", "PCMA", "G722", "opus"])
    parser.add_argument("--transcode", action="store_true", help="clients know only Opus")
    parser.add_argument("--srtp", action="store_true", help="telephones encrypt (ours alone)")
    parser.add_argument("--gateways", nargs="+", default=installed, choices=installed)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.srtp:
        options.gateways = [OURS]
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the gateway, one for the calls")
    return options


def main() -> None:
    """Run what the command line asks for."""
    options = _options()
    core, *own_cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, own_cores)
    results = []
    for calls in options.calls:
        load = Load(
            calls,
            options.seconds,
            options.phases,
            options.codec,
            options.transcode,
            options.srtp,
        )
        runs: dict[str, list[Result]] = {name: [] for name in options.gateways}
        for _ in range(options.rounds):
            for name in options.gateways:
                kind, _ = GATEWAYS[name]
                runs[name].append(uvloop.run(measure(kind, load, core)))
        results += [summary(each) for each in runs.values()]
    if options.json:
        json.dump([asdict(each) for each in results], sys.stdout, indent=2)
        return
    Console().print(table(results, load))


if __name__ == "__main__":
    main()
