# SPDX-License-Identifier: GPL-3.0-or-later
"""What the admin page can ask and do, over the running bridge."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Final, Protocol

from bridge import logs
from bridge.call.causes import Cause
from bridge.call.ids import CallId, UserId
from bridge.call.outcomes import Outcome, outcome_of
from bridge.call.view import CallView
from bridge.records import (
    CallQuery,
    CallRecord,
    LadderEntry,
    LineView,
    LogLine,
    Overview,
    QualitySample,
)

_DAY: Final = 86400.0
_FAILURES: Final = (Outcome.TRUNK, Outcome.HOMESERVER, Outcome.MEDIA, Outcome.BRIDGE)
_SHOWN: Final = 8
_TROUBLES: Final = 20
_PARTS: Final = {
    "homeserver": ("homeserver", "answers", "does not answer"),
    "database": ("database", "answers", "does not answer"),
    "sip": ("SIP", "works", "does not work"),
    "encryption": ("encrypted rooms", "calls there, too", "no calls there"),
}
BY_PAGE: Final = UserId("@admin:page")
"""As whom the log names who ends a call by the page."""


class Archive(Protocol):
    """What is asked of the records of calls."""

    async def search(self, query: CallQuery) -> Sequence[CallRecord]:
        """Calls, newest first."""

    async def call(self, call: CallId) -> CallRecord | None:
        """One call."""

    async def ladder(self, call: CallId) -> Sequence[LadderEntry]:
        """What both sides of a call said, in order."""

    async def quality(self, call: CallId) -> Sequence[QualitySample]:
        """How well a call was heard."""

    async def causes(self, since: float) -> Mapping[str, int]:
        """How many calls since then ended for which cause."""


class Counter(Protocol):
    """What is asked of the desk."""

    def trunks(self) -> Sequence[LineView]:
        """Every trunk of the configuration."""

    def active(self) -> Sequence[tuple[CallView, float]]:
        """Every call that is not over, oldest first."""

    def hang_up(self, call: str, by: UserId) -> CallView:
        """End a call. Raises `NotDone`."""


class Changes:
    """Tells whoever looks that something was written down; costs nothing while nobody does."""

    def __init__(self) -> None:
        self._watching: set[asyncio.Event] = set()

    def note(self) -> None:
        """Something was."""
        for event in self._watching:
            event.set()

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever something was."""
        event = asyncio.Event()
        self._watching.add(event)
        try:
            yield event
        finally:
            self._watching.discard(event)


@dataclass(kw_only=True)
class ServiceOffice:
    """An `Office`. `health` says whether calls can be made, and by part; `load` what is busy."""

    archive: Archive
    desk: Counter
    changes: Changes
    health: Callable[[], Awaitable[tuple[bool, Mapping[str, object]]]]
    load: Callable[[], Sequence[tuple[str, str]]]
    wall: Callable[[], float] = time.time
    since: float = field(default_factory=time.time)

    async def overview(self) -> Overview:
        """How the bridge is doing."""
        ready, details = await self.health()
        query = CallQuery(outcomes=_FAILURES, limit=_SHOWN)
        return Overview(
            version=version("matrix-sip"),
            since=self.since,
            ready=ready,
            closes_in=_seconds(details.get("closes_in")),
            parts=list(_parts(details)),
            trunks=self.desk.trunks(),
            active=self.desk.active(),
            outcomes=_outcomes(await self.archive.causes(self.wall() - _DAY)),
            failures=await self.archive.search(query),
            troubles=[LogLine(**asdict(each)) for each in logs.troubles()[:_TROUBLES]],
            load=self.load(),
        )

    async def search(self, query: CallQuery) -> Sequence[CallRecord]:
        """Calls, newest first."""
        return await self.archive.search(query)

    async def call(self, call: CallId) -> CallRecord | None:
        """One call."""
        return await self.archive.call(call)

    async def ladder(self, call: CallId) -> Sequence[LadderEntry]:
        """What both sides of a call said, in order."""
        return await self.archive.ladder(call)

    async def quality(self, call: CallId) -> Sequence[QualitySample]:
        """How well a call was heard."""
        return await self.archive.quality(call)

    def hang_up(self, call: CallId) -> None:
        """End a call. Raises `NotDone`."""
        self.desk.hang_up(call, BY_PAGE)

    def watch(self) -> AbstractContextManager[asyncio.Event]:
        """An event that is set whenever something was written down."""
        return self.changes.watch()


def _parts(details: Mapping[str, object]) -> Iterator[LineView]:
    for key, (name, good, bad) in _PARTS.items():
        works = bool(details.get(key))
        yield LineView(name=name, works=works, state=good if works else bad)


def _seconds(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _outcomes(causes: Mapping[str, int]) -> dict[Outcome, int]:
    counts: dict[Outcome, int] = {}
    for cause, count in causes.items():
        outcome = outcome_of(Cause(cause))
        counts[outcome] = counts.get(outcome, 0) + count
    return counts
