# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's commands, carried out on legs. SIP thread only."""

from typing import Final

import structlog

from bridge.call.commands import (
    AnswerSip,
    AnswerSipReinvite,
    AskSipForPicture,
    AskSipIfThere,
    ByeSip,
    CancelSip,
    NotifySip,
    ReferSip,
    RejectSip,
    RejectSipReinvite,
    SendSipInvite,
    SendSipKey,
    SendSipProgress,
    SendSipReinvite,
    SipCommand,
)
from bridge.call.events import SipReferProgressed
from bridge.sip.calls_out import CallsOut
from bridge.sip.endings import headers_of
from bridge.sip.keypad import PLAIN, RELAY
from bridge.sip.leg import Leg
from bridge.sip.legs import Legs
from bridge.sip.listener import Listener

log = structlog.get_logger(__name__)

_UNAVAILABLE: Final = 503
_CANCELLED: Final = 487
_OK: Final = 200


class Orders:
    """Those for new legs go to `calls_out`."""

    def __init__(self, legs: Legs, calls_out: CallsOut, listener: Listener) -> None:
        self._legs = legs
        self._calls_out = calls_out
        self._listener = listener

    def carry_out(self, command: SipCommand) -> None:
        """Do it now. What concerns a leg that has ended is dropped."""
        if isinstance(command, SendSipInvite):
            self._calls_out.invite(command)
            return
        if isinstance(command, CancelSip) and self._calls_out.cancel(command.leg):
            return
        leg = self._legs.get(command.leg)
        if leg is None:
            log.debug("leg has ended", call=command.call, command=type(command).__name__)
            return
        self._apply(command, leg)

    def _apply(self, command: SipCommand, leg: Leg) -> None:
        match command:
            case SendSipProgress():
                leg.progress(command.status, command.sdp)
            case AnswerSip():
                leg.answer(command.sdp)
            case RejectSip():
                self._reject(command, leg)
            case CancelSip():
                leg.hang_up(_CANCELLED, q850=command.q850)
            case ByeSip():
                leg.hang_up(_OK, q850=command.q850)
            case SendSipKey():
                leg.press(command.key, command.duration, self._key_body(leg))
            case AskSipForPicture():
                leg.ask_for_picture()
            case AskSipIfThere():
                leg.ask_if_there()
            case ReferSip():
                self._refer(command, leg)
            case NotifySip():
                leg.notify(command.op, command.status)
            case SendSipReinvite():
                leg.reinvite(command.op, command.sdp)
            case AnswerSipReinvite():
                leg.offers.accept(command.op, command.sdp)
            case RejectSipReinvite():
                leg.offers.refuse(command.op, command.status)
            case _:
                raise TypeError(f"unknown SIP command {type(command).__name__}")

    def _reject(self, command: RejectSip, leg: Leg) -> None:
        headers = headers_of(
            q850=command.q850,
            contact=leg.route.target(command.contact) if leg.route and command.contact else "",
            retry_after=command.retry_after,
        )
        leg.hang_up(command.status, command.reason, q850=command.q850, headers=headers)

    def _key_body(self, leg: Leg) -> str:
        """How the leg's trunk wants keys to be written."""
        return PLAIN if leg.route and leg.route.trunk.dtmf == "dtmf" else RELAY

    def _refer(self, command: ReferSip, leg: Leg) -> None:
        route = leg.route
        other = self._legs.get(command.replaces) if command.replaces else None
        if route is None or (command.replaces and other is None):
            failed = SipReferProgressed(leg=leg.id, op=command.op, status=_UNAVAILABLE)
            self._listener.happened(failed)
            return
        leg.refer(command.op, route.target(command.target), other)
