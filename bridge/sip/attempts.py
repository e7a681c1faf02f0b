# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that were refused before they came to the core: each told, or of many the sum.

What is told goes onto the disk, and anybody can send INVITEs. So a source has so many records of
its own, and a flood is summed up: over ten seconds at first, then over longer and longer times.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

import structlog

from bridge.call.causes import Cause
from bridge.call.ids import ANONYMOUS, Address, TrunkName
from bridge.records import RefusedCalls
from bridge.sip.buckets import Buckets
from bridge.sip.dialled import dialled_in
from bridge.sip.identity import Normalise
from bridge.sip.messages import Message, caller_of, parse, parse_uri
from bridge.sip.repeats import Repeats
from bridge.sip.tap import Tapped
from bridge.sip.trunks import Peers, address_in, network_of

log = structlog.get_logger(__name__)

GATHER: Final = 1.0
"""Seconds for which what was refused waits for company: each telling costs a transaction."""
FIRST: Final = 10.0
LONGEST: Final = 300.0
"""Seconds that are summed up, at first and at most."""
SUMS: Final = 32
"""Sums at a time; what comes from more sources is summed up as that of several."""
_LONGEST: Final = 128
"""Characters of what a stranger may have written."""
_TRUNK: Final = (0.2, 200.0)
_STRANGER: Final = (1 / 60, 20.0)
_STRANGERS: Final = (0.1, 100.0)
"""Records of their own a second, and at once: of a trunk, of a stranger, of all strangers."""

Later = Callable[[float, Callable[[], None]], None]
Told = Callable[[Sequence[RefusedCalls]], None]
Parties = Callable[[Message, TrunkName | None], tuple[Address, str]]
"""Who calls, and what they dialled."""
_FULL: Final = (486, 500, 503)
_FINAL: Final = re.compile(r"SIP/2\.0 ([3-6]\d\d) ")
_OF_INVITE: Final = re.compile(r"^CSeq[ \t]*:\s*\d+\s+INVITE\b", re.IGNORECASE | re.MULTILINE)
_TO_TAG: Final = re.compile(
    r"^(?:To|t)[ \t]*:[^\r\n]*;[ \t]*tag[ \t]*=", re.IGNORECASE | re.MULTILINE
)


class _Key(NamedTuple):
    """What is summed up together. `source` and `trunk` are empty for several."""

    source: str
    trunk: str
    cause: Cause
    status: int


@dataclass(slots=True)
class _Sum:
    """Many that are alike: the first, how many, and when the last one came."""

    first: RefusedCalls
    times: int
    until: float

    def told(self) -> RefusedCalls:
        call_id = self.first.sip_call_id if self.times == 1 else ""
        return replace(self.first, times=self.times, until=self.until, sip_call_id=call_id)


class Attempts:
    """For the SIP thread.

    `told` takes what there is to keep, `counted` each call; `wall` gives seconds since the epoch.
    """

    def __init__(
        self,
        told: Told,
        counted: Callable[[Cause], None],
        parties: Parties,
        call_later: Later,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._told = told
        self._counted = counted
        self._parties = parties
        self._call_later = call_later
        self._wall = wall
        self._buckets = Buckets(clock)
        self._repeats: Repeats[bool] = Repeats(clock)
        self._waiting: list[RefusedCalls] = []
        self._sums: dict[_Key, _Sum] = {}
        self._window = FIRST
        self._summing = False

    def refused(
        self, text: str, source: str, cause: Cause, status: int, trunk: TrunkName | None = None
    ) -> None:
        """An INVITE from `source` (an address) was answered with `status`; 0: not at all.

        One that comes again is none.
        """
        if self._repeats.before(source, text):
            return
        self._repeats.remember(True, source, text)
        self._counted(cause)
        if self._has_room(source, trunk):
            self._wait(self._record(text, source, cause, status, trunk))
            return
        key = _Key(_shown(source), trunk or "", cause, status)
        if key not in self._sums and len(self._sums) >= SUMS:
            key = key._replace(source="", trunk="")
        known = self._sums.get(key)
        if known is None:
            first = self._record(text, source, cause, status, trunk)
            first = replace(first, source=key.source, trunk=TrunkName(key.trunk))
            self._sums[key] = _Sum(first, 1, first.until)
        else:
            known.times += 1
            known.until = max(known.first.since, self._wall())  # However the clock was set.
        if not self._summing:
            self._summing = True
            self._call_later(self._window, self._sum_up)

    def flush(self) -> None:
        """Tell of all that waits, before the thread ends."""
        self._waiting += [each.told() for each in self._sums.values()]
        self._sums.clear()
        self._tell()

    def _has_room(self, source: str, trunk: TrunkName | None) -> bool:
        if trunk is not None:
            return self._buckets.take(("trunk", trunk), *_TRUNK)
        alone = self._buckets.take(network_of(source), *_STRANGER)
        return alone and self._buckets.take("strangers", *_STRANGERS)

    def _wait(self, record: RefusedCalls) -> None:
        if not self._waiting:
            self._call_later(GATHER, self._tell)
        self._waiting.append(record)

    def _tell(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._told(waiting)

    def _sum_up(self) -> None:
        if not self._sums:
            self._summing = False
            self._window = FIRST
            return
        self.flush()
        self._window = min(2 * self._window, LONGEST)
        self._call_later(self._window, self._sum_up)

    def _record(
        self, text: str, source: str, cause: Cause, status: int, trunk: TrunkName | None
    ) -> RefusedCalls:
        caller, dialled, call_id = self._read(text, trunk)
        now = self._wall()
        return RefusedCalls(
            since=now,
            until=now,
            source=source,
            trunk=trunk or TrunkName(""),
            caller=caller,
            dialled=dialled,
            cause=cause,
            status=status,
            sip_call_id=call_id,
        )

    def _read(self, text: str, trunk: TrunkName | None) -> tuple[Address, str, str]:
        try:
            invite = parse(text)
            caller, dialled = self._parties(invite, trunk)
        except Exception:
            log.debug("an INVITE that was refused cannot be read", exc_info=True)
            return ANONYMOUS, "", ""
        call_id = invite.first("call-id")
        return Address(caller[:_LONGEST]), dialled[:_LONGEST], call_id[:_LONGEST]


def parties_by(peers: Peers, normalise: Normalise) -> Parties:
    """Who calls whom: of a stranger as they say, of a trunk as its settings say."""

    def read(invite: Message, trunk: TrunkName | None) -> tuple[Address, str]:
        route = peers.route(trunk) if trunk is not None else None
        asserted = route is not None and route.trunk.trust_identity
        caller = caller_of(invite, asserted=asserted)
        uri = dialled_in(route, invite) if route else parse_uri(invite.request_uri)
        return normalise(caller.user, caller.host), uri.user

    return read


def refused_in(messages: Sequence[Tapped]) -> Iterator[tuple[Tapped, int]]:
    """INVITEs among the messages of a turn that the stack refused, and with which status."""
    for sent in messages:
        final = _FINAL.match(sent.text) if sent.sent else None
        if final is None or _OF_INVITE.search(sent.text) is None:
            continue
        for each in messages:
            if not each.sent and each.call_id == sent.call_id and _begins_call(each.text):
                yield each, int(final[1])
                break


def cause_of(status: int) -> Cause:
    """Why the stack itself refused an INVITE with `status`."""
    return Cause.NO_RESOURCES if status in _FULL else Cause.BAD_REQUEST


def _begins_call(text: str) -> bool:
    return text.startswith("INVITE ") and _TO_TAG.search(text) is None


@lru_cache(maxsize=256)
def _shown(source: str) -> str:
    """What one stranger can send from."""
    network, address = network_of(source), address_in(source)
    return f"{network}/64" if address is not None and address.version == 6 else network
