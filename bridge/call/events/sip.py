# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes from the SIP leg."""

from dataclasses import dataclass

from bridge.call.events.base import Event
from bridge.call.ids import Address, LegId, OpId, TrunkName


@dataclass(frozen=True, slots=True, kw_only=True)
class SipEvent(Event):
    """Something that happened on a SIP leg."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class SipInviteReceived(SipEvent):
    """An INVITE from a known trunk. `dialled` is canonical where it is a number, else as sent.

    `sdp` is None for an INVITE without an offer. `refers`: as in `SipAnswered`. `diverted_by`: who
    forwarded the call to what was dialled, if somebody did.
    """

    trunk: TrunkName
    caller: Address
    caller_name: str
    dialled: str
    sdp: str | None
    sip_call_id: str
    refers: bool = False
    diverted_by: Address | None = None
    replaces: LegId | None = None
    """The leg whose place this one is to take (RFC 3891); the stack has found it to be ours."""
    full: bool = False
    """There are as many legs as there may be: this one is to be refused, and kept on record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipProgressed(SipEvent):
    """A provisional response (101 to 199) to our INVITE, with early SDP if it carried one."""

    status: int
    sdp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SipAnswered(SipEvent):
    """A 200 to our INVITE. `refers`: its Allow header names REFER (RFC 3515)."""

    sdp: str
    refers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SipConfirmed(SipEvent):
    """The ACK to our 200. `sdp` is the answer when our 200 carried the offer, else None."""

    sdp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SipCancelled(SipEvent):
    """The caller sent CANCEL before our final response. `cause` is its Reason header's Q.850 or
    SIP cause (200: answered elsewhere), 0 if none."""

    cause: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SipEnded(SipEvent):
    """The leg is over: refused, BYE in either direction done, timed out, or transport lost.

    `status` is the final SIP status (200 for an ordinary BYE), `q850` the Reason header's cause
    (0 if none), `remote` whether the far end ended it. Nothing follows on this leg. `retry_after`:
    seconds that the far end wants to be left alone (0 if it said none), `contacts`: where it says
    that it can be reached instead, with a status of 300 to 399, best first.
    """

    status: int
    reason: str = ""
    q850: int = 0
    remote: bool = True
    retry_after: int = 0
    contacts: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReinviteReceived(SipEvent):
    """A re-INVITE (or UPDATE with an offer) that waits for our answer; no SDP: we must offer."""

    op: OpId
    sdp: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReinviteAnswered(SipEvent):
    """Answers `SendSipReinvite`: a 200 with the far end's answer."""

    op: OpId
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReinviteFailed(SipEvent):
    """Answers `SendSipReinvite`: 491 is glare (RFC 3261 14.1), 481/408 ends the dialog."""

    op: OpId
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SipIdentityChanged(SipEvent):
    """Somebody else is on the line: what P-Asserted-Identity (RFC 3325) or Remote-Party-ID says in
    a re-INVITE, an UPDATE (RFC 5876) or a response to ours. `name` is empty where there is none."""

    address: Address
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipKeyPressed(SipEvent):
    """A key of the far end's keypad (`0` to `9`, `*`, `#`, `A` to `D`), by INFO; in seconds."""

    key: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SipPictureWanted(SipEvent):
    """The far end wants a whole picture: `picture_fast_update` in an INFO (RFC 5168)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipHeard(SipEvent):
    """A message of the far end's has come within the dialog: whatever it says, there is somebody.

    What it says is told by other events, if it is anything to the core.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReferReceived(SipEvent):
    """The far end asks us to call `target` instead of it (RFC 3515), and was told 202.

    What becomes of it is told by `NotifySip` with `op`.
    """

    op: OpId
    target: Address
    uri: str = ""
    """The target as it was written, where it belongs to the trunk itself; else empty."""
    replaces: str = ""
    """Value of the Replaces header that the call has to carry (RFC 3891)."""
    referred_by: str = ""
    """Value of the Referred-By header (RFC 3892)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipReferProgressed(SipEvent):
    """Answers `ReferSip`, any number of times, but at most once with a `status` of 200 or more.

    Below 200: accepted (202), or the sipfrag of a NOTIFY (RFC 3515 2.4.5) says how far it is. 200
    to 299: the sipfrag says that the far end talks to the target. 300 and more: REFER was refused
    with it, or the sipfrag says so, or 408: the subscription ended without a result.
    """

    op: OpId
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SipDialogChanged(SipEvent):
    """What it takes to end this dialog after a crash, as opaque text to be kept in the record."""

    state: str
