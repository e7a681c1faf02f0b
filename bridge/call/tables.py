# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a call's machines: in this state, this message leads to that state.

What the states and messages mean, and how the machines are coupled, is in states.py.
"""

from collections.abc import Mapping

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.states import (
    AFTER_491,
    ANOTHER_PARTY,
    EARLY,
    FROM_MATRIX,
    FROM_SIP,
    LET_GO,
    NOBODY_HERE,
    OF_A_REJECT,
    OF_ANOTHER,
    REFUSED,
    TO_OFFERLESS_INVITE,
    V0,
    WITH_OUR_OFFER,
    BothConnected,
    HandOver,
    MatrixState,
    MediaState,
    Message,
    PassOn,
    Promise,
    RenegotiationState,
    Settled,
    SetupGlare,
    SipState,
    State,
    SuccessionState,
    Table,
    TalksBeside,
)

_M, _S, _D, _R = MatrixState, SipState, MediaState, RenegotiationState
_N = SuccessionState

_MATRIX_OVER: Mapping[Message, State] = {
    e.MatrixHangupReceived: _M.ENDED,
    e.MatrixMemberLeft: _M.ENDED,
    c.SendMatrixHangup: _M.ENDED,
}

MATRIX: Table = {
    _M.PREPARING: {
        c.PreparePortal: _M.PREPARING,
        e.PersonInvited: _M.JOINING,
        e.PortalReady: _M.READY,
        e.PortalFailed: _M.ENDED,
    },
    _M.JOINING: {
        e.PortalReady: _M.READY,
        e.PortalFailed: _M.ENDED,
        e.MatrixMemberLeft: _M.ENDED,
    },
    _M.TELLING: {
        e.PersonInvited: _M.ENDED,
        e.PortalReady: _M.ENDED,
        e.PortalFailed: _M.ENDED,
    },
    _M.READY: {c.SendMatrixInvite: _M.INVITING, e.MatrixMemberLeft: _M.ENDED},
    _M.INVITING: {
        e.MatrixAnswerReceived: _M.ACTIVE,
        (c.SendMatrixSelectAnswer, OF_A_REJECT): _M.INVITING,
        (c.SendMatrixSelectAnswer, NOBODY_HERE): _M.INVITING,
        e.MatrixRejectReceived: _M.ENDED,
        **_MATRIX_OVER,
    },
    _M.INVITED: {
        c.SendMatrixAnswer: _M.ANSWERED,
        TalksBeside: _M.ACTIVE,
        (c.SendMatrixAnswer, V0): _M.ACTIVE,
        c.SendMatrixReject: _M.ENDED,
        **_MATRIX_OVER,
    },
    _M.ANSWERED: {
        c.SendMatrixAssertedIdentity: _M.ANSWERED,
        e.MatrixSelectAnswerReceived: _M.ACTIVE,
        (e.MatrixSelectAnswerReceived, ANOTHER_PARTY): _M.ENDED,
        **_MATRIX_OVER,
    },
    _M.ACTIVE: {
        c.SendMatrixSelectAnswer: _M.ACTIVE,
        c.SendMatrixAssertedIdentity: _M.ACTIVE,
        **_MATRIX_OVER,
    },
    _M.ENDED: {},
}

_SIP_OUT: Mapping[Message, State] = {
    e.SipProgressed: _S.PROCEEDING,
    e.SipAnswered: _S.CONFIRMED,
    c.CancelSip: _S.CANCELLING,
    e.SipEnded: _S.ENDED,
}

_SIP_IN: Mapping[Message, State] = {
    c.AnswerSip: _S.ANSWERED,
    c.RejectSip: _S.ENDING,
    e.SipCancelled: _S.ENDING,
    e.SipEnded: _S.ENDED,
}

_SIP_UP: Mapping[Message, State] = {c.ByeSip: _S.ENDING, e.SipEnded: _S.ENDED}

SIP: Table = {
    _S.IDLE: {c.SendSipInvite: _S.CALLING, Promise: _S.PROMISED},
    _S.CALLING: _SIP_OUT,
    _S.PROCEEDING: _SIP_OUT,
    _S.INVITED: {c.SendSipProgress: _S.INVITED, **_SIP_IN},
    _S.INVITED_OFFERLESS: {c.SendSipProgress: _S.INVITED_OFFERLESS, **_SIP_IN},
    _S.ANSWERED: {e.SipConfirmed: _S.CONFIRMED, **_SIP_UP},
    _S.CONFIRMED: {
        c.SendSipKey: _S.CONFIRMED,
        e.SipKeyPressed: _S.CONFIRMED,
        c.AskSipForPicture: _S.CONFIRMED,
        c.AskSipIfThere: _S.CONFIRMED,
        e.SipPictureWanted: _S.CONFIRMED,
        c.ReferSip: _S.REFERRING,
        c.NotifySip: _S.CONFIRMED,
        HandOver: _S.AWAITING,
        PassOn: _S.PASSING,
        **_SIP_UP,
    },
    _S.REFERRING: {
        (e.SipReferProgressed, REFUSED): _S.CONFIRMED,
        c.NotifySip: _S.REFERRING,
        **_SIP_UP,
    },
    _S.AWAITING: {c.NotifySip: _S.AWAITING, Settled: _S.CONFIRMED, **_SIP_UP},
    _S.PASSING: {
        c.SendSipKey: _S.PASSING,
        e.SipKeyPressed: _S.PASSING,
        c.AskSipForPicture: _S.PASSING,
        c.AskSipIfThere: _S.PASSING,
        e.SipPictureWanted: _S.PASSING,
        c.NotifySip: _S.PASSING,
        Settled: _S.CONFIRMED,
        **_SIP_UP,
    },
    _S.PROMISED: {Settled: _S.ENDED},
    _S.CANCELLING: {e.SipAnswered: _S.CONFIRMED, e.SipEnded: _S.ENDED},
    _S.CLOSING: {e.SipConfirmed: _S.CONFIRMED, **_SIP_UP},
    _S.ENDING: {e.SipEnded: _S.ENDED},
    _S.ENDED: {},
}

_MEDIA_OPEN: Mapping[Message, State] = {c.CloseMedia: _D.CLOSING}

_MEDIA_OFFERED: Mapping[Message, State] = {SetupGlare: _D.NONE, **_MEDIA_OPEN}

MEDIA: Table = {
    _D.NONE: {
        (c.OfferMedia, FROM_MATRIX): _D.MAKING_SIP_OFFER,
        (c.OfferMedia, FROM_SIP): _D.MAKING_MATRIX_OFFER,
        c.JoinMedia: _D.JOINING,
        c.BridgeMedia: _D.NONE,
    },
    _D.MAKING_SIP_OFFER: {
        e.MediaOfferReady: _D.SIP_OFFER,
        e.MediaAnswerReady: _D.SIP_OFFER,
        **_MEDIA_OFFERED,
    },
    _D.SIP_OFFER: {
        (c.AnswerMedia, EARLY): _D.MAKING_EARLY_ANSWER,
        (c.AnswerMedia, FROM_SIP): _D.MAKING_MATRIX_ANSWER,
        **_MEDIA_OFFERED,
    },
    _D.MAKING_EARLY_ANSWER: {
        e.MediaAnswerReady: _D.EARLY,
        e.MediaFailed: _D.SIP_OFFER,
        **_MEDIA_OPEN,
    },
    _D.EARLY: {
        (c.AnswerMedia, EARLY): _D.CHANGING_EARLY,
        (c.AnswerMedia, FROM_SIP): _D.MAKING_MATRIX_ANSWER,
        **_MEDIA_OPEN,
    },
    _D.CHANGING_EARLY: {
        e.MediaAnswerReady: _D.EARLY,
        e.MediaFailed: _D.EARLY,
        **_MEDIA_OPEN,
    },
    _D.MAKING_MATRIX_ANSWER: {e.MediaAnswerReady: _D.AGREED, **_MEDIA_OPEN},
    _D.MAKING_MATRIX_OFFER: {e.MediaOfferReady: _D.MATRIX_OFFER, **_MEDIA_OFFERED},
    _D.MATRIX_OFFER: {
        (c.AnswerMedia, FROM_MATRIX): _D.MAKING_SIP_ANSWER,
        (c.AnswerMedia, TO_OFFERLESS_INVITE): _D.MAKING_SIP_OFFER,
        **_MEDIA_OFFERED,
    },
    _D.MAKING_SIP_ANSWER: {e.MediaAnswerReady: _D.AGREED, **_MEDIA_OPEN},
    _D.JOINING: {e.MediaJoined: _D.AGREED, **_MEDIA_OPEN},
    _D.AGREED: {e.MediaConnected: _D.CONNECTED, c.BridgeMedia: _D.CONNECTED, **_MEDIA_OPEN},
    _D.CONNECTED: {
        c.PlayKey: _D.CONNECTED,
        c.RefreshPicture: _D.CONNECTED,
        c.BridgeMedia: _D.CONNECTED,
        **_MEDIA_OPEN,
    },
    _D.CLOSING: {e.MediaClosed: _D.CLOSED},
    _D.CLOSED: {},
}

_BACK: Mapping[Message, State] = {c.RollbackMedia: _R.STABLE}

RENEGOTIATION: Table = {
    _R.CLOSED: {BothConnected: _R.STABLE},
    _R.STABLE: {
        (c.OfferMedia, FROM_MATRIX): _R.MATRIX_OFFERED,
        (c.OfferMedia, FROM_SIP): _R.SIP_OFFERED,
        (c.OfferMedia, OF_ANOTHER): _R.CATCHING_UP,
        c.SwitchMedia: _R.SWITCHING,
        (c.SendSipReinvite, OF_ANOTHER): _R.MOVING,
    },
    _R.MATRIX_OFFERED: {
        c.SendSipReinvite: _R.REINVITING,
        (c.AnswerMedia, FROM_SIP): _R.ANSWERING_MATRIX,
        c.SendMatrixNegotiate: _R.STABLE,
        **_BACK,
    },
    _R.REINVITING: {
        (c.AnswerMedia, FROM_SIP): _R.ANSWERING_MATRIX,
        (c.RollbackMedia, AFTER_491): _R.BACKOFF,
        (c.RollbackMedia, LET_GO): _R.STABLE,
    },
    _R.BACKOFF: {
        (c.OfferMedia, FROM_MATRIX): _R.MATRIX_OFFERED,
        (c.OfferMedia, FROM_SIP): _R.SIP_OFFERED,
        c.SwitchMedia: _R.SWITCHING,
        (c.SendSipReinvite, OF_ANOTHER): _R.MOVING,
    },
    _R.MOVING: {
        e.SipReinviteAnswered: _R.STABLE,
        e.SipReinviteFailed: _R.STABLE,
        (e.SipReinviteFailed, AFTER_491): _R.BACKOFF,
    },
    _R.ANSWERING_MATRIX: {c.SendMatrixNegotiate: _R.STABLE, e.MediaAnswerReady: _R.STABLE},
    _R.SIP_OFFERED: {
        c.SendMatrixNegotiate: _R.NEGOTIATING,
        (c.AnswerMedia, FROM_MATRIX): _R.ANSWERING_SIP,
        c.AnswerSipReinvite: _R.STABLE,
        (c.AnswerSipReinvite, WITH_OUR_OFFER): _R.AWAITING_ANSWER,
        **_BACK,
    },
    _R.NEGOTIATING: {(c.AnswerMedia, FROM_MATRIX): _R.ANSWERING_SIP, **_BACK},
    _R.ANSWERING_SIP: {
        c.AnswerSipReinvite: _R.STABLE,
        (c.AnswerSipReinvite, WITH_OUR_OFFER): _R.AWAITING_ANSWER,
        **_BACK,
    },
    _R.AWAITING_ANSWER: {(c.AnswerMedia, FROM_SIP): _R.FINISHING, **_BACK},
    _R.FINISHING: {e.MediaAnswerReady: _R.STABLE},
    _R.SWITCHING: {e.MediaSwitched: _R.STABLE, e.MediaFailed: _R.STABLE},
    _R.CATCHING_UP: {
        c.SendMatrixNegotiate: _R.TELLING,
        (c.AnswerMedia, FROM_MATRIX): _R.TOLD,
        **_BACK,
    },
    _R.TELLING: {(c.AnswerMedia, FROM_MATRIX): _R.TOLD, **_BACK},
    _R.TOLD: {e.MediaAnswerReady: _R.STABLE},
}

SUCCESSION: Table = {
    _N.NONE: {
        c.OfferSuccessor: _N.OFFERING,
        e.SipInviteReceived: _N.CHANGING,
    },
    _N.OFFERING: {e.MediaOfferReady: _N.OFFERED, c.DropSuccessor: _N.NONE},
    _N.OFFERED: {
        c.OfferSuccessor: _N.OFFERING,
        e.SipAnswered: _N.CHANGING,
        e.SipConfirmed: _N.CHANGING,
        c.DropSuccessor: _N.NONE,
    },
    _N.CHANGING: {e.MediaSwitched: _N.NONE, c.DropSuccessor: _N.NONE},
}
