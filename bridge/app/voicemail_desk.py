# SPDX-License-Identifier: GPL-3.0-or-later
"""What people can ask of their voicemail."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from bridge.app.in_force import InForce
from bridge.app.voicemail_files import greeting_of
from bridge.call.ids import UserId
from bridge.config import LEAST_DELAY
from bridge.errors import LocalError, NotDone
from bridge.records import PersonSettings
from bridge.voicemail import VoicemailStatus

LONGEST: Final = 60.0
"""Seconds of a greeting."""


class VoicemailSettings:
    """A `VoicemailDesk`. `chosen` gives what a person chose, and `choose` keeps it."""

    def __init__(
        self,
        in_force: InForce,
        chosen: Callable[[UserId], PersonSettings],
        choose: Callable[[UserId, PersonSettings], Awaitable[None]],
    ) -> None:
        self._in_force = in_force
        self._chosen = chosen
        self._choose = choose

    def status(self, person: UserId) -> VoicemailStatus | None:
        """How it stands; None if nobody may have it."""
        settings, chosen = self._in_force.config.voicemail, self._chosen(person)
        if not settings.enabled:
            return None
        own = chosen.voicemail_delay
        return VoicemailStatus(
            on=chosen.voicemail,
            delay=settings.delay if own is None else own,
            own_delay=own is not None,
            own_greeting=chosen.greeting,
            answers=settings.answers,
        )

    async def switch(self, person: UserId, on: bool) -> None:
        """Switch it on or off, for good."""
        self._allowed()
        await self._choose(person, replace(self._chosen(person), voicemail=on))

    async def set_delay(self, person: UserId, seconds: float | None) -> None:
        """For how long a call rings first; None: as it is configured."""
        self._allowed()
        ring_time = self._in_force.config.limits.ring_time
        if seconds is not None and not LEAST_DELAY <= seconds < ring_time:
            raise NotDone(
                f"From {LEAST_DELAY:.0f} to {ring_time - 1:.0f} seconds: then the call is over."
            )
        await self._choose(person, replace(self._chosen(person), voicemail_delay=seconds))

    async def set_greeting(self, person: UserId, audio: bytes | None) -> float:
        """What callers hear, of any usual audio format; None: tones. Gives its seconds."""
        self._allowed()
        file, seconds = greeting_of(self._in_force.config.voicemail, person), 0.0
        if audio is None:
            await asyncio.to_thread(file.unlink, missing_ok=True)
        else:
            from bridge.media import voice  # FFmpeg takes a while to load.

            try:
                seconds = await asyncio.to_thread(
                    voice.write_greeting, audio, file, longest=LONGEST
                )
            except LocalError as error:
                raise NotDone(f"I cannot use that. {error}") from error
        await self._choose(person, replace(self._chosen(person), greeting=audio is not None))
        return seconds

    def greeting(self, person: UserId) -> str:
        """The file that callers hear; empty: tones."""
        settings = self._in_force.config.voicemail
        own = settings.folder is not None and self._chosen(person).greeting
        return str(greeting_of(settings, person)) if own else ""

    def _allowed(self) -> None:
        if not self._in_force.config.voicemail.enabled:
            raise NotDone("There is no voicemail here: the bridge's administrator allows none.")
