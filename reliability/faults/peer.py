# SPDX-License-Identifier: GPL-3.0-or-later
"""The SIP peer says nothing, or nonsense."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from reliability.dialog import branch, written
from reliability.faults.base import Fault
from reliability.place import PBX, TRUNK, Place, persons_number
from reliability.plan import Way
from reliability.scene import Scene

_UNREACHABLE: Final = "The telephone network cannot be reached at the moment."
_STARTS: Final = (
    "SIP/2.0 200",
    "SIP/2.0 999 What",
    "INVITE sip: SIP/2.0",
    "INVITE",
    "BYE sip:x SIP/3.0",
)
_NOISE: Final = 50
"""Packets a second that nobody asked for."""


class Silent(Fault):
    """All that it says is lost, and all that is said to it."""

    name = "peer-silent"
    what = "the SIP peer does not answer"
    talks = (Way.IN,)

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """Only audio still goes. Of who hangs up meanwhile, a telephone hears for half a minute."""
        (play,) = self.plays
        assert play.ends is not None
        assert play.ends.phone.dialog is not None
        scene.place.exchange.silent = True
        try:
            await scene.left_by_person(play)
            yield
        finally:
            scene.place.exchange.silent = False
        if not play.ends.phone.dialog.ended.is_set():
            status = await play.ends.phone.dialog.hang_up()
            if status in (200, 481):
                scene.note(f"the telephone that hangs up when it is heard again is told {status}")
            else:
                scene.falls_short(f"BYE in a call that was over is answered {status}")

    async def meanwhile(self, scene: Scene) -> None:
        """Who calls is told soon; the admins, when it lasts."""
        await scene.refused_out(("trunk_down",), within=20, told=_UNREACHABLE)

        async def down() -> bool:
            return not (await scene.place.metrics())[f'matrix_sip_trunk_up{{trunk="{TRUNK}"}}']

        await scene.happens_async(down, "the metrics say that the trunk is down", within=45)
        await scene.chief_reads("does not answer", within=60)


class Garbles(Fault):
    """Its answers are no SIP, and there is more of it."""

    name = "peer-garbage"
    what = "the SIP peer answers with garbage, and sends more of it unasked"

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """Nothing that it says can be understood."""
        exchange = scene.place.exchange
        exchange.garbled = Garbage(scene.planner.chance, scene.place.sip_port)
        noise = asyncio.create_task(_make_noise(scene.place))
        try:
            yield
        finally:
            noise.cancel()
            await asyncio.gather(noise, return_exceptions=True)
            exchange.garbled = None

    async def meanwhile(self, scene: Scene) -> None:
        """A person who calls is told."""
        await scene.refused_out(("trunk_down", "congestion", "error", "refused"), within=30)


async def _make_noise(place: Place) -> None:
    while True:
        place.exchange.send(b"")
        await asyncio.sleep(1 / _NOISE)


class Garbage:
    """Makes bytes, and messages that have something wrong with them."""

    def __init__(self, chance: random.Random, port: int) -> None:
        self._chance = chance
        self._port = port

    def __call__(self) -> bytes:
        """The next one."""
        chance = self._chance
        if chance.random() < 0.3:
            return chance.randbytes(chance.randrange(1, 900))
        headers = self._headers()
        kept = headers[: chance.randrange(len(headers) + 1)]
        body = chance.choice(["", "v=0", "\xff" * 50])
        data = bytearray(written(chance.choice(_STARTS), kept, body))
        for _ in range(chance.randrange(6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data)

    def _headers(self) -> list[tuple[str, str]]:
        chance = self._chance
        headers = [
            ("Via", f"SIP/2.0/UDP {PBX}:5060;branch={branch()}"),
            ("From", "<sip:+12025550199@pbx>;tag=1"),
            ("To", f"<sip:{persons_number(0)}@127.0.0.1:{self._port}>;tag=2"),
            ("Call-ID", secrets.token_hex(8)),
            ("CSeq", f"{chance.choice(['1', '-1', '99999999999999', ''])} INVITE"),
            ("Contact", chance.choice(["<sip:", "*", "<sip:a@b:99999>", "\x00"])),
            ("Max-Forwards", chance.choice(["70", "x", "-5"])),
        ]
        chance.shuffle(headers)
        return headers
