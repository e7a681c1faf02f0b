# SPDX-License-Identifier: GPL-3.0-or-later
"""Where voicemail keeps its files, and what the core has to know of its settings."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from bridge.call.causes import Cause
from bridge.call.ids import UserId
from bridge.call.voicemail_terms import (
    AWAY,
    NOT_ANSWERED,
    OCCUPIED,
    REJECTED,
    VoicemailTerms,
)
from bridge.config import Voicemail

_CAUSES: Final[Mapping[str, frozenset[Cause]]] = {
    "no_answer": NOT_ANSWERED,
    "do_not_disturb": AWAY,
    "busy": OCCUPIED,
    "declined": REJECTED,
}


def folder_of(settings: Voicemail) -> Path:
    """Where everything is."""
    assert settings.folder is not None  # The checks of the settings see to that.
    return settings.folder


def tones_of(settings: Voicemail) -> tuple[Path, Path]:
    """What callers hear who hear nobody; and the tone after which they may speak."""
    folder = folder_of(settings)
    return folder / "greeting.wav", folder / "beep.wav"


def greeting_of(settings: Voicemail, person: UserId) -> Path:
    """What a person has callers hear. Matrix ids may hold what no file's name can."""
    name = sha256(person.encode()).hexdigest()[:32]
    return folder_of(settings) / "greetings" / f"{name}.wav"


def terms_of(settings: Voicemail) -> VoicemailTerms | None:
    """How it answers; None if nobody may have it."""
    if not settings.enabled:
        return None
    greeting, beep = tones_of(settings)
    return VoicemailTerms(
        greeting=str(greeting),
        beep=str(beep),
        folder=str(folder_of(settings)),
        delay=settings.delay,
        longest=settings.max_length,
        silence=settings.silence,
        causes=frozenset[Cause]().union(*(_CAUSES[each] for each in settings.answers)),
    )
