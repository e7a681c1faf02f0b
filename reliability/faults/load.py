# SPDX-License-Identifier: GPL-3.0-or-later
"""More than the bridge can take, or has to."""

import asyncio
import contextlib
import itertools
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from bridge.sip.messages import parse
from reliability.dialog import branch, written
from reliability.faults.base import Fault
from reliability.ledger import Placed
from reliability.place import PBX, Place, persons_number
from reliability.plan import Way
from reliability.scene import Scene
from tests.simulators.waiting import until

STRANGER: Final = "127.0.0.66"
_RATE: Final = 100
_COUNTED: Final = 'matrix_sip_calls_refused_total{cause="stranger"}'
_SUMMED: Final = 60.0
"""Seconds until the last sum is on record: two of those that are summed up, and more."""
_MORE: Final = 4
"""Calls each way beyond the limit."""
_STORM: Final = 40
"""Telephones that call at the same time: more than the bridge refuses with a ladder."""
_AT_ONCE: Final = 5.0
"""Seconds: generous, for the machine may be busy."""


class Flood(Fault):
    """From an address that is no trunk's."""

    name = "flood"
    what = f"a stranger sends {_RATE} INVITEs a second"

    def __init__(self) -> None:
        self._missing: Callable[[], float] = lambda: 0.0

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """They come all the time, and all are turned away."""
        before, began = _refused(await scene.place.metrics()), time.monotonic()
        recorded = _recorded(scene.place)
        flood = asyncio.create_task(_flood(scene.place))
        try:
            yield
        finally:
            flood.cancel()
            await asyncio.gather(flood, return_exceptions=True)
        refused = _refused(await scene.place.metrics()) - before
        passed = time.monotonic() - began
        if refused < passed * _RATE / 2:
            scene.falls_short(f"only {refused:.0f} INVITEs were counted as turned away")
        else:
            scene.note(f"{refused:.0f} INVITEs were turned away, {refused / passed:.0f} a second")
        self._missing = lambda: refused - (_recorded(scene.place) - recorded)

    async def afterwards(self, scene: Scene) -> None:
        """Records stand for each of them, whether by themselves or in sums."""
        missing = self._missing
        try:
            await until(lambda: not missing(), what="all have a record", within=_SUMMED, every=1.0)
        except TimeoutError:
            scene.falls_short(f"{missing():.0f} of the stranger's INVITEs are in no record")
        else:
            scene.note("records stand for all of them")


async def _flood(place: Place) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((STRANGER, 0))
        sock.setblocking(False)
        here, due = f"{STRANGER}:{sock.getsockname()[1]}", time.monotonic()
        to = f"<sip:{persons_number(0)}@127.0.0.1>"
        while True:
            invite = _request("INVITE", here, secrets.token_hex(8), branch(), to)
            with contextlib.suppress(OSError):
                sock.sendto(invite, ("127.0.0.1", place.sip_port))
            due += 1 / _RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))


def _refused(metrics: Mapping[str, float]) -> float:
    return metrics.get(_COUNTED, 0.0)


def _recorded(place: Place) -> int:
    """For how many of the stranger's calls there are records."""
    return sum(each.times for each in place.bridge.every_call() if each.source == STRANGER)


class Overload(Fault):
    """The limit is reached, and calls are tried all the same."""

    name = "overload"
    what = "there are as many calls as there may be, and more are tried"
    lasts = 3.0
    mixes = False

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """All that may be are talked in."""
        free = scene.place.max_calls - await scene.place.active()
        plays = await scene.steady(*itertools.islice(itertools.cycle(Way), free))
        scene.listen(plays)
        yield
        scene.lives(plays)
        await scene.end(plays)

    async def meanwhile(self, scene: Scene) -> None:
        """Whatever is more is refused at once, and says why."""
        for _ in range(_MORE):
            await scene.refused_in({503}, ("no_resources",), within=_AT_ONCE)
            await scene.refused_out(("no_resources",), within=_AT_ONCE)
        await _storm(scene)


async def _storm(scene: Scene) -> None:
    """Many telephones call at the same time: each is refused, and has its record."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((PBX, 0))
        sock.setblocking(False)
        here = f"{PBX}:{sock.getsockname()[1]}"
        invites = {secrets.token_hex(8): branch() for _ in range(_STORM)}
        at = time.monotonic()
        for call_id, mark in invites.items():
            data = _request("INVITE", here, call_id, mark, f"<sip:{persons_number(0)}@127.0.0.1>")
            sock.sendto(data, ("127.0.0.1", scene.place.sip_port))
            scene.placed.append(
                Placed(
                    planned=scene.planner.steady(Way.IN),
                    at=at,
                    causes=("no_resources",),
                    sip_call=call_id,
                )
            )
        refused: set[str] = set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AT_ONCE):
                while len(refused) < _STORM:
                    answer = parse((await _received(sock)).decode())
                    call_id, to = answer.first("call-id"), answer.first("to")
                    if answer.status == 503:
                        refused.add(call_id)
                        ack = _request("ACK", here, call_id, invites[call_id], to)
                        sock.sendto(ack, ("127.0.0.1", scene.place.sip_port))
    if len(refused) < _STORM:
        scene.falls_short(f"only {len(refused)} of {_STORM} telephones were refused at once")
    else:
        scene.note(f"{_STORM} telephones that call at the same time are refused")


async def _received(sock: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, 65536)


def _request(method: str, here: str, call_id: str, mark: str, to: str) -> bytes:
    """An INVITE of a caller without a name, or its ACK."""
    headers = [
        ("Via", f"SIP/2.0/UDP {here};branch={mark}"),
        ("Max-Forwards", "70"),
        ("From", f"<sip:100@{here}>;tag={call_id}"),
        ("To", to),
        ("Call-ID", call_id),
        ("CSeq", f"1 {method}"),
        ("Contact", f"<sip:100@{here}>"),
    ]
    return written(f"{method} sip:{persons_number(0)}@127.0.0.1 SIP/2.0", headers)
