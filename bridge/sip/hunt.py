# SPDX-License-Identifier: GPL-3.0-or-later
"""One call's way through the servers of its trunk. SIP thread only."""

from collections.abc import Callable
from typing import Final

from bridge.call.events import SipEnded, SipEvent
from bridge.call.ids import LegId
from bridge.sip.account import Account
from bridge.sip.leg import Leg
from bridge.sip.walk import Walk

_TIMEOUT: Final = 408
_CANCELLED: Final = 487


class Hunt:
    """Tries a trunk's servers in turn until one has anything to say about the call.

    `start` sends an INVITE to the server that the account uses then, and tells `happened` of it.
    """

    def __init__(
        self,
        leg: LegId,
        walk: Walk,
        start: Callable[["Hunt", Account], Leg],
        report: Callable[[SipEvent], None],
        call_later: Callable[[float, Callable[[], None]], None],
        within: float,
    ) -> None:
        """`within`: seconds that each server gets for its first response, whatever it is."""
        self._id = leg
        self._walk = walk
        self._start = start
        self._report = report
        self._call_later = call_later
        self._within = within
        self._leg: Leg | None = None
        self._settled = False
        """A server has answered, or none is left to ask."""
        self.between = False
        """One server has failed and the next one has not been asked yet."""

    def begin(self) -> None:
        """Ask the server in use."""
        if self._settled:
            return
        self.between = False
        account = self._walk.stop()
        if account is None:
            gone = SipEnded(leg=self._id, status=503, reason="No such trunk", remote=False)
            self._settle(gone)
            return
        leg = self._leg = self._start(self, account)
        self._call_later(self._within, lambda: self._is_overdue(leg))

    def cancel(self) -> None:
        """The call is not wanted any more, and no server has heard of it."""
        self.between = False
        self._settle(SipEnded(leg=self._id, status=_CANCELLED, reason="", remote=False))

    def happened(self, event: SipEvent) -> None:
        """A leg of this call reports."""
        if self._settled:
            self._report(event)
        elif not (isinstance(event, SipEnded) and self._goes_on(event.status, event.retry_after)):
            self._settle(event)

    def _is_overdue(self, leg: Leg) -> None:
        if self._settled or self.between or leg is not self._leg or leg.heard:
            return
        ending = leg.ending
        leg.give_up(_CANCELLED)
        if ending:
            self.cancel()
            return
        if not self._goes_on(_TIMEOUT):
            reason = "The server does not answer"
            self._settle(SipEnded(leg=self._id, status=_TIMEOUT, reason=reason, remote=False))

    def _settle(self, event: SipEvent) -> None:
        self._settled = True
        self._report(event)

    def _goes_on(self, status: int, wish: int = 0) -> bool:
        """Ask the next server, after whatever is going on; False if none is left."""
        if not self._walk.goes_on(status, self.begin, wish):
            return False
        self.between = True
        self._leg = None
        return True
