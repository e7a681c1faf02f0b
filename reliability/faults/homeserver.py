# SPDX-License-Identifier: GPL-3.0-or-later
"""The homeserver is away, slow, or refuses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from reliability.faults.base import Fault
from reliability.plan import Way
from reliability.scene import Scene

_REFUSES: Final = 8.0
"""Seconds for which it refuses everything."""
_AFTER: Final = 2.0
"""Seconds after which it wants to be asked again."""
_SLOW: Final = 3.0
_PATIENCE: Final = 60.0


class Stopped(Fault):
    """It is stopped, and started again."""

    name = "homeserver-stopped"
    what = "the homeserver is stopped"
    recovers = 60.0
    talks = (Way.OUT,)

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """Whoever asks it is refused a connection."""
        (play,) = self.plays
        assert play.ends is not None
        await scene.place.server.stop()
        ringing = asyncio.create_task(
            scene.connects(Way.IN, within=_PATIENCE, when="that came in meanwhile")
        )
        try:
            await scene.left_by_phone(play)
            yield
        finally:
            await scene.place.server.start()
        told = play.ends.call.ended.is_set
        await scene.happens(told, "the person is told that the other hung up", within=45)
        await ringing

    async def meanwhile(self, scene: Scene) -> None:
        """Who asks for the bridge's health is told."""

        async def unready() -> bool:
            return not await scene.place.ready()

        await scene.happens_async(unready, "/health/ready says that it is not", within=20)


class _AtTheGate(Fault):
    async def meanwhile(self, scene: Scene) -> None:
        """Calls are set up, if slowly."""
        for way in Way:
            await scene.connects(way, within=_PATIENCE, when="meanwhile")


class Slow(_AtTheGate):
    """Its answers take long."""

    name = "homeserver-slow"
    what = f"each answer of the homeserver takes {_SLOW:.0f} s"

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """Answers are held back, although it acts at once."""
        with scene.place.gate.slow(_SLOW):
            yield


class _Refusing(_AtTheGate):
    status = 0

    @asynccontextmanager
    async def broken(self, scene: Scene) -> AsyncIterator[None]:
        """Everything is refused at first."""
        pardon = scene.place.gate.refuse(
            ".", times=1_000_000, status=self.status, retry_after=_AFTER
        )
        timer = asyncio.get_running_loop().call_later(_REFUSES, pardon)
        try:
            yield
        finally:
            timer.cancel()
            pardon()


class Limits(_Refusing):
    """Too many requests."""

    name = "homeserver-429"
    what = f"the homeserver answers 429 for {_REFUSES:.0f} s, Retry-After {_AFTER:.0f} s"
    status = 429


class Fails(_Refusing):
    """Something within it is broken."""

    name = "homeserver-5xx"
    what = f"the homeserver answers 500 for {_REFUSES:.0f} s"
    status = 500
