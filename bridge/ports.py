# SPDX-License-Identifier: GPL-3.0-or-later
"""What the driver needs of the outside: one Protocol per adapter.

Adapters take commands without blocking, carry them out in order per call, and report results and
everything else that happens by calling the `Emit` they were made with, on the event loop's thread.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bridge.call.commands import (
    Attempt,
    MatrixCommand,
    MediaCommand,
    Ringing,
    SipCommand,
    StoreCommand,
)
from bridge.call.events import Event
from bridge.call.explain import Explanation, InboundExplanation
from bridge.call.ids import (
    Address,
    CallId,
    Direction,
    MatrixCallId,
    PartyId,
    RoomId,
    Side,
    TrunkName,
    UserId,
)
from bridge.call.limits import Allowance
from bridge.call.outcomes import Outcome
from bridge.call.policy import Access
from bridge.call.quality import Flow
from bridge.call.view import CallView
from bridge.voicemail import VoicemailDesk

Emit = Callable[[Event], None]
"""Hands an event to the driver; may only be called on the event loop's thread."""

SipMessageTap = Callable[[str, str, str], None]
"""Told of every whole SIP message: SIP Call-ID, `received` or `sent`, and its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """A call as the database knows it. Times are seconds since the epoch, None if not reached."""

    call: CallId
    direction: Direction
    person: UserId
    address: Address
    trunk: TrunkName
    started_at: float
    rule: str = ""
    """Which rule of the dial plan led it where it went."""
    rang_at: float | None = None
    """When it rang first at whom it was for."""
    answered_at: float | None = None
    ended_at: float | None = None
    ringing: tuple[Ringing, ...] = ()
    """Where it rings, while several people may answer."""
    room: RoomId | None = None
    matrix_call_id: MatrixCallId | None = None
    matrix_version: int | None = None
    party: PartyId | None = None
    sip_call_id: str | None = None
    sip_dialog: str | None = None
    attempts: tuple[Attempt, ...] = ()
    """Trunks that could not carry the call before."""
    cause: str | None = None
    status: int | None = None
    ended_by: str | None = None
    reason: str = ""
    """Matrix's reason for the cause."""
    detail: str = ""
    """More about a refusal: which rules were tried."""
    statistics: dict[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderEntry:
    """One line of a call's ladder: what was said, on which leg, in which direction, and when."""

    at: float
    """Seconds since the epoch."""
    leg: str
    """`matrix`, `sip`, `media` or `bridge`."""
    direction: str
    """`in`, `out`, or empty for what happened inside."""
    summary: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallQuery:
    """Which calls are looked for; what is empty or None is not asked for."""

    person: str = ""
    """Part of a Matrix id: of whose call it was, or at whom it rang."""
    number: str = ""
    """Part of a number or address."""
    trunk: str = ""
    direction: Direction | None = None
    since: float | None = None
    """Seconds since the epoch, like `until`, which itself is left out."""
    until: float | None = None
    outcomes: tuple[Outcome, ...] = ()
    """Any of these; calls that are not over have none."""
    after: CallId | None = None
    """Go on after this one, which was the last of those before."""
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySample:
    """How well one direction of a call was heard within a few seconds."""

    at: float
    """Seconds since the epoch, at their end."""
    side: Side
    """Where it comes from."""
    flow: Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class SipText:
    """A SIP MESSAGE that came in (RFC 3428)."""

    trunk: TrunkName
    caller: Address
    caller_name: str
    dialled: str
    """Canonical where it is a number, else as sent."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """What the mailbox of a trunk's account holds (RFC 3842)."""

    trunk: TrunkName
    waiting: bool
    """Whether there are new voice messages."""
    new: int | None = None
    """How many; None where the server does not count."""
    old: int = 0
    number: str = ""
    """What to call to hear them, if the server says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipAccount:
    """A person's own account with a SIP server."""

    person: UserId
    server: str
    """Host name or address, with its port if that is not the default."""
    transport: Literal["udp", "tcp", "tls"]
    username: str
    domain: str = ""
    """Of the account's address; empty: the server's."""
    auth_username: str = ""
    """For digest, where it differs."""
    password: str = field(repr=False)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """A STUN or TURN server, as `turn:host:port?transport=udp` (RFC 7065, RFC 7064)."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Portal:
    """The two-member room of a person and the ghost of an address."""

    room: RoomId
    person: UserId
    address: Address


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What a person wrote into a portal."""

    portal: Portal
    event_id: str
    age: float
    """Seconds since it was sent."""
    text: str | None
    """None for what is no text: pictures, files, places."""
    correction: bool = False
    """It replaces what was said before."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSettings:
    """What a person chose for their calls."""

    dnd: bool = False
    """Do not disturb: nothing rings."""
    forward: Address | None = None
    """Where their calls go instead."""
    withhold: bool | None = None
    """Whether they call without showing their number; None: as it is configured."""
    voicemail: bool = False
    """Whether it takes calls that they do not."""
    voicemail_delay: float | None = None
    """Seconds for which it rings first; None: as it is configured."""
    greeting: bool = False
    """Whether callers hear a greeting of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """How a trunk, or a person's own SIP account, stands."""

    name: str
    works: bool
    """Whether it can carry calls, as far as is known."""
    state: str
    """In words: `registered`, `refused: 403 Forbidden`."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A warning or an error of the log, without secrets and with numbers cut short."""

    at: float
    """Seconds since the epoch."""
    level: str
    text: str
    call: str
    """The call that it is about, if it is about one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How the bridge is doing."""

    version: str
    since: float
    """When it was started, in seconds since the epoch."""
    ready: bool
    """Whether calls can be made."""
    closes_in: int | None
    """Seconds in which the bridge stops, at the latest, if it is to: calls go on, none begins."""
    parts: Sequence[LineView]
    """Homeserver, database, and what else calls need."""
    trunks: Sequence[LineView]
    active: Sequence[tuple[CallView, float]]
    """As `Desk.active`."""
    outcomes: Mapping[Outcome, int]
    """Of the calls of the last 24 hours."""
    failures: Sequence[CallRecord]
    """The latest calls that failed for anything but people and settings, newest first."""
    troubles: Sequence[LogLine]
    """The latest warnings and errors of the log, newest first."""
    load: Sequence[tuple[str, str]]
    """Names and values of what is busy."""


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
