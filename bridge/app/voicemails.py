# SPDX-License-Identifier: GPL-3.0-or-later
"""Voice messages on their way: kept as files until their people have them, also over restarts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

import structlog

from bridge.app.following import zone_of
from bridge.app.in_force import InForce
from bridge.app.voicemail_files import tones_of
from bridge.call.causes import Cause
from bridge.call.commands import (
    DropVoicemail,
    KeepVoicemail,
    PostVoicemail,
    RecordEnd,
    StoreCommand,
)
from bridge.call.events import VoicemailFilled
from bridge.call.ids import Address, CallId, UserId
from bridge.driver.times import time_of_day
from bridge.errors import BridgeError, ConfigurationError, LocalError
from bridge.numbers import international
from bridge.ports import Emit
from bridge.voicemail import Recording, Voice

log = structlog.get_logger(__name__)

T = TypeVar("T")

KEPT: Final = 14 * 86400.0
"""Seconds after which a message that nobody takes is given up."""
SHORTEST: Final = 1.0
"""Seconds of sound that make a message."""
_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 300.0
_ONE_DAY: Final = 86400.0


class Store(Protocol):
    """Where it is kept what has to be posted."""

    def keep(self, recording: Recording) -> None:
        """Remember one."""

    def forget(self, call: CallId) -> None:
        """It is not to be posted any more."""

    def measure(self, call: CallId, seconds: float) -> None:
        """Say in the call's record how long the message is; 0: there is none. The first counts."""

    async def waiting(self) -> Sequence[Recording]:
        """All of them, oldest first."""


class VoiceRooms(Protocol):
    """Where voice messages are posted. Methods raise `BridgeError`."""

    async def most(self) -> int | None:
        """Octets that the homeserver takes at once; None if it does not say."""

    async def deliver(
        self,
        person: UserId,
        address: Address,
        caller_name: str,
        voice: Voice,
        body: str,
        key: str,
    ) -> None:
        """The ghost of `address` posts a voice message; `key` makes repetitions harmless."""


class Voicemails:
    """Posts what callers have said. `wall` counts seconds since the epoch."""

    def __init__(
        self,
        in_force: InForce,
        store: Store,
        rooms: VoiceRooms,
        emit: Emit,
        *,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._in_force = in_force
        self._store = store
        self._rooms = rooms
        self._emit = emit
        self._wall = wall
        self._sleep = sleep
        self._recording: dict[CallId, Recording] = {}
        self._posting: dict[CallId, asyncio.Task[None]] = {}
        self._full = False
        self._closed = False
        self._preparing: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Have what callers hear, now and when the settings change. Raises ConfigurationError."""
        await self.prepare()
        self._in_force.follow(self.changed)

    async def prepare(self) -> None:
        """Have what callers hear. Raises ConfigurationError."""
        settings = self._in_force.config.voicemail
        if not settings.enabled or all(file.exists() for file in tones_of(settings)):
            return
        from bridge.media import voice  # FFmpeg takes a while to load.

        try:
            await asyncio.to_thread(voice.write_tones, *tones_of(settings))
        except LocalError as error:
            raise ConfigurationError(
                f"voicemail has no place: {error}",
                remedy="voicemail.folder needs a directory that the bridge may write to.",
            ) from error

    def changed(self) -> None:
        """The settings have: there may be voicemail only now."""
        self._preparing = asyncio.get_running_loop().create_task(self._prepare_late())

    async def _prepare_late(self) -> None:
        try:
            await self.prepare()
        except ConfigurationError as error:
            log.error("callers hear no greeting", error=str(error), remedy=error.remedy)

    async def start(self) -> None:
        """Post what was recorded before the bridge was started."""
        for recording in await self._store.waiting():
            self._post(recording)

    async def close(self) -> None:
        """Stop; what is not posted waits for the next start."""
        self._closed = True
        tasks = [*self._posting.values(), *([self._preparing] if self._preparing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """How many are recorded, or wait to be posted."""
        return len(self._recording) + len(self._posting)

    async def settled(self) -> None:
        """Wait until nothing waits to be posted."""
        await asyncio.gather(*self._posting.values())

    # --- what the core wants ------------------------------------------------------------------

    def observe(self, command: StoreCommand, at: float) -> None:
        """Take a command that is about a recording; `at`: seconds since the epoch."""
        match command:
            case KeepVoicemail():
                recording = Recording(
                    call=command.call,
                    person=command.person,
                    address=command.address,
                    caller_name=command.caller_name,
                    file=command.file,
                    at=at,
                )
                self._recording[command.call] = recording
                self._store.keep(recording)
                self._count()
            case PostVoicemail(call=call):
                self._post(self._recording.pop(call))
            case DropVoicemail(call=call):
                self._store.measure(call, 0.0)
                self._forget(self._recording.pop(call))
                self._count()
            case RecordEnd(call=call, cause=Cause.VOICEMAIL.value):
                if call not in self._recording and call not in self._posting:
                    self._store.measure(call, 0.0)  # They hung up before the beep.

    def _post(self, recording: Recording) -> None:
        if self._closed:  # The next start posts it.
            return
        task = asyncio.get_running_loop().create_task(self._deliver(recording), name="voicemail")
        self._posting[recording.call] = task
        self._count()

    def _count(self) -> None:
        """Tell the core whether there is room for more."""
        full = self.waiting >= self._in_force.config.voicemail.max_waiting
        if full != self._full:
            self._full = full
            self._emit(VoicemailFilled(full=full))
            if full:
                log.warning("too many voice messages wait to be posted", waiting=self.waiting)

    # --- one message --------------------------------------------------------------------------

    async def _deliver(self, recording: Recording) -> None:
        bound = log.bind(call=recording.call, person=recording.person)
        try:
            most = await self._insist(recording, self._rooms.most)
            voice = await self._read(recording, most)
            self._store.measure(recording.call, voice.seconds if voice else 0.0)
            if voice is not None:
                await self._insist(recording, partial(self._deliver_voice, recording, voice))
                bound.info("voice message posted", seconds=round(voice.seconds, 1))
            self._forget(recording)
        except TimeoutError:
            bound.error("a voice message is given up: nobody could be given it")
            self._forget(recording)
        finally:
            self._posting.pop(recording.call, None)
            self._count()

    async def _insist(self, recording: Recording, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempt until it works. Raises TimeoutError when that has taken too long."""
        bound = log.bind(call=recording.call, person=recording.person)
        pause = _FIRST_PAUSE
        while self._wall() <= recording.at + KEPT:
            try:
                return await attempt()
            except BridgeError as error:
                bound.warning("voice message not posted yet", reason=str(error))
            except Exception:
                bound.exception("voice message not posted yet")
            await self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise TimeoutError

    async def _deliver_voice(self, recording: Recording, voice: Voice) -> None:
        await self._rooms.deliver(
            recording.person,
            recording.address,
            recording.caller_name,
            voice,
            self._words(recording, voice),
            f"voicemail.{recording.call}",
        )

    async def _read(self, recording: Recording, most: int | None) -> Voice | None:
        """What is in the file; None if that is nothing, or nothing that can be read."""
        from bridge.media import voice

        bound = log.bind(call=recording.call, person=recording.person)
        try:
            read = await asyncio.to_thread(
                voice.read_voice, recording.file, shortest=SHORTEST, most=most
            )
        except LocalError as error:
            bound.error("a recording cannot be read", error=str(error))
            return None
        if read is None:
            bound.info("a recording holds no message")
        return read

    def _words(self, recording: Recording, voice: Voice) -> str:
        """What clients show that know no voice messages."""
        number = international(recording.address)
        caller = f"{recording.caller_name} ({number})" if recording.caller_name else number
        zone = zone_of(self._in_force.config)
        when = time_of_day(recording.at, zone)
        if self._wall() - recording.at > _ONE_DAY:
            day = datetime.fromtimestamp(recording.at).astimezone(zone)
            when = f"{day:%Y-%m-%d} {when}"
        minutes, seconds = divmod(round(voice.seconds), 60)
        return f"Voice message from {caller}, {when}, {minutes}:{seconds:02}"

    def _forget(self, recording: Recording) -> None:
        self._store.forget(recording.call)
        try:
            Path(recording.file).unlink(missing_ok=True)
        except OSError as error:
            log.error("a recording cannot be deleted", file=recording.file, error=str(error))
