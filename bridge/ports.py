# SPDX-License-Identifier: GPL-3.0-or-later
"""What the driver needs of the outside: one Protocol per adapter.

Adapters take commands without blocking, carry them out in order per call, and report results and
everything else that happens by calling the `Emit` they were made with, on the event loop's thread.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from bridge.call.commands import (
    MatrixCommand,
    MediaCommand,
    SipCommand,
    StoreCommand,
)
from bridge.call.events import Event
from bridge.call.explain import Explanation, InboundExplanation
from bridge.call.ids import (
    Address,
    CallId,
    RoomId,
    TrunkName,
    UserId,
)
from bridge.call.limits import Allowance
from bridge.call.policy import Access
from bridge.call.view import CallView
from bridge.records import (
    CallQuery,
    CallRecord,
    IceServer,
    LadderEntry,
    LineView,
    Overview,
    PersonSettings,
    Portal,
    QualitySample,
)
from bridge.voicemail import VoicemailDesk

Emit = Callable[[Event], None]
"""Hands an event to the driver; may only be called on the event loop's thread."""

SipMessageTap = Callable[[str, str, str], None]
"""Told of every whole SIP message: SIP Call-ID, `received` or `sent`, and its text."""


class MatrixPort(Protocol):
    """The application service."""

    def do(self, command: MatrixCommand) -> None:
        """Queue a command; order is kept per room."""

    async def end_orphan(self, record: CallRecord) -> None:
        """Hang up the Matrix leg of a call that a crash left behind."""


class SipPort(Protocol):
    """The SIP endpoint."""

    def do(self, command: SipCommand) -> None:
        """Queue a command; order is kept."""

    async def end_orphan(self, record: CallRecord) -> None:
        """BYE the dialog of a call that a crash left behind."""


class MediaEngine(Protocol):
    """What carries audio; modelled on offer/answer so that an external engine fits too."""

    async def start(self) -> None:
        """Come up. Raises ConfigurationError or LocalError if that cannot be."""

    def do(self, command: MediaCommand) -> None:
        """Start to carry out a command; order is kept per call."""

    def use_servers(self, servers: Sequence[IceServer]) -> None:
        """Use these beside those of the settings from now on, in place of those before."""

    async def close(self) -> None:
        """End every session and free every socket."""


class CallStore(Protocol):
    """Records of calls and their ladders. Never raises into the call; failures are logged."""

    def do(self, command: StoreCommand, at: float) -> None:
        """Queue a write; order is kept. `at` is seconds since the epoch."""

    def trace(self, call: CallId, entry: LadderEntry) -> None:
        """Queue one line of a call's ladder."""

    async def unfinished(self) -> Sequence[CallRecord]:
        """Calls without an end: those that a crash left behind."""


class Sealer(Protocol):
    """Keeps secrets unreadable for whoever has the database alone."""

    def seal(self, text: str, place: str = "") -> str:
        """The text, sealed; `place` names where it is kept, and it opens there alone."""

    def unseal(self, sealed: str, place: str = "") -> str:
        """What was sealed for this place. Raises `LocalError`."""

    def derive(self, purpose: str) -> str:
        """A key for something else; always the same for a purpose."""


class PortalStore(Protocol):
    """What the Matrix adapter has to remember across restarts.

    Raises `StoreUnavailable` while the database cannot be used, and what it raises otherwise.
    """

    async def portal_by_room(self, room: RoomId) -> Portal | None:
        """The portal that this room is, if it is one."""

    async def portal_by_pair(self, person: UserId, address: Address) -> Portal | None:
        """The portal of this person and this address; there is at most one."""

    async def save_portal(self, portal: Portal) -> None:
        """Remember a portal, in place of any other with the same room or the same pair."""

    async def forget_portal(self, room: RoomId) -> None:
        """The room is not a portal any more; harmless if it never was."""

    async def unanswered_portals(self, before: float) -> Sequence[Portal]:
        """Portals whose calls all came from SIP, before this time, and were never answered.

        Seconds since the epoch. Those without any call are none of them.
        """

    async def ghost_name(self, address: Address) -> str | None:
        """The display name last given to this address's ghost; None if it was never made."""

    async def save_ghost_name(self, address: Address, name: str) -> None:
        """The ghost of this address exists and now has this display name."""

    async def remember_event(self, event_id: str, at: float) -> bool:
        """Remember a Matrix event; False if it was known already. `at`: seconds since the epoch.

        Check and write are one step: of two concurrent calls, one gets True.
        """

    async def prune_events(self, before: float) -> None:
        """Forget events remembered before this time (seconds since the epoch)."""


# --- texts -----------------------------------------------------------------------------------


class TextRooms(Protocol):
    """Where texts are read and written. Raises `RemoteError`."""

    async def mark_read(self, portal: Portal, event_id: str) -> None:
        """Have the ghost's read marker stand at an event."""

    async def tell(self, portal: Portal, text: str, key: str) -> None:
        """A notice of the ghost; `key` makes repetitions harmless."""

    async def deliver_text(
        self, person: UserId, address: Address, caller_name: str, text: str, key: str
    ) -> None:
        """The ghost says something to the person, in their portal, which is made if need be."""


# --- the bot ---------------------------------------------------------------------------------


class ManagementRooms(Protocol):
    """The rooms in which people talk to the bot. Raises what its database raises."""

    async def person_of(self, room: RoomId) -> UserId | None:
        """Whose room with the bot this is, if it is one."""

    async def save_room(self, room: RoomId, person: UserId, at: float) -> None:
        """The bot has come into this person's room; `at`: seconds since the epoch."""

    async def forget_room(self, room: RoomId) -> None:
        """The bot is no longer there; harmless if it never was."""

    async def rooms(self) -> Sequence[tuple[UserId, RoomId]]:
        """Everybody who has a room with the bot, each with their newest one."""


class Accounts(Protocol):
    """People's own SIP accounts. Raises `NotDone` with a sentence for the person."""

    def trunk_of(self, person: UserId) -> TrunkName | None:
        """The trunk that the person's account is."""

    def line_of(self, person: UserId) -> LineView | None:
        """How the person's account stands."""

    async def login(
        self, person: UserId, server: str, username: str, password: str, auth_username: str = ""
    ) -> LineView:
        """Register with an account, in place of the one before, which is kept if that fails."""

    async def logout(self, person: UserId) -> bool:
        """Unregister, and forget the account; False if there was none."""


class Desk(Protocol):
    """All that the bot can ask and do. Methods raise `NotDone` with a sentence for the person."""

    def access(self, person: UserId) -> Access:
        """What the person may do."""

    def call(self, person: UserId, number: str) -> Address:
        """Ring the person, and dial what they wrote as soon as they answer."""

    def left(self, person: UserId) -> Allowance:
        """What the person may do yet."""

    async def history(self, person: UserId, limit: int) -> Sequence[CallRecord]:
        """The person's newest calls, newest first."""

    def settings(self, person: UserId) -> PersonSettings:
        """What the person chose."""

    async def set_dnd(self, person: UserId, on: bool) -> None:
        """Switch *do not disturb* on or off, for good."""

    async def set_forward(self, person: UserId, number: str | None) -> Address | None:
        """Send the person's calls elsewhere, or nowhere else; returns where."""

    async def set_withhold(self, person: UserId, on: bool | None) -> None:
        """Call without showing one's number, or with it, or as it is configured (None)."""

    @property
    def voicemail(self) -> VoicemailDesk:
        """What is asked of voicemail."""

    def account(self, person: UserId) -> LineView | None:
        """How the person's own SIP account stands, if they have one."""

    async def login(
        self, person: UserId, server: str, username: str, password: str, auth_username: str = ""
    ) -> LineView:
        """Use a SIP account for the person's calls, once it has registered."""

    async def logout(self, person: UserId) -> bool:
        """Forget the person's SIP account; False if they had none."""

    def trunks(self) -> Sequence[LineView]:
        """Every trunk of the configuration."""

    def active(self) -> Sequence[tuple[CallView, float]]:
        """Every call that is not over, oldest first, with the seconds that it has lasted."""

    def hang_up(self, call: str, by: UserId) -> CallView:
        """End a call, named by its id."""

    def explain_in(self, trunk: str, number: str) -> InboundExplanation:
        """Which rules a call that comes by a trunk would meet, and whom it would ring."""

    def explain(self, person: UserId, number: str) -> Explanation:
        """Which rules a call of this person would meet, and what would become of it."""


# --- the admin page --------------------------------------------------------------------------


class Office(Protocol):
    """All that the admin page can ask and do. Raises what the database raises."""

    async def overview(self) -> Overview:
        """How the bridge is doing."""

    async def search(self, query: CallQuery) -> Sequence[CallRecord]:
        """Calls, newest first."""

    async def call(self, call: CallId) -> CallRecord | None:
        """One call."""

    async def ladder(self, call: CallId) -> Sequence[LadderEntry]:
        """What both sides of a call said, in order."""

    async def quality(self, call: CallId) -> Sequence[QualitySample]:
        """How well a call was heard, both directions, oldest first."""

    def hang_up(self, call: CallId) -> None:
        """End a call. Raises `NotDone`."""

    def watch(self) -> AbstractContextManager[asyncio.Event]:
        """An event that is set whenever something was written down, until one lets go of it."""
