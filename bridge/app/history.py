# SPDX-License-Identifier: GPL-3.0-or-later
"""Past calls as an admin reads them: a table of the latest, and the ladder of one."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from bridge.call.causes import MEANINGS, Cause
from bridge.call.ids import CallId, Direction
from bridge.config import Config
from bridge.errors import LocalError
from bridge.records import CallQuery, CallRecord, LadderEntry, QualitySample
from bridge.store.calls import Calls
from bridge.store.database import open_database
from bridge.store.writer import Writer
from bridge.web.verdict import message

LAST = "last"
_ARROWS = {"in": "→", "out": "←", "": " "}
"""Seen from the leg: into the bridge, or out of it."""
_COLOURS = {"matrix": "cyan", "sip": "magenta", "media": "yellow", "bridge": "dim"}
_POOR = 3.6
"""The opinion score below which many are dissatisfied (ITU-T G.107 annex B)."""
_WELL = frozenset(
    cause.value
    for cause in (
        Cause.NORMAL,
        Cause.CANCELLED,
        Cause.ANSWERED_ELSEWHERE,
        Cause.REPLACED,
        Cause.FORWARDED,
    )
)


async def find(config: Config, query: CallQuery) -> Sequence[CallRecord]:
    """Calls, newest first."""
    async with open_database(config.database.url.get_secret_value()) as database:
        return await Calls(database, Writer(database)).search(query)


async def one(
    config: Config, call: str, *, full: bool = False
) -> tuple[CallRecord, Sequence[LadderEntry]]:
    """A call, or the `last` one, and its ladder. Raises `LocalError` if there is none.

    With how well it was heard: where that was badly, or `full`.
    """
    async with open_database(config.database.url.get_secret_value()) as database:
        calls = Calls(database, Writer(database))
        newest = await calls.recent(1) if call == LAST else ()
        record = newest[0] if newest else await calls.call(CallId(call))
        if record is None:
            raise LocalError(
                "There has been no call yet." if call == LAST else f"There is no call {call}.",
                remedy="`matrix-sip calls` lists the latest; a call's id is in its log lines, too.",
            )
        heard = [
            _heard(sample)
            for sample in await calls.quality(record.call)
            if full or (sample.flow.mos or _POOR) < _POOR
        ]
        entries = [*await calls.ladder(record.call), *heard]
        return record, sorted(entries, key=lambda entry: entry.at)


def table(records: Sequence[CallRecord]) -> Table:
    """One line a call."""
    result = Table(box=None, pad_edge=False)
    for heading in ("when", "call", "from", "to", "trunk", "talked", "ended"):
        result.add_column(heading, no_wrap=heading != "ended")
    for record in records:
        caller, callee = _ends(record)
        result.add_row(
            f"{datetime.fromtimestamp(record.started_at):%Y-%m-%d %H:%M:%S}",
            record.call,
            caller,
            callee,
            record.trunk,
            _talked(record),
            outcome(record),
        )
    return result


def outcome(record: CallRecord) -> Text:
    """How a call ended: the cause, the SIP status if it says more, and who ended it."""
    if record.ended_at is None:
        return Text("not ended", style="green")
    cause = record.cause or ""
    words = cause.replace("_", " ")
    if cause in _WELL:
        return Text(f"{words}, by {record.ended_by}")
    if cause == Cause.VOICEMAIL.value:
        return Text(", ".join(filter(None, (words, message(record), f"by {record.ended_by}"))))
    status = f" ({record.status})" if record.status else ""
    times = f", {record.times} times" if record.times > 1 else ""
    return Text(f"{words}{status}{times}, by {record.ended_by}", style="red")


def ladder(record: CallRecord, entries: Sequence[LadderEntry], *, full: bool) -> Iterator[Text]:
    """The call's head, its lines with milliseconds since its start, and how it ended."""
    caller, callee = _ends(record)
    yield Text(f"{record.call}: {caller} calls {callee} by {record.trunk}", style="bold")
    yield Text(f"{datetime.fromtimestamp(record.started_at):%Y-%m-%d %H:%M:%S}")
    for each in record.attempts:
        words = f"{each.cause.replace('_', ' ')} ({each.status})"
        how = " with video" if each.video else ""
        yield Text(f"not by {each.trunk}{how}: {words}", style="yellow")
    for entry in entries:
        yield _line(entry, since=record.started_at)
        if full and entry.detail:
            yield Text(_indented(entry.detail), style="dim")
    yield Text.assemble("ended: ", outcome(record), f"; talked: {_talked(record) or 'not at all'}")
    if sentence := _sentence(record):
        yield Text(f"in words: {sentence}")
    for name, value in sorted(record.statistics.items()):
        yield Text(f"  {name} {value}", style="dim")


def _heard(sample: QualitySample) -> LadderEntry:
    """How well one direction was heard, as a line."""
    flow = sample.flow
    summary = f"from {sample.side.value}: {flow.packets} packets"
    if flow.mos is not None:
        back = "" if flow.round_trip_ms is None else f", round trip {flow.round_trip_ms:.0f} ms"
        summary += (
            f", {flow.lost} lost, {flow.lost_beyond} beyond, jitter {flow.jitter_ms:.0f} ms{back}"
            f": mos {flow.mos:.1f}"
        )
    return LadderEntry(at=sample.at, leg="media", direction="", summary=summary)


def _line(entry: LadderEntry, *, since: float) -> Text:
    passed = (entry.at - since) * 1000
    return Text.assemble(
        (f"{passed:9,.0f} ms  ", "dim"),
        (f"{entry.leg:6} {_ARROWS[entry.direction]} ", _COLOURS[entry.leg]),
        entry.summary,
    )


def _indented(detail: str) -> str:
    return "\n".join(f"{'':23}{line.rstrip()}" for line in detail.splitlines())


def _ends(record: CallRecord) -> tuple[str, str]:
    """Caller and callee."""
    ends = (str(record.person), record.address.removeprefix("tel:") or "several addresses")
    return ends if record.direction is Direction.TO_SIP else (ends[1], ends[0])


def _talked(record: CallRecord) -> str:
    """Minutes and seconds between answer and end; empty if it was not answered or is not over."""
    if record.answered_at is None or record.ended_at is None:
        return ""
    seconds = round(record.ended_at - record.answered_at)
    return f"{seconds // 60}:{seconds % 60:02}"


def _sentence(record: CallRecord) -> str:
    try:
        return MEANINGS[Cause(record.cause)].sentence
    except ValueError:
        return ""
