# SPDX-License-Identifier: GPL-3.0-or-later
"""Session descriptions of a call, side by side, and why audio goes as it goes."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.records import CallRecord, LadderEntry

_WHO: Final = {
    ("matrix", "in"): "client",
    ("matrix", "out"): "bridge",
    ("sip", "in"): "telephone",
    ("sip", "out"): "bridge",
}
_AUDIO: Final = re.compile(r"^m=audio \d+ \S+ ([\d ]+)", re.MULTILINE)
_RTPMAP: Final = re.compile(r"^a=rtpmap:(\d+) ([\w.-]+/\d+)", re.MULTILINE)
_STATIC: Final = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000"}
_NO_AUDIO: Final = ("telephone-event", "cn", "red")
_CONNECTED: Final = re.compile(r"media connected: ([^,\s]+), ([^,\s]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a description; `chosen`: it names the codec that is used."""

    text: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What somebody said about their audio, and with which message."""

    at: float
    leg: str
    who: str
    by: str
    codecs: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What was said on both legs, what was chosen, and why."""

    matrix: tuple[Description, ...]
    sip: tuple[Description, ...]
    mode: str
    """`relay`, `transcode`, or empty while nothing was agreed."""
    matrix_codec: str
    sip_codec: str
    why: str


def agreement_of(record: CallRecord, entries: Sequence[LadderEntry]) -> Agreement:
    """What the two legs of a call agreed on."""
    matrix_codec, sip_codec = _chosen(record, entries)
    found = [
        each
        for entry in entries
        if (each := _description(entry, (matrix_codec, sip_codec))) is not None
    ]
    mode = ""
    if matrix_codec and sip_codec:
        mode = "relay" if _name(matrix_codec) == _name(sip_codec) else "transcode"
    return Agreement(
        matrix=tuple(each for each in found if each.leg == "matrix"),
        sip=tuple(each for each in found if each.leg == "sip"),
        mode=mode,
        matrix_codec=matrix_codec,
        sip_codec=sip_codec,
        why=_why(found, matrix_codec, sip_codec),
    )


def _chosen(record: CallRecord, entries: Iterable[LadderEntry]) -> tuple[str, str]:
    """The codecs in use, or used last; empty ones if none are."""
    told = [match for entry in entries if (match := _CONNECTED.match(entry.summary))]
    first, second = told[-1].groups() if told else ("", "")
    figures = record.statistics
    return str(figures.get("matrix_codec", first)), str(figures.get("sip_codec", second))


def _description(entry: LadderEntry, chosen: tuple[str, str]) -> Description | None:
    who = _WHO.get((entry.leg, entry.direction))
    _, start, rest = ("\n" + entry.detail.replace("\r\n", "\n")).partition("\nv=0\n")
    if who is None or not start:
        return None
    text = "v=0\n" + rest
    codec = chosen[0] if entry.leg == "matrix" else chosen[1]
    return Description(
        at=entry.at,
        leg=entry.leg,
        who=who,
        by=entry.summary,
        codecs=_codecs(text),
        lines=tuple(
            Line(text=line, chosen=_names(line, codec)) for line in text.rstrip().split("\n")
        ),
    )


def _codecs(text: str) -> tuple[str, ...]:
    """The audio codecs of a description, in its order."""
    audio = _AUDIO.search(text)
    if audio is None:
        return ()
    names = {**_STATIC, **dict(_RTPMAP.findall(text))}
    codecs = (names.get(number, "") for number in audio[1].split())
    known = dict.fromkeys(each for each in codecs if each)
    return tuple(each for each in known if _name(each) not in _NO_AUDIO)


def _names(line: str, codec: str) -> bool:
    mapped = _RTPMAP.match(line)
    return bool(mapped and codec and codec.lower().startswith(mapped[2].lower()))


def _name(codec: str) -> str:
    return codec.partition("/")[0].lower()


def _why(found: Sequence[Description], matrix: str, sip: str) -> str:
    theirs = {
        who: next((each.codecs for each in reversed(found) if each.who == who), ())
        for who in ("client", "telephone")
    }
    client, telephone = theirs["client"], theirs["telephone"]
    known = {_name(each) for each in telephone}
    common = [_short(each) for each in client if _name(each) in known]
    if not matrix or not sip:
        return _missing(client, telephone, common)
    if _name(matrix) == _name(sip):
        return (
            f"Both sides use {_short(matrix)}, so packets are passed on as they come: nothing is "
            "re-encoded, and nothing is lost by the bridge."
        )
    use = f"The client uses {_short(matrix)} and the telephone {_short(sip)}, so the bridge"
    if client and telephone and not common:
        return (
            f"{use} re-encodes: they have no codec in common ({_list(client)}; {_list(telephone)})."
        )
    return f"{use} re-encodes: one had answered before the other's codec was known."


def _missing(client: Sequence[str], telephone: Sequence[str], common: Sequence[str]) -> str:
    if not client or not telephone:
        return "Nothing was agreed: not both sides have said what they can."
    if common:
        return f"Nothing was agreed on, although both know {', '.join(common)}."
    return (
        f"Nothing was agreed: the client knows {_list(client)}, the telephone {_list(telephone)}."
    )


def _short(codec: str) -> str:
    return codec.partition("/")[0]


def _list(codecs: Iterable[str]) -> str:
    return ", ".join(map(_short, codecs))
