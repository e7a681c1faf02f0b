# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps by which a call comes to its first offer and answer, and is accepted on both sides."""

from bridge.call.ids import Side
from bridge.call.leg import PersonLeg
from bridge.call.media_session import MediaSession
from bridge.call.sip_leg import SipLeg
from bridge.call.states import Step
from bridge.call.terms import Terms


def take(step: Step, matrix: PersonLeg, media: MediaSession, sip: SipLeg, terms: Terms) -> None:
    """Do what is due, now that the three have come to a certain point: see `states.STEPS`."""
    match step:
        case Step.OFFER_FROM_MATRIX:
            media.offer(Side.MATRIX, matrix.description, terms, audio_alone=sip.audio_alone)
        case Step.INVITE_SIP:
            sip.invite(media.to_sip, video=media.offers_video)
        case Step.TAKE_SIP_ANSWER:
            media.answer(Side.SIP, sip.description)
        case Step.ANSWER_MATRIX:
            matrix.answer(media.to_matrix)
        case Step.OFFER_FROM_SIP:
            media.offer(Side.SIP, sip.description or None, terms)
        case Step.INVITE_MATRIX:
            matrix.invite(media.to_matrix)
            sip.ring()
        case Step.INVITE_PERSON:
            matrix.invite(media.to_matrix)
        case Step.TAKE_MATRIX_ANSWER if sip.we_offer:
            media.answer_offerless(matrix.description)
        case Step.TAKE_MATRIX_ANSWER:
            media.answer(Side.MATRIX, matrix.description)
        case Step.ANSWER_SIP:
            sip.answer(media.to_sip)
        case _:
            assert step is Step.JOIN
            media.join(matrix.description, sip.description, terms)
