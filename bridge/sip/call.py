# SPDX-License-Identifier: GPL-3.0-or-later
"""A pjsua2 call, whose callbacks are its leg's. SIP thread only."""

from typing import TYPE_CHECKING

import pjsua2 as pj

from bridge.sip.guard import guarded

if TYPE_CHECKING:
    from bridge.sip.leg import Leg


class Call(pj.Call):
    """Passes pjsua2's callbacks on to the leg, until the leg lets go of it."""

    def __init__(self, account: pj.Account, leg: "Leg", call_id: int | None = None) -> None:
        if call_id is None:
            super().__init__(account)
        else:
            super().__init__(account, call_id)
        self.leg: Leg | None = leg

    @guarded
    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        if self.leg:
            self.leg.state_changed(self.getInfo(), prm.e)

    @guarded
    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        if self.leg:
            self.leg.transaction_changed(prm.e.body.tsxState)

    @guarded
    def onCallSdpCreated(self, prm: pj.OnCallSdpCreatedParam) -> None:
        if self.leg and self.leg.offers.local:
            prm.sdp.wholeSdp = self.leg.offers.local

    @guarded
    def onCallRxReinvite(self, prm: pj.OnCallRxReinviteParam) -> None:
        if self.leg:
            prm.isAsync = self.leg.offers.waits()

    @guarded
    def onCallRxOffer(self, prm: pj.OnCallRxOfferParam) -> None:
        # Comes for UPDATE, and for a re-INVITE that changes nothing. An answer is asked for next,
        # in onCallSdpCreated.
        if self.leg and not self.leg.offers.answers_at_once():
            prm.statusCode = pj.PJSIP_SC_NOT_ACCEPTABLE_HERE

    @guarded
    def onInstantMessage(self, prm: pj.OnInstantMessageParam) -> None:
        if self.leg:
            self.leg.texted(prm)

    @guarded
    def onCallTransferStatus(self, prm: pj.OnCallTransferStatusParam) -> None:
        if self.leg:
            self.leg.transfer.heard(int(prm.statusCode), last=prm.finalNotify)

    @guarded
    def onCallTransferRequest(self, prm: pj.OnCallTransferRequestParam) -> None:
        # A REFER that is accepted was answered before: see referrals.py.
        prm.statusCode = pj.PJSIP_SC_DECLINE

    @guarded
    def onCallReplaceRequest(self, prm: pj.OnCallReplaceRequestParam) -> None:
        # None that may be accepted comes this far: see replaces.py.
        prm.statusCode = pj.PJSIP_SC_DECLINE
