# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written down about a call."""

from dataclasses import dataclass

from bridge.call.commands.base import Command
from bridge.call.ids import (
    Address,
    Direction,
    MatrixCallId,
    PartyId,
    RoomId,
    Side,
    TrunkName,
    UserId,
)
from bridge.call.quality import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCommand(Command):
    """Carried out by the call store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStart(StoreCommand):
    """A call began. `diverted_by` as in `SipInviteReceived`; `rule`: which one led it there."""

    direction: Direction
    person: UserId
    address: Address
    trunk: TrunkName
    diverted_by: Address | None = None
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ringing:
    """An invite of ours that rings at one of several people: what it takes to end it."""

    person: UserId
    room: RoomId
    matrix_call_id: MatrixCallId
    party: PartyId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLegs(StoreCommand):
    """The legs of the call, as they became known: what it takes to end them after a crash.

    Fields that are not known (yet) are None and leave the record as it is. `ringing`: where else it
    rings, while the call rings at several people.
    """

    person: UserId | None = None
    ringing: tuple[Ringing, ...] | None = None
    room: RoomId | None = None
    matrix_call_id: MatrixCallId | None = None
    matrix_version: int | None = None
    party: PartyId | None = None
    sip_call_id: str | None = None
    sip_dialog: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A trunk that could not carry the call. `cause` and `status` as in `RecordEnd`.

    `video`: it was asked for it, and refused.
    """

    trunk: TrunkName
    cause: str
    status: int
    video: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAttempts(StoreCommand):
    """Another trunk is tried: `trunk`, after these could not carry the call.

    It is that of the last of them again, if that has refused video.
    """

    trunk: TrunkName
    failed: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRinging(StoreCommand):
    """It rings at whom the call is for, for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAnswer(StoreCommand):
    """Both legs are connected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEnd(StoreCommand):
    """The call is over. `cause` is a value of `bridge.call.causes.Cause`, `status` SIP's or 0.

    `reason` is Matrix's for that cause: what the client is told, or has told.
    """

    cause: str
    status: int
    ended_by: str
    """`matrix`, `sip`, `media` or `bridge`."""
    reason: str = ""
    detail: str = ""
    """More about a refusal, for the admin: which rules were tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStatistics(StoreCommand):
    """What the media session measured, at its end."""

    statistics: dict[str, int | float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordQuality(StoreCommand):
    """How well both directions were heard within the last few seconds, by where they come from."""

    matrix: Flow
    sip: Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSilence(StoreCommand):
    """Nothing is heard from `side`, for a cause that is one of `bridge.call.silence.Silence`."""

    side: Side
    cause: str
