# SPDX-License-Identifier: GPL-3.0-or-later
"""The bot in its rooms: whose word it takes, and how it answers."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from bridge.call.ids import RoomId, UserId
from bridge.call.policy import Access
from bridge.errors import NotDone
from bridge.matrix.attachments import fetch
from bridge.matrix.bot.commands import Request
from bridge.matrix.bot.reading import Reader
from bridge.matrix.bot.reply import Question, Reply
from bridge.matrix.bot.table import COMMANDS, run
from bridge.matrix.encryption.seam import ENCRYPTED, ENCRYPTION, Encryption
from bridge.matrix.envelope import RoomEvent
from bridge.matrix.homeserver import Homeserver, HomeserverError, Patience, Refused
from bridge.matrix.repository import Repository
from bridge.matrix.words import is_correction, is_file, text_of
from bridge.ports import Desk, ManagementRooms

log = structlog.get_logger(__name__)

T = TypeVar("T")

_PATIENCE: Final = 60.0
"""Seconds for which the homeserver may be away while something is answered."""
_STALE: Final = 300.0
"""Seconds after which a command is not carried out: whoever gave it has given up waiting."""
_WAITS: Final = 300.0
"""Seconds for which a question stays open."""

_LARGEST_FILE: Final = 10_000_000
"""Octets that a person may send us."""

_HELLO: Final = Reply("Hello! I am the telephone bridge. `help` shows what I can do for you.")
_NOT_ALLOWED: Final = "You are not allowed to use this bridge; ask its administrator."
_NOT_ALONE: Final = (
    "I take commands only in a chat of the two of us. Please start a direct chat with me."
)
_PUBLIC: Final = "I take no commands in a public room. Please start a direct chat with me."
_ENCRYPTED: Final = (
    "This room is encrypted, and I cannot read it."
    " Please start a direct chat with me without encryption."
)
_NO_KEY: Final = (
    "I cannot read what you write: your client has not sent me its key. It may be set to keep keys"
    " from unverified devices."
)
_LATE: Final = "I was away when you wrote that, and have not done it. Please say it again."
_TOO_LATE: Final = "That took too long, so I have forgotten what it was about. Please start again."
_RESTART: Final = "The bridge stops now. Please start again when it is back; send no password."
_STOPPED: Final = "All right, nothing is changed."
_FAULT: Final = "Something went wrong in the bridge; its log says what."
_KEPT: Final = " I may not delete your message with the password: please delete it yourself."


@dataclass(frozen=True, slots=True)
class _Open:
    question: Question
    until: float


class Bot:
    """Talks to people about the bridge. `clock` counts seconds since the epoch."""

    def __init__(
        self,
        user: UserId,
        *,
        homeserver: Homeserver,
        rooms: ManagementRooms,
        desk: Desk,
        patience: Patience,
        clock: Callable[[], float],
        encryption: Encryption,
        again: Callable[[RoomEvent], None],
        repository: Repository,
    ) -> None:
        """`again` is given an event to be handled once more, when its key has come."""
        self.user = user
        self._homeserver = homeserver
        self._repository = repository
        self._encryption = encryption
        self._reader = Reader(user, encryption, again=again, lost=self._lost, sleep=patience.sleep)
        self._rooms = rooms
        self._desk = desk
        self._patience = patience
        self._clock = clock
        self._open: dict[RoomId, _Open] = {}
        self._told: set[RoomId] = set()
        """Rooms that were told why nothing is understood there."""

    async def handle(self, event: RoomEvent) -> None:
        """Take an event of a room that is no portal. Raises `HomeserverError`."""
        if event.type == "m.room.member" and event.state_key == self.user:
            await self._own_membership(event)
            return
        person = await self._rooms.person_of(event.room)
        if person is None:
            log.debug("not a portal", room=event.room, type=event.type)
        elif event.type == "m.room.member":
            await self._membership(event, person)
        elif event.type == ENCRYPTION:
            self._encryption.changed(event.room)
        elif event.sender != person:
            log.debug("not the person of this room", room=event.room, sender=event.sender)
        elif event.type != ENCRYPTED:
            await self._said(event)
        elif not await self._reader.able():
            await self._tell_once(event, _ENCRYPTED)
        elif (clear := await self._reader.read(event)) is not None:
            await self._said(clear)

    async def ready(self) -> None:
        """Get a device with keys, without which clients would not write encrypted to the bot."""
        try:
            await self._persist(lambda: self._encryption.ready(self.user))
        except HomeserverError as error:
            log.warning("bot has no keys; it takes commands unencrypted", reason=str(error))

    def key_arrived(self, session: str) -> None:
        """The key of a Megolm session has come."""
        self._reader.key_arrived(session)

    async def farewell(self) -> None:
        """Nobody shall answer with a password what the bot will not remember to have asked."""
        for room, opened in self._open.items():
            if opened.until > self._clock():
                with suppress(HomeserverError):
                    await self._send(room, Reply(_RESTART), f"farewell.{opened.until}")
        self._open.clear()

    async def close(self) -> None:
        """Stop waiting for keys."""
        await self._reader.close()

    async def notify_admins(self, text: str, transaction: str) -> None:
        """Tell every admin who has a room with the bot. `transaction` makes repetition harmless."""
        await self._notify(
            text, transaction, lambda person: self._desk.access(person) >= Access.ADMIN
        )

    async def notify(self, person: UserId, text: str, transaction: str) -> None:
        """Tell a person, if they have a room with the bot."""
        if not await self._notify(text, transaction, person.__eq__):
            log.info("a person without a chat with the bot is not told", person=person)

    async def _notify(self, text: str, transaction: str, wanted: Callable[[UserId], bool]) -> bool:
        """Whether there was anybody to be told."""
        rooms = [(person, room) for person, room in await self._rooms.rooms() if wanted(person)]
        for person, room in rooms:
            try:
                await self._say(room, Reply(text), transaction)
            except HomeserverError as error:
                log.warning("a person could not be told", person=person, reason=str(error))
        return bool(rooms)

    # --- rooms ------------------------------------------------------------------------------

    async def _own_membership(self, event: RoomEvent) -> None:
        membership = event.content.get("membership")
        if membership == "invite":
            await self._invited(event)
        elif membership in ("leave", "ban"):
            await self._forget(event.room)

    async def _invited(self, event: RoomEvent) -> None:
        room, person = event.room, event.sender
        if self._desk.access(person) < Access.RECEIVE:
            log.info("invitation of the bot refused", room=room, person=person)
            await self._leave(room, _NOT_ALLOWED)
            return
        await self._persist(lambda: self._homeserver.join(room, self.user))
        unfit = await self._persist(lambda: self._unfit(room, person))
        if unfit is not None:
            await self._say(room, Reply(unfit), f"unfit.{event.id}")
            await self._leave(room, unfit)
            return
        await self._rooms.save_room(room, person, self._clock())
        log.info("bot has a room", room=room, person=person)
        await self._say(room, _HELLO, f"hello.{event.id}")

    async def _membership(self, event: RoomEvent, person: UserId) -> None:
        if event.state_key == person and event.content.get("membership") in ("leave", "ban"):
            await self._forget(event.room)
            await self._leave(event.room, "You have left.")

    async def _forget(self, room: RoomId) -> None:
        self._open.pop(room, None)
        self._told.discard(room)
        await self._rooms.forget_room(room)

    async def _leave(self, room: RoomId, reason: str) -> None:
        await self._persist(lambda: self._homeserver.leave(room, self.user, reason))

    async def _unfit(self, room: RoomId, person: UserId) -> str | None:
        """Why commands are not taken in this room, if so."""
        members = await self._homeserver.joined_members(room, self.user)
        if members - {self.user, person}:
            return _NOT_ALONE
        rules = await self._homeserver.state(room, self.user, "m.room.join_rules")
        return _PUBLIC if rules.get("join_rule") == "public" else None

    async def _lost(self, event: RoomEvent) -> None:
        await self._tell_once(event, _NO_KEY)

    async def _tell_once(self, event: RoomEvent, sentence: str) -> None:
        """Say why nothing is understood in a room, until something is."""
        if event.room not in self._told:
            self._told.add(event.room)
            await self._say(event.room, Reply(sentence), f"bot.{event.id}")

    # --- words ------------------------------------------------------------------------------

    async def _said(self, event: RoomEvent) -> None:
        # A notice is another bot's; and what was corrected has been done.
        if event.type != "m.room.message" or is_correction(event.content):
            return
        opened = self._open.get(event.room)
        heard = opened is not None and opened.question.heard is not None and is_file(event.content)
        if (text := text_of(event.content)) or heard:
            self._told.discard(event.room)
            await self._message(event, text or "")

    async def _message(self, event: RoomEvent, text: str) -> None:
        reply = await self._answer(event, text)
        if reply.question is not None:
            self._open[event.room] = _Open(reply.question, self._clock() + _WAITS)
        await self._say(event.room, reply, f"bot.{event.id}")

    async def _answer(self, event: RoomEvent, text: str) -> Reply:
        opened = self._open.pop(event.room, None)
        kept = ""
        if _is_secret(opened, text) and not await self._redact(event):
            kept = _KEPT
        try:
            reply = await self._act(event, text, opened)
        except HomeserverError:
            raise
        except NotDone as error:
            reply = Reply(str(error))
        except Exception:
            log.exception("a command of the bot failed", person=event.sender)
            reply = Reply(_FAULT)
        return Reply(reply.text + kept, reply.items, reply.question)

    async def _act(self, event: RoomEvent, text: str, opened: _Open | None) -> Reply:
        if self._desk.access(event.sender) < Access.RECEIVE:
            return Reply(_NOT_ALLOWED)
        unfit = await self._persist(lambda: self._unfit(event.room, event.sender))
        if unfit is not None:
            return Reply(unfit)
        if event.age(self._clock()) > _STALE:
            return Reply(_LATE)
        if opened is not None:
            return await self._answered(opened, text, event)
        name, *words = text.split()
        name = name.lstrip("!/").lower()
        known = name if name in COMMANDS else "unknown"
        log.info("command of the bot", person=event.sender, command=known)
        return await run(name, Request(event.sender, tuple(words), self._desk))

    async def _answered(self, opened: _Open, text: str, event: RoomEvent) -> Reply:
        if self._clock() > opened.until:
            return Reply(_TOO_LATE)
        if text.strip().lower() == "cancel":
            return Reply(_STOPPED)
        if opened.question.heard is not None and is_file(event.content):
            audio = await self._persist(
                lambda: fetch(self._repository, event.content, _LARGEST_FILE)
            )
            return await opened.question.heard(audio)
        return await opened.question.answered(text.strip())

    async def _redact(self, event: RoomEvent) -> bool:
        """Delete a message that holds a password; False if that is not ours to do."""
        try:
            await self._persist(
                lambda: self._homeserver.redact(
                    event.room, self.user, event.id, f"bot.{event.id}", "It held a password."
                )
            )
        except Refused as error:
            log.info("message not deleted", room=event.room, reason=str(error))
            return False
        return True

    async def _say(self, room: RoomId, reply: Reply, transaction: str) -> None:
        await self._persist(lambda: self._send(room, reply, transaction))

    async def _send(self, room: RoomId, reply: Reply, transaction: str) -> None:
        kind, content = await self._encryption.encrypt(
            room, self.user, None, "m.room.message", reply.content()
        )
        await self._homeserver.send(room, self.user, kind, content, transaction)

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        deadline = self._patience.clock() + _PATIENCE
        return await self._patience.persist(attempt, lambda: deadline)


def _is_secret(opened: _Open | None, text: str) -> bool:
    """Whether the message holds a password, or may do so."""
    if opened is not None:
        return opened.question.secret and text.strip().lower() != "cancel"
    name, *words = text.split()
    return name.lstrip("!/").lower() == "login" and len(words) > 1
