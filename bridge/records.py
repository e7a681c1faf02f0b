# SPDX-License-Identifier: GPL-3.0-or-later
"""What adapters and the driver tell each other of calls, people and lines: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bridge.call.causes import Cause
from bridge.call.commands import (
    Attempt,
    Ringing,
)
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
from bridge.call.outcomes import Outcome
from bridge.call.quality import Flow
from bridge.call.view import CallView


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
    times: int = 1
    """How many attempts it stands for: more than one where a flood was summed up."""
    source: str = ""
    """Of what was refused at once: the address, or network, that it came from."""
    message_s: float | None = None
    """Seconds of the message that a caller left, 0: none; None: no voicemail, or not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCalls:
    """Calls that SIP refused at once: one, or many alike. Times are seconds since the epoch."""

    since: float
    until: float
    times: int = 1
    source: str
    """The address that they came from, or the network; empty: several."""
    trunk: TrunkName
    """Empty: they came from no trunk."""
    caller: Address
    """Of many, the first one's, like `dialled`."""
    dialled: str
    cause: Cause
    status: int
    """Of the answer; 0: there was none."""
    sip_call_id: str = ""
    """Of many: empty."""


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
    """Part of a number or address; of what SIP refused, also of its source, or what was dialled."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """A STUN or TURN server, as `turn:host:port?transport=udp` (RFC 7065, RFC 7064)."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portal:
    """The two-member room of a person and the ghost of an address."""

    room: RoomId
    person: UserId
    address: Address


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
