# SPDX-License-Identifier: GPL-3.0-or-later
"""A call's ladder as a sequence: who said what to whom, and how long after the start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

from bridge.records import CallRecord, LadderEntry

CLIENT, BRIDGE, TELEPHONE = "Matrix client", "bridge", "SIP peer"
_WAYS: Final = {
    ("matrix", "in"): (CLIENT, BRIDGE),
    ("matrix", "out"): (BRIDGE, CLIENT),
    ("sip", "in"): (TELEPHONE, BRIDGE),
    ("sip", "out"): (BRIDGE, TELEPHONE),
}
_LEGS: Final = {
    "matrix": "towards Matrix",
    "sip": "towards SIP",
    "media": "audio",
    "bridge": "bridge",
}
_COLUMNS: Final = {CLIENT: 150, BRIDGE: 460, TELEPHONE: 770}
_WIDTH: Final = 860
_ROW: Final = 30
_TOP: Final = 70
_CHALLENGES: Final = ("401", "407")
"""Ask for the password: nothing has failed."""
_LONGEST: Final = 44
"""Letters of a summary that there is room for beside an arrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A line of the ladder. `source` and `target` are empty for what happened inside."""

    number: int
    after: str
    """Since the start of the call."""
    leg: str
    source: str
    target: str
    summary: str
    detail: str
    kind: str
    """`provisional`, `good`, `bad` or `plain`, by what a SIP status says."""

    @property
    def way(self) -> str:
        """Who to whom, or where it happened, in words."""
        return f"{self.source} to {self.target}" if self.source else _LEGS.get(self.leg, self.leg)

    @property
    def words(self) -> tuple[str, str]:
        """The summary, and what of it may be left out where there is little room."""
        method, _, target = self.summary.partition(" ")
        if target.startswith(("sip:", "sips:", "tel:")):
            return method, f" {target}"
        return self.summary, ""

    @property
    def shape(self) -> str:
        """Names what is drawn: the leg, and in which direction."""
        if not self.source:
            return f"{self.leg}-note"
        return f"{self.leg}-{'out' if self.source == BRIDGE else 'in'}"


def rungs_of(record: CallRecord, entries: Sequence[LadderEntry]) -> list[Rung]:
    """Every line, in order."""
    return [
        Rung(
            number=number,
            after=since(record.started_at, entry.at),
            leg=entry.leg,
            source=_WAYS.get((entry.leg, entry.direction), ("", ""))[0],
            target=_WAYS.get((entry.leg, entry.direction), ("", ""))[1],
            summary=entry.summary,
            detail=entry.detail.replace("\r\n", "\n").strip(),
            kind=_kind(entry),
        )
        for number, entry in enumerate(entries, 1)
    ]


def since(start: float, at: float) -> str:
    """Seconds after the start, for people."""
    passed = at - start
    return f"{passed:+.3f} s" if abs(passed) < 100 else f"{passed:+.1f} s"


def _kind(entry: LadderEntry) -> str:
    status = entry.summary[:3] if entry.leg == "sip" and entry.direction else ""
    if not status.isdigit():
        return "plain"
    if status in _CHALLENGES:
        return "provisional"
    return {"1": "provisional", "2": "good"}.get(status[0], "bad")


# --- to take along ---------------------------------------------------------------------------


def text_of(record: CallRecord, entries: Sequence[LadderEntry]) -> str:
    """Whole messages with their times and ways, as tools that record packets print them."""
    blocks = []
    for number, (rung, entry) in enumerate(zip(rungs_of(record, entries), entries, strict=True), 1):
        at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="microseconds")
        head = f"{number:4}  {at.replace('+00:00', 'Z')}  {rung.after:>12}"
        way = f"{rung.source} -> {rung.target}" if rung.source else f"({rung.way})"
        body = f"\n{_indented(rung.detail)}" if rung.detail else ""
        blocks.append(f"{head}  {way}  {rung.summary}{body}")
    return "\n\n".join([f"# call {record.call}", *blocks]) + "\n"


def _indented(text: str) -> str:
    return "\n".join(f"      {line}".rstrip() for line in text.split("\n"))


def svg_of(record: CallRecord, entries: Sequence[LadderEntry], title: str) -> str:
    """The ladder as a drawing that stands alone, for tickets and mails."""
    rungs = rungs_of(record, entries)
    height = _TOP + _ROW * len(rungs) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="title" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<title id="title">{_xml(title)}</title>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-weight="600" font-size="13">{_xml(title)}</text>',
        *_lines(height),
    ]
    for number, rung in enumerate(rungs):
        parts += _drawn(rung, _TOP + _ROW * number + 24)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _lines(height: int) -> Iterator[str]:
    for name, x in _COLUMNS.items():
        yield (
            f'<text x="{x}" y="50" text-anchor="middle" font-weight="600">{name}</text>'
            f'<path d="M{x} 58V{height - 16}" stroke="#8a93a3" stroke-dasharray="2 3"/>'
        )


def _drawn(rung: Rung, y: int) -> Iterator[str]:
    yield f'<text x="8" y="{y}" fill="#5b6472" font-size="11">{_xml(rung.after)}</text>'
    summary = _xml(_cut(rung.summary))
    if not rung.source:
        x = _COLUMNS.get({"matrix": CLIENT, "sip": TELEPHONE}.get(rung.leg, BRIDGE), 0)
        yield (
            f'<text x="{x}" y="{y}" text-anchor="middle" font-style="italic" fill="#5b6472" '
            f'stroke="#ffffff" stroke-width="4" paint-order="stroke">{summary}</text>'
        )
        return
    start, end = _COLUMNS[rung.source], _COLUMNS[rung.target]
    back = -8 if end > start else 8
    colour = {"good": "#176b37", "bad": "#a3262a"}.get(rung.kind, "#1d4f91")
    yield (
        f'<text x="{(start + end) // 2}" y="{y - 5}" text-anchor="middle">{summary}</text>'
        f'<path d="M{start} {y}H{end}m{back} -4L{end} {y}l{back} 4" fill="none" '
        f'stroke="{colour}" stroke-width="1.5"/>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _xml(text: str) -> str:
    # What XML cannot hold at all is shown as what it is: not text.
    held = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return escape(held, {'"': "&quot;"})
