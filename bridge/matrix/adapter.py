# SPDX-License-Identifier: GPL-3.0-or-later
"""The Matrix side of the bridge: an application service that plays every telephone number."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

import structlog

from bridge import config
from bridge.call.commands import MatrixCommand
from bridge.call.ids import Address, UserId
from bridge.errors import LocalError
from bridge.matrix.announced import Announced
from bridge.matrix.bot.conversation import Bot
from bridge.matrix.commands import Commands
from bridge.matrix.doubles import Doubles
from bridge.matrix.encryption.client import device_api
from bridge.matrix.encryption.ghosts import GhostEncryption, Keys
from bridge.matrix.encryption.seam import NONE, Encryption, KeyTraffic
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.homeserver import Homeserver, Patience
from bridge.matrix.inbox import Inbox
from bridge.matrix.introduction import Introduction, check_tokens
from bridge.matrix.lookups import Dial, Lookups
from bridge.matrix.orphans import last_words
from bridge.matrix.outbox import Outbox, call_event
from bridge.matrix.portals import Portals
from bridge.matrix.post import Post
from bridge.matrix.repository import Repository
from bridge.matrix.transactions import Transactions
from bridge.matrix.unanswered import Unanswered
from bridge.matrix.voice import VoiceRooms
from bridge.ports import Desk, Emit, ManagementRooms, PortalStore
from bridge.records import CallRecord, IceServer, Portal, Typed

log = structlog.get_logger(__name__)

_STOPPING: Final = 5.0
"""Seconds for last words when the bridge stops."""


class MatrixAdapter:
    """A `MatrixPort`. `may_use` says whose invitations ghosts accept, `is_address` whose ghost
    anybody can call: a user id may well name what is no number. `dial` reads what is typed.

    Make it on the running event loop. `clock` counts seconds since the epoch, `monotonic` any
    seconds; `keys` is for encrypted rooms, and None does without; `join_time` is how long a person
    may take to accept the invitation to a new portal.
    """

    def __init__(
        self,
        homeserver: config.Homeserver,
        appservice: config.AppService,
        *,
        store: PortalStore,
        emit: Emit,
        may_use: Callable[[UserId], bool],
        is_address: Callable[[Address], bool],
        dial: Dial,
        portals: config.Portals | None = None,
        keys: Keys | None = None,
        join_time: float = 180.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = appservice
        self._address = homeserver.address
        self.join_time = join_time
        self._patience = Patience(monotonic, sleep)
        self._appservice = Transactions(
            homeserver, appservice, self._receive, self._query_user, self._receive_keys
        )
        self._bot = UserId(self._appservice.bot_mxid)
        self._attendant: Bot | None = None
        self._clock = clock
        self._homeserver = Homeserver(self._appservice)
        self._ghosts = Ghosts(appservice.ghost_prefix, homeserver.domain)
        self._keys: GhostEncryption | None = None
        if keys is not None:
            self._keys = GhostEncryption(
                keys,
                api=partial(device_api, self._appservice),
                homeserver=self._homeserver,
                arrived=self._key_arrived,
            )
        encryption: Encryption = self._keys or NONE
        self._encryption = encryption
        self._portals = Portals(
            ghosts=self._ghosts,
            homeserver=self._homeserver,
            store=store,
            doubles=self._doubles(homeserver, portals or config.Portals()),
            patience=self._patience,
            may_use=may_use,
            is_address=is_address,
            encryption=encryption,
        )
        Lookups(
            dial=dial,
            portals=self._portals,
            store=store,
            authorised=self._appservice.authorised,
            patience=self._patience,
        ).add_routes(self._appservice.app.router)
        self._inbox = Inbox(
            bot=self._bot,
            portals=self._portals,
            homeserver=self._homeserver,
            store=store,
            emit=emit,
            clock=clock,
            encryption=encryption,
            patience=self._patience,
        )
        self._unanswered = Unanswered(
            portals=self._portals,
            homeserver=self._homeserver,
            store=store,
            encryption=encryption,
        )
        post = Post(self._homeserver, encryption, store)
        self._outbox = Outbox(post.send, self._patience)
        self._repository = Repository(self._appservice)
        self.voice = VoiceRooms(self._portals, self._repository, post, encryption)
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands = Commands(
            ghosts=self._ghosts,
            portals=self._portals,
            outbox=self._outbox,
            patience=self._patience,
            emit=emit,
            spawn=self._spawn,
            join_time=lambda: self.join_time,
        )
        self._announced = Announced(self._homeserver)
        self._listening = False

    async def listen(self) -> None:
        """Let the homeserver ask about the dial pad; everything else has to wait for `start`.

        Raises `ConfigurationError` or `LocalError` with a remedy.
        """
        if self._listening:
            return
        check_tokens(self._settings)
        listen, port = str(self._settings.listen), self._settings.port
        if self._keys:
            await self._keys.open()
        try:
            await self._appservice.start(listen, port)
        except OSError as error:
            await self._appservice.stop()
            raise LocalError(
                f"cannot listen on {listen} port {port}: {error.strerror or error}",
                remedy="Change appservice.listen or appservice.port, or stop what uses it.",
            ) from error
        self._listening = True

    async def start(self) -> None:
        """Make sure that bridge and homeserver can talk to each other, both ways.

        Raises `ConfigurationError`, `LocalError` or `RemoteError` with a remedy.
        """
        await self.listen()
        self._appservice.take()
        try:
            await Introduction(
                homeserver=self._homeserver,
                settings=self._settings,
                address=self._address,
                bot=self._bot,
                patience=self._patience,
                keys=self._keys,
            ).make()
            await self._announced.look()
            if self._attendant:
                self._spawn(self._attendant.ready())
        except BaseException:
            await self._appservice.stop()
            raise
        self._spawn(self._announced.run())
        log.info("connected to homeserver", homeserver=self._address, bot=self._bot)

    @property
    def encrypts(self) -> bool:
        """Whether calls work in encrypted rooms, as far as that has been found out."""
        return self._encryption.active

    @property
    def waiting(self) -> tuple[int, int]:
        """How many events wait to be read, and to be sent."""
        return self._inbox.waiting, self._outbox.waiting

    async def stop(self) -> None:
        """Send what is still to be said, within seconds, and close."""
        self._appservice.turn_away()
        try:
            async with asyncio.timeout(_STOPPING):
                await self._inbox.drained()
                if self._attendant:
                    await self._attendant.farewell()
                await self._outbox.drained()
        except TimeoutError:
            log.warning("homeserver was too slow to finish with")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._inbox.close()
        if self._attendant:
            await self._attendant.close()
        await self._outbox.close()
        if self._keys:
            await self._keys.stop()
        await self._appservice.stop()

    async def leave_unanswered(self, before: float) -> None:
        """Leave the rooms of callers whom nobody ever answered, called back or wrote to.

        Those whose last call was before this time (seconds since the epoch).
        """
        await self._unanswered.leave(before)

    async def turn_servers(self) -> tuple[tuple[IceServer, ...], float]:
        """What the homeserver gives its users, and for how many seconds. Raises `RemoteError`."""
        return await self._homeserver.turn_servers()

    def do(self, command: MatrixCommand) -> None:
        """Queue a command; order is kept per room."""
        self._commands.do(command)

    def serve(self, desk: Desk, rooms: ManagementRooms, typed: Callable[[Typed], None]) -> None:
        """Have the bot answer people, and `typed` told what they write into portals.

        For use before `start`.
        """
        self._attendant = Bot(
            self._bot,
            homeserver=self._homeserver,
            rooms=rooms,
            desk=desk,
            patience=self._patience,
            clock=self._clock,
            encryption=self._encryption,
            again=self._inbox.again,
            repository=self._repository,
        )
        self._inbox.elsewhere = self._attendant.handle
        self._inbox.typed = typed

    def notify_admins(self, text: str) -> None:
        """Have the bot tell all admins who talk to it, as soon as it can."""
        if self._attendant is not None:
            self._spawn(self._attendant.notify_admins(text, f"alert.{secrets.token_hex(8)}"))

    def notify(self, person: UserId, text: str) -> None:
        """Have the bot tell a person who talks to it, as soon as it can."""
        if self._attendant is not None:
            self._spawn(self._attendant.notify(person, text, f"notice.{secrets.token_hex(8)}"))

    async def tell(self, portal: Portal, text: str, key: str) -> None:
        """A notice of a portal's ghost; raises `RemoteError`."""
        await self._portals.say(portal, text, key)

    async def mark_read(self, portal: Portal, event_id: str) -> None:
        """Have the ghost's read marker stand at an event; raises `RemoteError`."""
        ghost = self._ghosts.user_id(portal.address)
        await self._homeserver.mark_read(portal.room, ghost, event_id)

    async def deliver_text(
        self, person: UserId, address: Address, caller_name: str, text: str, key: str
    ) -> None:
        """The ghost of `address` says something to the person; raises `RemoteError`."""
        room = await self._portals.room_for(person, address, caller_name)
        portal = Portal(room=room, person=person, address=address)
        await self._portals.say(portal, text, key, "m.text")

    async def end_orphan(self, record: CallRecord) -> None:
        """Hang up the Matrix leg of a call that a crash left behind, or all that still rang."""
        ghost = self._ghosts.user_id(record.address)
        for command in last_words(record):
            event = call_event(command, ghost, self._patience.clock(), on_failure=None)
            await self._outbox.deliver(event)

    async def _receive(self, raw_events: list[Any]) -> None:
        await self._inbox.receive(raw_events)

    async def _receive_keys(self, traffic: KeyTraffic) -> None:
        if self._keys:
            await self._keys.receive(traffic)

    async def _query_user(self, user: str) -> dict[str, Any] | None:
        """The homeserver asks whether somebody exists whom nobody has made yet."""
        address = self._portals.address_of(user)
        if address is None:
            return None
        await self._portals.ensure_ghost(address)
        return {"user_id": user}  # to mautrix, an empty reply means nobody

    def _doubles(self, homeserver: config.Homeserver, portals: config.Portals) -> Doubles:
        if portals.auto_join is config.AutoJoin.OFF:
            return Doubles(None, homeserver.domain)
        people = Homeserver(self._appservice, portals.people_token.get_secret_value())
        return Doubles(people, homeserver.domain)

    def _key_arrived(self, session: str) -> None:
        self._inbox.key_arrived(session)
        if self._attendant:
            self._attendant.key_arrived(session)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
