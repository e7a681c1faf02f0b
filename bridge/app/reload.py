# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings read anew while calls go on: all that can be is applied, or, if it is wrong, nothing."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from bridge.app.in_force import InForce
from bridge.call.ids import TrunkName
from bridge.config import Config, Trunk, differences, merged
from bridge.config.problems import dotted
from bridge.errors import BridgeError
from bridge.sip.certificates import Renewed
from bridge.web.reloading import Reloaded

log = structlog.get_logger(__name__)

_SHOWN: Final = 20
"""Keys that a message names at most."""


class Lines(Protocol):
    """The SIP endpoint, as far as the trunks of the settings come, change and go there."""

    async def add_trunk(self, name: TrunkName, settings: Trunk, *, mailbox: bool = False) -> None:
        """Use one more trunk. Raises BridgeError."""

    async def change_trunk(
        self, name: TrunkName, settings: Trunk, *, mailbox: bool = False
    ) -> None:
        """Have a trunk's settings be others. Raises BridgeError; then nothing has changed."""

    def retire_trunk(self, name: TrunkName) -> None:
        """Use the trunk no more; its calls go on."""

    def renew_certificates(self) -> Renewed:
        """Have listeners show the certificates that are in their files by now."""


class Reload:
    """`read`: reads and checks the settings; raises BridgeError. `tell`: tells the admins."""

    def __init__(
        self,
        in_force: InForce,
        lines: Lines,
        *,
        read: Callable[[], Config],
        tell: Callable[[str], None],
    ) -> None:
        self._in_force = in_force
        self._lines = lines
        self._read = read
        self._tell = tell
        self._lock = asyncio.Lock()
        self.counts = {"applied": 0, "refused": 0}
        """How often settings were read anew, by what came of it."""

    async def run(self) -> Reloaded:
        """Read the settings, and have those count that can; never raises."""
        async with self._lock:
            try:
                done = await self._take(self._read())
            except BridgeError as error:
                done = Reloaded(problems=tuple(str(error).splitlines()))
            except Exception as error:
                log.exception("settings could not be applied")
                done = Reloaded(problems=(f"the bridge failed to apply them: {error!r}",))
        self._report(done)
        return done

    async def _take(self, wanted: Config) -> Reloaded:
        before = self._in_force.written
        written = merged(before, wanted)
        later = differences(written, wanted)
        try:
            config = self._in_force.preview(written)
            await self._apply(config, lambda: self._in_force.replace(written))
        except BridgeError as error:
            return Reloaded(
                problems=(*str(error).splitlines(), *_why_not(later)),
                restart=tuple(map(dotted, later)),
            )
        renewed = self._lines.renew_certificates()
        return Reloaded(
            applied=(
                *map(dotted, differences(before, written)),
                *(f"sip.transports[{number}].certificate" for number in renewed.listeners),
            ),
            restart=tuple(map(dotted, later)),
            warnings=renewed.problems,
        )

    async def _apply(self, config: Config, replace: Callable[[], None]) -> None:
        """Trunks that are new or other first, which may fail; then all the rest, at once."""
        before, after = self._in_force.config.trunks, config.trunks
        done: list[str] = []
        try:
            for name, trunk in after.items():
                if before.get(name) != trunk:
                    await self._put(name, before, trunk)
                    done.append(name)
            replace()
        except BaseException:
            await self._undo(done, before)
            raise
        for name in before:
            if name not in after:
                self._lines.retire_trunk(TrunkName(name))

    async def _put(self, name: str, before: Mapping[str, Trunk], trunk: Trunk) -> None:
        put = self._lines.change_trunk if name in before else self._lines.add_trunk
        await put(TrunkName(name), trunk, mailbox=bool(trunk.mailbox_people))

    async def _undo(self, done: Sequence[str], before: Mapping[str, Trunk]) -> None:
        for name in done:
            if name not in before:
                self._lines.retire_trunk(TrunkName(name))
                continue
            try:
                await self._put(name, before, before[name])
            except BridgeError as error:
                log.error("a trunk has no settings of before", trunk=name, error=str(error))

    def _report(self, done: Reloaded) -> None:
        self.counts["refused" if done.problems else "applied"] += 1
        if done.problems:
            log.warning("settings not applied", problems=done.problems)
            self._tell(_refused(done))
            return
        log.info("settings applied", live=done.applied, restart=done.restart)
        if done.applied or done.restart or done.warnings:
            self._tell(_applied(done))


def _why_not(later: Sequence[object]) -> Sequence[str]:
    """What to think of, where only what needs no restart was put together with the rest."""
    if not later:
        return ()
    return ("(together with what is in force until the bridge is started again)",)


def _refused(done: Reloaded) -> str:
    lines = "\n".join(f"- {problem}" for problem in done.problems[:_SHOWN])
    return f"The settings were read anew, and nothing was changed:\n\n{lines}"


def _applied(done: Reloaded) -> str:
    said = ["The settings were read anew."]
    if done.applied:
        said.append(f"In force now: {_named(done.applied)}.")
    if done.restart:
        said.append(f"In force when the bridge is started again: {_named(done.restart)}.")
    said += [f"Not so: {warning}." for warning in done.warnings]
    return " ".join(said)


def _named(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(f"`{key}`" for key in keys[:_SHOWN]) + more
