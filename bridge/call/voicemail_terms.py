# SPDX-License-Identifier: GPL-3.0-or-later
"""How voicemail answers: what an admin and a person have set."""

from dataclasses import dataclass

from bridge.call.causes import Cause

NOT_ANSWERED = frozenset({Cause.NO_ANSWER, Cause.UNREACHABLE, Cause.UNDELIVERABLE})
"""Nobody answered in time, or it could not ring at all."""
AWAY = frozenset({Cause.DO_NOT_DISTURB})
OCCUPIED = frozenset({Cause.BUSY, Cause.TOO_MANY_CALLS})
REJECTED = frozenset({Cause.DECLINED})


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicemailTerms:
    """Of one person's calls. Times are seconds; files are for the media engine to open."""

    greeting: str
    beep: str
    folder: str
    """Where recordings are kept until they are posted."""
    delay: float = 20.0
    """For which it rings first."""
    longest: float = 120.0
    """That may be recorded."""
    silence: float = 8.0
    """That ends a recording."""
    shortest: float = 1.0
    """Of sound that make a message."""
    causes: frozenset[Cause] = NOT_ANSWERED | AWAY | OCCUPIED | REJECTED
    """Why it answers."""
