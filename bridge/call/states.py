# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of a call: what they mean, how they are coupled, how each is ended.

A call has four machines: its Matrix leg, its SIP leg, its media session, and the renegotiation of
what was agreed. Each has a table (tables.py): in this state, this message leads to that state.
Messages are the events that come in and the commands that go out, as in h11: what we say changes
our state as much as what we hear. A message may be qualified by a few words where its class does
not say enough. An event without an entry is ignored; a command without one is a bug.

`STEPS` couples the machines: when all three have come to a certain point, the next step is due,
in whatever order they came there. `MATRIX_ENDS` and `SIP_ENDS` say how a leg in each state is
ended, which happens as soon as anything else of the call ends. How long a state may last is in
deadlines.py.

The diagrams in docs/discussion/state-machines.md are drawn from all this.
"""

from collections.abc import Mapping
from enum import Enum

from bridge.call import commands as c
from bridge.call import events as e


class State(Enum):
    """Base of the states of every machine."""


class MatrixState(State):
    """The Matrix leg."""

    PREPARING = "preparing"
    """We are going to call the person; their portal is being made ready."""
    JOINING = "joining"
    """The person is invited to the portal: it can ring as soon as they have joined."""
    TELLING = "telling"
    """Over before the portal was ready, which is still waited for, to leave a word there."""
    READY = "ready"
    """The portal is ready, our invite not yet sent."""
    INVITING = "inviting"
    """Our invite rings at the person's devices."""
    INVITED = "invited"
    """The person called; we have not answered."""
    ANSWERED = "answered"
    """We answered; the person's client has not confirmed our answer (VoIP v1)."""
    ACTIVE = "active"
    """Both parties are fixed."""
    ENDED = "ended"


class SipState(State):
    """The SIP leg."""

    IDLE = "idle"
    """We are going to call; our INVITE is not sent yet."""
    CALLING = "calling"
    """Our INVITE is out."""
    PROCEEDING = "proceeding"
    """The far end rings."""
    INVITED = "invited"
    """An INVITE with an offer waits for our answer."""
    INVITED_OFFERLESS = "invited_offerless"
    """An INVITE without an offer waits for our answer, which will be an offer."""
    ANSWERED = "answered"
    """Our 200 is out, the ACK has not come."""
    CONFIRMED = "confirmed"
    """The dialog is established."""
    REFERRING = "referring"
    """Our REFER is out: the far end calls whom the person transferred the call to."""
    AWAITING = "awaiting"
    """The person transferred another call to this one: the far end is to get a new call instead."""
    PASSING = "passing"
    """The person transferred the call to somebody else, at whom another call of ours rings."""
    PROMISED = "promised"
    """That somebody has answered: the far end of the transferred call is offered this one."""
    CANCELLING = "cancelling"
    """CANCEL is out; a 200 may cross it."""
    CLOSING = "closing"
    """Over, but BYE must wait for the ACK to our 200 (RFC 3261 15)."""
    ENDING = "ending"
    """BYE or a refusal is out; the end is not confirmed."""
    ENDED = "ended"


class MediaState(State):
    """The media session, until it is agreed for the first time, and its end."""

    NONE = "none"
    MAKING_SIP_OFFER = "making_sip_offer"
    """The engine writes the offer for SIP."""
    SIP_OFFER = "sip_offer"
    """The offer for SIP is written."""
    MAKING_EARLY_ANSWER = "making_early_answer"
    """The engine takes early media from SIP and writes the answer for Matrix."""
    EARLY = "early"
    """The answer for Matrix, with early media, is written."""
    CHANGING_EARLY = "changing_early"
    """The engine takes other early media: another branch of a forked call sent it."""
    MAKING_MATRIX_ANSWER = "making_matrix_answer"
    """The engine takes the answer from SIP and writes the one for Matrix."""
    MAKING_MATRIX_OFFER = "making_matrix_offer"
    """The engine writes the offer for Matrix."""
    MATRIX_OFFER = "matrix_offer"
    """The offer for Matrix is written."""
    MAKING_SIP_ANSWER = "making_sip_answer"
    """The engine takes the answer from Matrix and writes the one for SIP."""
    JOINING = "joining"
    """The engine answers offers from both sides (setup glare)."""
    AGREED = "agreed"
    """Offer and answer are complete; ICE and DTLS are not."""
    CONNECTED = "connected"
    CLOSING = "closing"
    CLOSED = "closed"


class RenegotiationState(State):
    """A change of what was agreed: hold, resume, other codecs, other addresses, ICE restart."""

    CLOSED = "closed"
    """The first offer and answer are not complete, or the call is over."""
    STABLE = "stable"
    MATRIX_OFFERED = "matrix_offered"
    """The client offered; the engine writes the offer for SIP."""
    REINVITING = "reinviting"
    """Our re-INVITE is out."""
    BACKOFF = "backoff"
    """Our re-INVITE met theirs (491); the timer of RFC 3261 14.1 runs."""
    ANSWERING_MATRIX = "answering_matrix"
    """The engine writes the answer for the client."""
    SIP_OFFERED = "sip_offered"
    """A re-INVITE waits; the engine writes the offer for the client."""
    NEGOTIATING = "negotiating"
    """Our `m.call.negotiate` is out."""
    ANSWERING_SIP = "answering_sip"
    """The engine writes the answer to the re-INVITE."""
    AWAITING_ANSWER = "awaiting_answer"
    """The re-INVITE had no offer: ours went into the 200, its answer comes with the ACK."""
    FINISHING = "finishing"
    """The engine takes the answer that came with the ACK."""
    SWITCHING = "switching"
    """The engine turns to another SIP peer."""
    CATCHING_UP = "catching_up"
    """There is another SIP peer; the engine writes what the client has to be offered for it."""
    TELLING = "telling"
    """Our `m.call.negotiate` on its account is out."""
    MOVING = "moving"
    """The far end is offered another call, of whom it was transferred to; our re-INVITE is out."""
    TOLD = "told"
    """The client has answered that; the engine takes the answer."""


class SuccessionState(State):
    """Somebody else is to take the far end's place: by its own REFER, or by Replaces."""

    NONE = "none"
    """Nobody is."""
    OFFERING = "offering"
    """The engine writes the offer for the successor."""
    OFFERED = "offered"
    """The successor was offered a place, and has not answered."""
    CHANGING = "changing"
    """The successor has answered, or offered: media is to go there."""


class SetupGlare(e.Event):
    """Stands for: two calls became one, or another trunk is tried, which is to be offered something
    else; what was offered so far is void."""


class BothConnected(e.Event):
    """Stands for: both legs are connected and media is agreed for the first time."""


class PassOn(e.Event):
    """Stands for: the person transferred the call to somebody whom we call."""


class Promise(e.Event):
    """Stands for: who was called has answered, and waits for the far end of another call."""


class Settled(e.Event):
    """Stands for: it is known whose the far end is."""


class TalksBeside(e.Event):
    """Stands for: in the person's place, the far end of another call of theirs talks."""


class HandOver(e.Event):
    """Stands for: the person transferred another call to this one, and leaves both."""


Message = type | tuple[type, str]
"""An event or command class, alone or with a qualifier."""
Table = Mapping[State, Mapping[Message, State]]


V0 = "v0"
ANOTHER_PARTY = "another party"
OF_A_REJECT = "of a reject"
NOBODY_HERE = "of nobody here"
FROM_MATRIX = "from matrix"
FROM_SIP = "from sip"
EARLY = "early"
TO_OFFERLESS_INVITE = "from matrix, sip offered nothing"
AFTER_491 = "after 491"
WITH_OUR_OFFER = "with our offer"
REFUSED = "refused"
LET_GO = "of a peer that leaves"
OF_ANOTHER = "of another peer"


_M, _S, _D = MatrixState, SipState, MediaState


class Step(Enum):
    """What is due when the machines have come to a certain point together."""

    OFFER_FROM_MATRIX = "ask the engine for the SIP offer"
    INVITE_SIP = "send INVITE"
    TAKE_SIP_ANSWER = "give the engine the answer of SIP"
    ANSWER_MATRIX = "send m.call.answer"
    OFFER_FROM_SIP = "ask the engine for the Matrix offer"
    INVITE_MATRIX = "send m.call.invite, then 180"
    INVITE_PERSON = "send m.call.invite"
    TAKE_MATRIX_ANSWER = "give the engine the answer of Matrix"
    ANSWER_SIP = "send 200"
    JOIN = "let the engine answer both offers"


STEPS: Mapping[tuple[State, State, State], Step] = {
    # A person calls.
    (_M.INVITED, _D.NONE, _S.IDLE): Step.OFFER_FROM_MATRIX,
    (_M.INVITED, _D.SIP_OFFER, _S.IDLE): Step.INVITE_SIP,
    (_M.INVITED, _D.SIP_OFFER, _S.CONFIRMED): Step.TAKE_SIP_ANSWER,
    (_M.INVITED, _D.AGREED, _S.CONFIRMED): Step.ANSWER_MATRIX,
    (_M.INVITED, _D.CONNECTED, _S.CONFIRMED): Step.ANSWER_MATRIX,
    # The same, with early media.
    (_M.INVITED, _D.EARLY, _S.PROCEEDING): Step.ANSWER_MATRIX,
    (_M.INVITED, _D.EARLY, _S.CONFIRMED): Step.TAKE_SIP_ANSWER,
    (_M.ANSWERED, _D.EARLY, _S.CONFIRMED): Step.TAKE_SIP_ANSWER,
    (_M.ACTIVE, _D.EARLY, _S.CONFIRMED): Step.TAKE_SIP_ANSWER,
    # A telephone calls.
    (_M.PREPARING, _D.NONE, _S.INVITED): Step.OFFER_FROM_SIP,
    (_M.READY, _D.MATRIX_OFFER, _S.INVITED): Step.INVITE_MATRIX,
    (_M.ACTIVE, _D.MATRIX_OFFER, _S.INVITED): Step.TAKE_MATRIX_ANSWER,
    (_M.ACTIVE, _D.AGREED, _S.INVITED): Step.ANSWER_SIP,
    (_M.ACTIVE, _D.CONNECTED, _S.INVITED): Step.ANSWER_SIP,
    # The same, where the INVITE has no offer.
    (_M.PREPARING, _D.NONE, _S.INVITED_OFFERLESS): Step.OFFER_FROM_SIP,
    (_M.READY, _D.MATRIX_OFFER, _S.INVITED_OFFERLESS): Step.INVITE_MATRIX,
    (_M.ACTIVE, _D.MATRIX_OFFER, _S.INVITED_OFFERLESS): Step.TAKE_MATRIX_ANSWER,
    (_M.ACTIVE, _D.SIP_OFFER, _S.INVITED_OFFERLESS): Step.ANSWER_SIP,
    (_M.ACTIVE, _D.SIP_OFFER, _S.CONFIRMED): Step.TAKE_SIP_ANSWER,
    # A person asked to be called, and then connected (RFC 3725, flow I; here, the one who is called
    # first is offered all that we can).
    (_M.PREPARING, _D.NONE, _S.IDLE): Step.OFFER_FROM_SIP,
    (_M.READY, _D.MATRIX_OFFER, _S.IDLE): Step.INVITE_PERSON,
    (_M.ACTIVE, _D.MATRIX_OFFER, _S.IDLE): Step.TAKE_MATRIX_ANSWER,
    (_M.ACTIVE, _D.SIP_OFFER, _S.IDLE): Step.INVITE_SIP,
    # The same, where the number itself calls before anybody rings.
    (_M.JOINING, _D.NONE, _S.INVITED): Step.OFFER_FROM_SIP,
    (_M.JOINING, _D.NONE, _S.INVITED_OFFERLESS): Step.OFFER_FROM_SIP,
    (_M.READY, _D.NONE, _S.INVITED): Step.OFFER_FROM_SIP,
    (_M.READY, _D.NONE, _S.INVITED_OFFERLESS): Step.OFFER_FROM_SIP,
    # Both call at once (setup glare).
    (_M.INVITED, _D.NONE, _S.INVITED): Step.JOIN,
    (_M.INVITED, _D.AGREED, _S.INVITED): Step.ANSWER_SIP,
    (_M.INVITED, _D.CONNECTED, _S.INVITED): Step.ANSWER_SIP,
    (_M.INVITED, _D.AGREED, _S.ANSWERED): Step.ANSWER_MATRIX,
    (_M.INVITED, _D.CONNECTED, _S.ANSWERED): Step.ANSWER_MATRIX,
    # Both call at once, and the INVITE has no offer.
    (_M.INVITED, _D.NONE, _S.INVITED_OFFERLESS): Step.OFFER_FROM_MATRIX,
    (_M.INVITED, _D.SIP_OFFER, _S.INVITED_OFFERLESS): Step.ANSWER_SIP,
}
"""By the states of the Matrix leg, the media session and the SIP leg."""

UP: frozenset[tuple[State, State, State]] = frozenset(
    (matrix, media, _S.CONFIRMED)
    for matrix in (_M.ANSWERED, _M.ACTIVE)
    for media in (_D.AGREED, _D.CONNECTED)
)
"""Where both legs are connected: the call counts as answered, and may be renegotiated."""

MATRIX_ENDS: Mapping[State, type | State] = {
    _M.PREPARING: _M.TELLING,
    _M.JOINING: _M.ENDED,
    _M.READY: _M.ENDED,
    _M.INVITING: c.SendMatrixHangup,
    _M.INVITED: c.SendMatrixReject,
    _M.ANSWERED: c.SendMatrixHangup,
    _M.ACTIVE: c.SendMatrixHangup,
}
"""How the leg is ended from our side: by a command, or by just going to a state. A v0 client knows
no reject and gets a hangup instead."""

SIP_ENDS: Mapping[State, type | State] = {
    _S.IDLE: _S.ENDED,
    _S.CALLING: c.CancelSip,
    _S.PROCEEDING: c.CancelSip,
    _S.INVITED: c.RejectSip,
    _S.INVITED_OFFERLESS: c.RejectSip,
    _S.ANSWERED: _S.CLOSING,
    _S.CONFIRMED: c.ByeSip,
    _S.REFERRING: c.ByeSip,
    _S.AWAITING: c.ByeSip,
    _S.PASSING: c.ByeSip,
    _S.PROMISED: _S.ENDED,
}
"""How the leg is ended from our side; states that are missing are already on their way."""
