# SPDX-License-Identifier: GPL-3.0-or-later
"""What parts of voicemail tell each other: recordings, voice messages, and what people may ask."""

from dataclasses import dataclass
from typing import Protocol

from bridge.call.ids import Address, CallId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a caller said for a person, until it is posted."""

    call: CallId
    person: UserId
    address: Address
    caller_name: str
    file: str
    at: float
    """When they began to speak, in seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A voice message: Ogg Opus."""

    data: bytes
    seconds: float
    waveform: tuple[int, ...]
    """How loud it is, from its beginning to its end: 0 to 1024."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicemailStatus:
    """How a person's voicemail stands."""

    on: bool
    delay: float
    """Seconds."""
    own_delay: bool
    """Whether the person chose it."""
    own_greeting: bool
    answers: tuple[str, ...]
    """When it does: `no_answer`, `do_not_disturb`, `busy`, `declined`."""


class VoicemailDesk(Protocol):
    """What the bot can ask of voicemail. Methods raise `NotDone` with a sentence for the person."""

    def status(self, person: UserId) -> VoicemailStatus | None:
        """How it stands; None if nobody may have it."""

    async def switch(self, person: UserId, on: bool) -> None:
        """Switch it on or off, for good."""

    async def set_delay(self, person: UserId, seconds: float | None) -> None:
        """For how long a call rings first; None: as it is configured."""

    async def set_greeting(self, person: UserId, audio: bytes | None) -> float:
        """What callers hear, of any usual audio format; None: tones. Gives its seconds."""
