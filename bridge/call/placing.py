# SPDX-License-Identifier: GPL-3.0-or-later
"""A call that we place: by which way, how far it has come, and by which other way it may be tried.

Once the far end rang it is not called a second time, whoever did not carry the call.
"""

from dataclasses import dataclass, replace

from bridge.call.cause_mapping import blames_description, blames_trunk
from bridge.call.commands import SendSipInvite
from bridge.call.dialplan import OutboundRoute
from bridge.call.events import SipEnded, SipReferReceived
from bridge.call.ids import CallId, LegId

_RINGS = (180, 181, 182)
"""The callee was found: RFC 3261 21.1."""
_TIMEOUT = 408


@dataclass(slots=True, kw_only=True)
class Placing:
    """One way of placing a call, and what the far end has said to it."""

    route: OutboundRoute
    first: LegId
    """The leg of the first attempt."""
    attempt: int = 1
    we_offer: bool = False
    """Whether the offer is our own: no client has made one."""
    audio_alone: bool = False
    """Whether the far end is called once more because it has refused video."""
    replaces: str = ""
    """What names the dialog whose place it is to take (RFC 3891)."""
    referred_by: str = ""
    """Who asked for the call (RFC 3892)."""
    video: bool = False
    """Whether our INVITE offers some."""
    found: bool = False
    """Whether the far end rang."""

    @classmethod
    def of(
        cls,
        route: OutboundRoute,
        leg: LegId,
        *,
        we_offer: bool = False,
        referral: SipReferReceived | None = None,
    ) -> "Placing":
        """The first way. `referral`: who asked for the call, and whose place it is to take."""
        made = cls(route=route, first=leg, we_offer=we_offer)
        if referral is None:
            return made
        return replace(made, replaces=referral.replaces, referred_by=referral.referred_by)

    @property
    def leg(self) -> LegId:
        """What the leg of this attempt is called."""
        return self.first if self.attempt == 1 else LegId(f"{self.first}-{self.attempt}")

    def invite(self, call: CallId, sdp: str, *, video: bool) -> SendSipInvite:
        """The command that calls the far end. `video`: there is some in the offer."""
        self.video = video
        route = self.route
        return SendSipInvite(
            call=call,
            leg=self.leg,
            trunk=route.trunk,
            target=route.target,
            caller=route.caller,
            caller_name=route.caller_name,
            sdp=sdp,
            replaces=self.replaces,
            referred_by=self.referred_by,
            withheld=route.withheld,
            spare=bool(route.others),
        )

    def progressed(self, status: int) -> None:
        """The far end sent a provisional response."""
        self.found = self.found or status in _RINGS

    # --- another way ------------------------------------------------------------------------

    def elsewhere(self, route: OutboundRoute, leg: LegId) -> "Placing":
        """Where the far end has pointed."""
        return Placing(route=route, first=leg, we_offer=self.we_offer, referred_by=self.referred_by)

    def by_next_trunk(self) -> "Placing | None":
        """By the next trunk of the rule, if there is one."""
        following = self.route.following
        if following is None:
            return None
        return self._again(following, audio_alone=False)

    def without_video(self) -> "Placing":
        """The same far end, which is offered audio alone."""
        return self._again(self.route, audio_alone=True)

    def _again(self, route: OutboundRoute, *, audio_alone: bool) -> "Placing":
        return replace(
            self,
            route=route,
            attempt=self.attempt + 1,
            audio_alone=audio_alone,
            video=False,
            found=False,
        )

    # --- whose fault it is --------------------------------------------------------------------

    def blames_trunk(self, event: SipEnded, *, silent: bool) -> bool:
        """Whether it is the trunk's fault that nobody was reached. `silent`: no response came.

        Where it may have rung, by what was to be heard (183), that nobody answered (408) is what it
        says.
        """
        blamed = not self.found and blames_trunk(event.status, event.q850)
        return blamed and (silent or event.status != _TIMEOUT)

    def blames_video(self, event: SipEnded) -> bool:
        """Whether it may be video alone that the far end did not want, before it rang."""
        asked = self.video and not self.found and event.remote
        return asked and blames_description(event.status, event.q850)
