# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the SIP thread tells what happens."""

from collections.abc import Sequence
from typing import Protocol

from bridge.call.events import SipEvent
from bridge.call.ids import LegId, TrunkName
from bridge.records import Mailbox, RefusedCalls, SipText
from bridge.sip.tap import Tapped
from bridge.sip.trunks import Registration


class Listener(Protocol):
    """Told what happens, on the SIP thread."""

    def happened(self, event: SipEvent) -> None:
        """Something for the core."""

    def began(self, leg: LegId, sip_call_id: str) -> None:
        """A leg has a Call-ID; told before anything else of it."""

    def ended(self, sip_call_id: str) -> None:
        """The leg is over; its last messages may still come."""

    def tapped(self, sip_call_id: str, direction: str, text: str) -> None:
        """A message of a leg."""

    def seen(self, message: Tapped) -> None:
        """Any message at all."""

    def refused_at_once(self, calls: Sequence[RefusedCalls]) -> None:
        """Calls were refused of which the core does not hear."""

    def registration(self, trunk: TrunkName, registration: Registration) -> None:
        """A registration changed."""

    def text(self, text: SipText) -> None:
        """A text came from a trunk, and was admitted."""

    def mailbox(self, mailbox: Mailbox) -> None:
        """A server told what waits in the mailbox of an account."""
