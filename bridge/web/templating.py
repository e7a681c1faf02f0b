# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's templates, and the words that they put values into."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jinja2

from bridge.records import CallRecord
from bridge.web import rungs, verdict

_FOLDER: Final = Path(__file__).parent / "templates"
NOTHING: Final = "\N{EN DASH}"
_OPTIONAL: Final = ("problem", "following", "stamp", "here")
_SIDES: Final = ("matrix", "sip")


class Templates:
    """Everything that is put into them is escaped."""

    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(_FILTERS)
        self._templates.globals.update(
            classes=verdict.OUTCOMES,
            sides=verdict.SIDES,
            problem="",
            following="",
            stamp="",
            here="",
        )

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """A template with values."""
        return str(self._templates.get_template(name).render(values))


def _moment(at: float) -> str:
    """A time of this machine."""
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _since(at: float, start: float) -> str:
    return rungs.since(start, at)


def _talk_time(record: CallRecord) -> str:
    lasted = verdict.talked(record)
    return NOTHING if lasted is None else verdict.duration(lasted)


def _by_side(statistics: Mapping[str, object]) -> Iterator[tuple[str, object, object]]:
    """Figures of both sides next to each other; of neither, in the first place."""
    seen: set[str] = set()
    for name in statistics:
        side, _, rest = name.partition("_")
        bare = rest if side in _SIDES else name
        if bare in seen:
            continue
        seen.add(bare)
        words = bare.replace("_", " ")
        if side in _SIDES:
            matrix, sip = (statistics.get(f"{each}_{bare}", NOTHING) for each in _SIDES)
            yield words, matrix, sip
        else:
            yield words, statistics[name], ""


def _without_tel(address: str) -> str:
    return address.removeprefix("tel:")


def _sentences(record: CallRecord) -> str:
    return " ".join(verdict.sentences(record))


_FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "advice": verdict.advice,
    "by_side": _by_side,
    "duration": verdict.duration,
    "ends": verdict.ends,
    "in_short": verdict.in_short,
    "iso": _iso,
    "moment": _moment,
    "outcome": verdict.outcome,
    "sentences": _sentences,
    "since": _since,
    "talk_time": _talk_time,
    "unheard": verdict.unheard,
    "without_tel": _without_tel,
}
