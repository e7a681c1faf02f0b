# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference page of causes, as Markdown, written from `causes.py` and `cause_mapping.py`."""

from collections.abc import Iterable, Mapping

from bridge.call.cause_mapping import from_fault, from_hangup, from_reject, from_sip
from bridge.call.causes import MEANINGS, Cause
from bridge.call.events import MediaFault

_HEAD = """\
# Causes

Written by `scripts/write_reference.py` from `causes.py` and `cause_mapping.py` in `bridge/call`.

Each call ends for one of these causes. It is kept in the call's record; `matrix-sip calls` and
`matrix-sip ladder` show it with spaces for underscores.

- *SIP*: the status with which the bridge refuses an INVITE that came in.
- *Q.850*: the cause in the Reason header (RFC 3326) of the bridge's BYE.
- *Matrix*: the reason in `m.call.hangup` or `m.call.reject`.
- *the person is told*: what is written into the portal when a call of theirs fails or is ended.
  What their client reported, it shows itself, and is not told.
- *missed*: of a call to the person that they did not answer, "You missed a call at 14:32 CET" is
  told, and this, or for how long it rang. What they declined themselves is not told; one that was
  answered by somebody else is told as such.

`notices.level` says how much of that is told (`none`, `errors`, `all`); with `all`, every call that
was answered ends with "Call ended after 3 min 12 s." `notices.timezone` says whose time it is.
"""
_CAUSES = ("cause", "SIP", "Q.850", "Matrix", "the person is told", "missed")
_FROM_SIP = """\
## What SIP says

A Q.850 cause in a Reason header counts more than the status that it comes with, except 401 and
407. A 408 or 503 that no peer has sent (nobody answered, no connection) is `{down}`.
"""
_FROM_MATRIX = """\
## What the person's client says

The reasons of `m.call.hangup`; every other reason is `{other}`. An `m.call.reject` with reason
`user_busy` is `{busy}`, any other `{declined}`.
"""
_FROM_MEDIA = """\
## What the media session says
"""


def cause_reference() -> str:
    """The page."""
    down, other = from_sip(503, remote=False).value, from_hangup("").value
    busy, declined = from_reject("user_busy").value, from_reject("").value
    reasons = sorted({meaning.reason for meaning in MEANINGS.values()})
    hangups = {reason: from_hangup(reason) for reason in reasons}
    parts = [
        _HEAD,
        _table(_CAUSES, map(_meaning, Cause)),
        _FROM_SIP.format(down=down),
        _table(("status", "cause"), _statuses()),
        _table(("Q.850", "cause"), _q850()),
        _FROM_MATRIX.format(other=other, busy=busy, declined=declined),
        _table(("reason", "cause"), _named({k: v for k, v in hangups.items() if v.value != other})),
        _FROM_MEDIA,
        _table(("fault", "cause"), _named({each.value: from_fault(each) for each in MediaFault})),
    ]
    return "\n".join(parts)


def _meaning(cause: Cause) -> tuple[str, ...]:
    meaning = MEANINGS[cause]
    numbers = str(meaning.status), str(meaning.q850)
    return f"`{cause.value}`", *numbers, f"`{meaning.reason}`", meaning.sentence, meaning.missed


def _statuses() -> list[tuple[str, ...]]:
    """Statuses with a cause of their own; then what goes for all others."""
    server, other = from_sip(599), from_sip(499)
    usual = {status: server if status // 100 == 5 else other for status in range(300, 700)}
    found = {status: from_sip(status) for status in usual}
    own = {str(status): cause for status, cause in found.items() if cause is not usual[status]}
    return _named({**own, "any other 5xx": server, "any other": other})


def _q850() -> list[tuple[str, ...]]:
    """Causes of a BYE; without one, or with one that is not listed, the call ended as it should."""
    usual = from_sip(200)
    found = {str(number): from_sip(200, number) for number in range(1, 128)}
    own = {number: cause for number, cause in found.items() if cause is not usual}
    return [*_named(own), ("any other, or none", f"`{usual.value}` in a BYE, else by the status")]


def _named(causes: Mapping[str, Cause]) -> list[tuple[str, ...]]:
    return [(name, f"`{cause.value}`") for name, cause in causes.items()]


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
