# SPDX-License-Identifier: GPL-3.0-or-later
"""A call that we place goes another way: by the next trunk, without video, or redirected (3xx).

A SIP leg of its own is made for each way; the one that failed is left behind.
"""

from typing import TYPE_CHECKING

from bridge.call.course import Course
from bridge.call.dialplan import OutboundRoute
from bridge.call.far_end import HOPS
from bridge.call.ids import LegId
from bridge.call.leg import NotCarried, Over, Redirected
from bridge.call.sip_leg import SipLeg

if TYPE_CHECKING:
    from bridge.call.call import Call


class Rerouting:
    """The ways that `call` has taken, and may take yet."""

    def __init__(self, call: "Call", course: Course) -> None:
        self._call = call
        self._course = course
        self._redirected: Redirected | None = None
        self._hops = 0

    def note(self, redirected: Redirected) -> None:
        """The far end has pointed elsewhere."""
        self._redirected = redirected

    def take_redirection(self) -> Redirected | None:
        """Where the call was pointed to, if that was not dealt with yet."""
        redirected, self._redirected = self._redirected, None
        return redirected if self._call.over is None else None

    def place_elsewhere(self, route: OutboundRoute, longest: float) -> LegId | None:
        """Place the call by another route; gives its leg, or None if it is too late for that.

        So it is once the person hears what was there before, and where it goes on for ever.
        """
        name = LegId(f"{self._call.id}-to-{self._hops + 1}")
        leg = self._call.sip.elsewhere(name, route, longest)
        if self._hops == HOPS or not self._go_by(leg):
            return None
        self._hops += 1
        self._call.advance()
        return leg.leg

    def try_again(self, why: NotCarried) -> Over | None:
        """Place the call by the next trunk, or without video; why it is over, if that cannot be."""
        failed = self._call.sip
        leg = failed.without_video() if why.video else failed.successor()
        if leg is None or not self._go_by(leg):
            return why.over
        self._course.goes_on(failed.trunk, why, leg.trunk)
        return None

    def _go_by(self, leg: SipLeg) -> bool:
        """Let another SIP leg take the place of one that failed; whether it can.

        It cannot once the person hears what was there before, or has answered what it cannot take.
        """
        call = self._call
        anew = leg.terms != call.terms or leg.audio_alone
        if not call.media.offer_stands or (anew and call.sip.we_offer):
            return False
        call.far.follow(leg)
        if anew:
            call.terms = leg.terms
            call.media.restart()
        return True
