# SPDX-License-Identifier: GPL-3.0-or-later
"""What the SIP adapter carries out."""

from dataclasses import dataclass

from bridge.call.commands.base import Command
from bridge.call.ids import LegId, OpId, TrunkName


@dataclass(frozen=True, slots=True, kw_only=True)
class SipCommand(Command):
    """Carried out by the SIP adapter."""

    leg: LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSipInvite(SipCommand):
    """INVITE `target` (a number as the trunk wants it, or a whole SIP URI) through `trunk`.

    `caller` is the number shown; empty: the trunk's own. `withheld`: the far end is not to learn
    it (RFC 3323). `spare`: another trunk can carry the call, so do not try one that is known not to
    work, but report the end at once.
    """

    trunk: TrunkName
    target: str
    caller: str
    caller_name: str
    sdp: str
    withheld: bool = False
    spare: bool = False
    replaces: str = ""
    """Value of the Replaces header, where the call is to take another's place (RFC 3891)."""
    referred_by: str = ""
    """Value of the Referred-By header, where somebody asked for the call (RFC 3892)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSipProgress(SipCommand):
    """A provisional response: 180, 181, 183 (with `sdp`: early media)."""

    status: int
    sdp: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSip(SipCommand):
    """200 to the INVITE. `sdp` is our answer, or our offer when the INVITE had none."""

    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectSip(SipCommand):
    """A final response of 300 or more to the INVITE. `reason` may replace the status phrase.

    With a 302, `contact` is where to call instead: like `SendSipInvite.target`, a number as the
    leg's trunk wants it, or a whole SIP URI.
    """

    status: int
    reason: str = ""
    contact: str = ""
    q850: int = 0
    """For the Reason header (RFC 6432), if it is not 0."""
    retry_after: int = 0
    """Seconds after which to call again; 0: not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSip(SipCommand):
    """CANCEL our INVITE. If a 200 crossed it, ACK and BYE (RFC 3261 9.1).

    With a Reason header if `q850` is not 0; 26 says as well that it was answered elsewhere.
    """

    q850: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ByeSip(SipCommand):
    """BYE in an established dialog, with a Reason header if `q850` is not 0."""

    q850: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSipReinvite(SipCommand):
    """re-INVITE with a new offer; answered by `SipReinviteAnswered` or `SipReinviteFailed`."""

    op: OpId
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSipReinvite(SipCommand):
    """200 to the re-INVITE that brought `op`."""

    op: OpId
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectSipReinvite(SipCommand):
    """A final refusal (488, 491, 500) of the re-INVITE that brought `op`; the call goes on."""

    op: OpId
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSipKey(SipCommand):
    """INFO that says which key was pressed: `key` and `duration` as in `SipKeyPressed`."""

    key: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSipForPicture(SipCommand):
    """INFO that asks for a whole picture (RFC 5168)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSipIfThere(SipCommand):
    """OPTIONS within the dialog (RFC 3261 11): `SipHeard` tells of any answer.

    One that knows no such dialog (481), or none, ends it: `SipEnded`.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferSip(SipCommand):
    """REFER: the far end is to call `target`, which is as in `SendSipInvite` (RFC 3515).

    With `replaces`, the call that it makes takes the place of that leg's dialog (RFC 5589 7.1, RFC
    3891). Answered by `SipReferProgressed`; the dialog goes on until BYE.
    """

    op: OpId
    target: str
    replaces: LegId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySip(SipCommand):
    """NOTIFY: what became of the REFER that brought `op` (RFC 3515 2.4.5). 200 and more ends it."""

    op: OpId
    status: int
