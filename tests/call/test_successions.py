# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else takes the far end's place: what goes on with the client meanwhile, and after."""

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.deadlines import Timeouts
from bridge.call.ids import OpId, Side
from tests.call.desk import CALL, IN, OUR_CALL, OUT
from tests.call.successors import NEXT, answers, being_called, catching_up, switched


def test_a_client_on_hold_for_the_former_ones_sake_is_taken_back() -> None:
    desk = being_called()
    switched(desk, answers(desk), needed=True)
    _, _, offer = desk.expect_all(c.NotifySip, c.ByeSip, c.OfferMedia)
    assert isinstance(offer, c.OfferMedia)
    assert (offer.side, offer.sdp) == (Side.SIP, "answer of the next")
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="talk"))
    assert desk.expect(c.SendMatrixNegotiate).sdp == "talk"
    desk.person_negotiates("talks", e.SdpType.ANSWER)
    answer = desk.expect(c.AnswerMedia)
    assert (answer.side, answer.sdp) == (Side.MATRIX, "talks")
    desk.tell(e.MediaAnswerReady(call=CALL, op=answer.op, sdp="nobody's"))
    assert not desk.said
    desk.phone_reinvites(700, leg=NEXT)
    desk.expect(c.OfferMedia)


def test_a_client_that_cannot_negotiate_stays_as_it_is() -> None:
    desk, op = catching_up(capable=False)
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="talk"))
    assert desk.expect(c.AnswerMedia).sdp == "matrix offer"


def test_a_client_that_need_not_be_asked_after_all() -> None:
    desk, op = catching_up()
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="", needed=False, answer="nobody's"))
    desk.expect(c.RollbackMedia)


def test_an_engine_that_cannot_offer_the_client_anything() -> None:
    desk, op = catching_up()
    desk.tell(e.MediaFailed(call=CALL, op=op, fault=e.MediaFault.INTERNAL))
    desk.expect(c.RollbackMedia)
    assert desk.core.active()


def test_a_client_that_offers_first_is_not_asked() -> None:
    desk, op = catching_up()
    desk.person_negotiates("its own")
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="talk"))
    _, offer = desk.expect_all(c.RollbackMedia, c.OfferMedia)
    assert isinstance(offer, c.OfferMedia)
    assert offer.sdp == "its own"


def test_offers_of_both_meet_after_the_switch() -> None:
    desk = being_called(leg=IN)
    switched(desk, answers(desk), needed=True)
    desk.said = desk.said[2:]
    op = desk.expect(c.OfferMedia).op
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="talk"))
    desk.expect(c.SendMatrixNegotiate)
    desk.person_negotiates("its own", call_id=OUR_CALL)
    assert not desk.said  # The caller does not give way.
    desk.wait(Timeouts().negotiate)
    assert desk.expect(c.AnswerMedia).sdp == "matrix answer"


def test_the_polite_side_gives_way_after_the_switch() -> None:
    desk, op = catching_up()
    desk.tell(e.MediaOfferReady(call=CALL, op=op, sdp="talk"))
    desk.expect(c.SendMatrixNegotiate)
    desk.person_negotiates("its own")
    desk.expect_all(c.RollbackMedia, c.OfferMedia)


def test_a_re_invite_of_ours_is_given_up_for_the_successor() -> None:
    desk = being_called()
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    reinvite = desk.expect(c.SendSipReinvite)
    assert reinvite.leg == OUT
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next"))
    _, _, switch = desk.expect_all(c.SendMatrixAssertedIdentity, c.RollbackMedia, c.SwitchMedia)
    assert isinstance(switch, c.SwitchMedia)
    desk.tell(e.SipReinviteAnswered(leg=OUT, op=reinvite.op, sdp="late"))
    switched(desk, switch)
    said = desk.expect_all(c.NotifySip, c.ByeSip, c.OfferMedia)
    assert isinstance(said[-1], c.OfferMedia)
    assert said[-1].sdp == "hold"


def test_the_clients_answer_is_waited_for() -> None:
    desk = being_called()
    desk.phone_reinvites(700)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="hold"))
    desk.expect(c.SendMatrixNegotiate)
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next"))
    desk.expect(c.SendMatrixAssertedIdentity)
    desk.person_negotiates("held", e.SdpType.ANSWER)
    answer = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=answer.op, sdp="held"))
    desk.expect_all(c.AnswerSipReinvite, c.SwitchMedia)


def test_the_successor_leaves_while_the_clients_answer_is_waited_for() -> None:
    desk = being_called()
    desk.phone_reinvites(700)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="hold"))
    desk.expect(c.SendMatrixNegotiate)
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next"))
    desk.expect(c.SendMatrixAssertedIdentity)
    desk.tell(e.SipReinviteReceived(leg=NEXT, op=OpId(701), sdp="too early"))
    assert desk.expect(c.RejectSipReinvite).status == 491
    desk.phone_ends(NEXT)
    desk.expect_all(c.DropSuccessor, c.NotifySip)
    desk.person_negotiates("held", e.SdpType.ANSWER)
    answer = desk.expect(c.AnswerMedia)
    desk.tell(e.MediaAnswerReady(call=CALL, op=answer.op, sdp="held"))
    desk.expect(c.AnswerSipReinvite)


def test_an_answer_of_the_former_that_is_due_is_not_waited_for() -> None:
    desk = being_called()
    desk.phone_reinvites(700, sdp=None)
    offer = desk.expect(c.OfferMedia)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="", needed=False, answer="ours"))
    desk.expect(c.AnswerSipReinvite)
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next"))
    desk.expect_all(c.SendMatrixAssertedIdentity, c.RollbackMedia, c.SwitchMedia)


def test_after_a_491_the_successor_comes_first() -> None:
    desk = being_called()
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    reinvite = desk.expect(c.SendSipReinvite)
    desk.tell(e.SipReinviteFailed(leg=OUT, op=reinvite.op, status=491))
    desk.expect(c.RollbackMedia)
    switched(desk, answers(desk))
    said = desk.expect_all(c.NotifySip, c.ByeSip, c.OfferMedia)
    assert isinstance(said[-1], c.OfferMedia)
    assert said[-1].sdp == "hold"


def test_a_client_that_holds_when_the_far_end_has_left_is_answered() -> None:
    desk = being_called()
    desk.phone_ends(OUT)
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    desk.media_answers(Side.SIP, "sip answer")
    assert desk.expect(c.SendMatrixNegotiate).type is e.SdpType.ANSWER


def test_a_client_whose_hold_the_far_end_leaves_unanswered_is_answered() -> None:
    desk = being_called()
    desk.person_negotiates("hold")
    desk.media_offers(Side.MATRIX, "hold")
    desk.expect(c.SendSipReinvite)
    desk.phone_ends(OUT)
    desk.media_answers(Side.SIP, "sip answer")
    assert desk.expect(c.SendMatrixNegotiate).type is e.SdpType.ANSWER


def test_a_hold_of_one_who_has_left_is_taken_back() -> None:
    desk = being_called()
    desk.phone_reinvites(700)
    desk.expect(c.OfferMedia)
    desk.phone_ends(OUT)
    desk.expect(c.RollbackMedia)
    switched(desk, answers(desk))
    assert not desk.said
