# SPDX-License-Identifier: GPL-3.0-or-later
"""What a leg tells the call, and what the call knows of the leg on the Matrix side.

Everything else about that leg (parties, versions, devices) is its own affair: a leg of another kind
only has to follow the same states and speak the same words.
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.call.causes import Cause
from bridge.call.commands import Command, Ringing
from bridge.call.events import Event, MatrixInviteReceived, SipReferReceived
from bridge.call.ids import Address, OpId, RoomId, UserId
from bridge.call.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """The call has to end. `by` is as in `RecordEnd`, `status` the SIP status that said so or 0."""

    cause: Cause
    by: str
    status: int = 0


@dataclass(frozen=True, slots=True)
class NotCarried:
    """The trunk could not carry the call, which would be over, but there are others to try.

    `video`: that was what it, or the far end, could not take; there is a call without it to try.
    """

    over: Over
    video: bool = False


@dataclass(frozen=True, slots=True)
class EarlyMedia:
    """The far end sent a description before its answer, and it is to be used."""

    sdp: str


@dataclass(frozen=True, slots=True)
class Reoffer:
    """The far end wants to change what was agreed. `op` is to be given with the answer."""

    sdp: str | None
    op: OpId | None = None


@dataclass(frozen=True, slots=True)
class ReofferAnswered:
    """The far end answered our new offer (that of `op`, where the leg numbers them)."""

    sdp: str
    op: OpId | None = None


@dataclass(frozen=True, slots=True)
class ReofferRefused:
    """Our new offer was refused with a SIP status, or could not be delivered (0)."""

    status: int
    op: OpId


@dataclass(frozen=True, slots=True)
class OwnOfferAnswered:
    """The answer to the offer that we made when asked for one (in an ACK)."""

    sdp: str


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The person transfers the call: to `target`, if that is an address at all, or to a `person`.

    `waits`: it is the target that calls; the far end is replaced by that call.
    """

    target: Address | None
    waits: bool
    person: UserId | None = None


@dataclass(frozen=True, slots=True)
class NotTransferred:
    """The far end was not connected with whom it was transferred to; `status` is SIP's.

    `tried`: it had agreed to be.
    """

    status: int
    tried: bool


@dataclass(frozen=True, slots=True)
class Redirected:
    """The far end can be called elsewhere, best first; or else the call is `over`."""

    contacts: tuple[Address, ...]
    over: Over


@dataclass(frozen=True, slots=True)
class Referred:
    """The far end wants us to call somebody else instead of it."""

    event: SipReferReceived


@dataclass(frozen=True, slots=True)
class Switched:
    """The media has gone over to another SIP peer. `sdp`: what to answer it, if it offered.

    `needed`: the client has to learn what that peer wants.
    """

    sdp: str
    needed: bool


@dataclass(frozen=True, slots=True)
class NotSwitched:
    """The engine cannot talk with that other SIP peer."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class Moved:
    """The far end took another call's offer, and answered it with `sdp`."""

    sdp: str


@dataclass(frozen=True, slots=True)
class NotMoved:
    """The far end refused another call's offer."""


Signal = (
    Over
    | Redirected
    | NotCarried
    | EarlyMedia
    | Reoffer
    | ReofferAnswered
    | ReofferRefused
    | OwnOfferAnswered
    | HandedOver
    | NotTransferred
    | Referred
    | Switched
    | NotSwitched
    | Moved
    | NotMoved
)
"""What a leg tells the call, besides going to another state."""


class PersonLeg(Protocol):
    """The leg on the Matrix side. There may be more kinds of it than `m.call`."""

    description: str
    """The last session description of the client that is in force."""

    @property
    def state(self) -> State:
        """One of `MatrixState`."""

    @property
    def deadline(self) -> float | None:
        """When `is_due` will be true."""

    @property
    def polite(self) -> bool:
        """Whether the person called, which makes us the one to give way when both offer at once."""

    @property
    def people(self) -> Sequence[UserId]:
        """Whose leg this is: of those who ring or may still, until one of them has answered."""

    @property
    def rooms(self) -> Collection[RoomId]:
        """Where these people are, as far as it is known."""

    @property
    def keys(self) -> Collection[Hashable]:
        """What this leg's events carry, to tell whose they are, as far as it is known."""

    @property
    def can_renegotiate(self) -> bool:
        """Whether the client can be offered a change."""

    def yields_to(self, event: MatrixInviteReceived) -> bool:
        """Whether this call of a person's own is the one to survive a glare."""

    def is_stale(self, event: MatrixInviteReceived) -> bool:
        """Whether a new call by the same person tells that they have lost this one."""

    def prepare(self, display_name: str) -> None:
        """Make ready to ring."""

    def invite(self, sdp: str) -> None:
        """Ring."""

    def answer(self, sdp: str) -> None:
        """Accept the person's call."""

    def end(self, cause: Cause, *, telling: bool = False) -> None:
        """End the leg, however far it has come. Does nothing if it has ended.

        `telling`: something will be told. Where the person is not known yet, that is waited for.
        """

    def tell(self, text: str, since: float) -> None:
        """Tell the person, as soon as it is known where, of something that began at `since`."""

    def identify(self, address: Address, name: str) -> None:
        """Somebody else is at the other end now."""

    def reoffer(self, op: OpId, sdp: str) -> Command:
        """The command that offers a change of what was agreed."""

    def reanswer(self, sdp: str) -> Command:
        """The command that answers the client's `Reoffer`."""

    def take_candidates(self) -> list[tuple[str, ...]]:
        """ICE candidates of the client that were not taken yet."""

    def ringing(self) -> tuple[Ringing, ...]:
        """Where it rings by now."""

    def record(self) -> None:
        """Record what it takes to end the leg after a crash, as far as it is known."""

    def handle(self, event: Event) -> Signal | None:
        """Take an event; one that is not for this leg, or comes too late, is ignored."""

    def is_due(self) -> bool:
        """Whether a state has lasted too long."""

    def expire(self) -> Over | None:
        """A state has lasted too long: go on, or tell that the call has to end."""
