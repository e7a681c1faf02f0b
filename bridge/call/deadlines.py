# SPDX-License-Identifier: GPL-3.0-or-later
"""How long each state may last, so that nothing waits for ever for what was lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bridge.call.policy import Limits
from bridge.call.states import (
    MatrixState,
    MediaState,
    RenegotiationState,
    SipState,
    State,
    SuccessionState,
)
from bridge.call.voicemail_states import VoicemailState


class Deadline(Enum):
    """How long a state may last; what these come to is `Timeouts` and the policy's limits."""

    TELL = "tell"
    MEDIA = "media"
    RING = "ring"
    SETUP = "setup"
    CONFIRM = "confirm"
    CONNECT = "connect"
    DURATION = "duration"
    TRANSFER = "transfer"
    NEGOTIATE = "negotiate"
    REINVITE = "reinvite"
    BACKOFF = "backoff"
    END = "end"
    CLOSE = "close"
    PLAY = "play"
    RECORD = "record"


DEADLINES: Mapping[State, Deadline] = {
    MatrixState.PREPARING: Deadline.RING,
    MatrixState.JOINING: Deadline.RING,
    MatrixState.TELLING: Deadline.TELL,
    MatrixState.INVITING: Deadline.RING,
    MatrixState.INVITED: Deadline.RING,
    SipState.IDLE: Deadline.SETUP,
    SipState.CALLING: Deadline.RING,
    SipState.PROCEEDING: Deadline.RING,
    SipState.INVITED: Deadline.SETUP,
    SipState.INVITED_OFFERLESS: Deadline.SETUP,
    SipState.ANSWERED: Deadline.CONFIRM,
    SipState.CONFIRMED: Deadline.DURATION,
    SipState.REFERRING: Deadline.TRANSFER,
    SipState.AWAITING: Deadline.TRANSFER,
    SipState.PASSING: Deadline.DURATION,
    SipState.PROMISED: Deadline.SETUP,
    SipState.CANCELLING: Deadline.END,
    SipState.CLOSING: Deadline.CONFIRM,
    SipState.ENDING: Deadline.END,
    MediaState.MAKING_SIP_OFFER: Deadline.MEDIA,
    MediaState.MAKING_EARLY_ANSWER: Deadline.MEDIA,
    MediaState.CHANGING_EARLY: Deadline.MEDIA,
    MediaState.MAKING_MATRIX_ANSWER: Deadline.MEDIA,
    MediaState.MAKING_MATRIX_OFFER: Deadline.MEDIA,
    MediaState.MAKING_SIP_ANSWER: Deadline.MEDIA,
    MediaState.JOINING: Deadline.MEDIA,
    MediaState.AGREED: Deadline.CONNECT,
    MediaState.CLOSING: Deadline.CLOSE,
    RenegotiationState.MATRIX_OFFERED: Deadline.MEDIA,
    RenegotiationState.REINVITING: Deadline.REINVITE,
    RenegotiationState.MOVING: Deadline.REINVITE,
    RenegotiationState.BACKOFF: Deadline.BACKOFF,
    RenegotiationState.ANSWERING_MATRIX: Deadline.MEDIA,
    RenegotiationState.SIP_OFFERED: Deadline.MEDIA,
    RenegotiationState.NEGOTIATING: Deadline.NEGOTIATE,
    RenegotiationState.ANSWERING_SIP: Deadline.MEDIA,
    RenegotiationState.AWAITING_ANSWER: Deadline.CONFIRM,
    RenegotiationState.FINISHING: Deadline.MEDIA,
    RenegotiationState.SWITCHING: Deadline.MEDIA,
    RenegotiationState.CATCHING_UP: Deadline.MEDIA,
    RenegotiationState.TELLING: Deadline.NEGOTIATE,
    RenegotiationState.TOLD: Deadline.MEDIA,
    SuccessionState.OFFERING: Deadline.MEDIA,
    VoicemailState.GREETING: Deadline.PLAY,
    VoicemailState.BEEPING: Deadline.PLAY,
    VoicemailState.RECORDING: Deadline.RECORD,
}
"""Two states in a row with the same deadline share it: it runs on. States that are missing last as
long as what they wait for, which has a deadline of its own: until it has ended, the SIP leg always
has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long things may take, in seconds. What people wait for is in the policy's limits."""

    tell: float = 30.0
    """Until there is a portal for no more than a notice."""
    media: float = 15.0
    """Until the media engine has an answer for us."""
    confirm: float = 35.0
    """Until the ACK to our 200 comes: 64 * T1 (RFC 3261 13.3.1.4) and a little."""
    connect: float = 30.0
    """Until audio can pass after offer and answer."""
    transfer: float = 30.0
    """Until we know what became of a transfer, besides the time that its target rings."""
    negotiate: float = 10.0
    """Until the client answers our `m.call.negotiate`: a re-INVITE waits meanwhile."""
    reinvite: float = 35.0
    """Until our re-INVITE has a final response: Timer B and a little."""
    options: float = 35.0
    """Until somebody of whom nothing comes has answered OPTIONS: Timer F and a little."""
    end: float = 40.0
    """Until a SIP leg that we ended is confirmed gone."""
    close: float = 10.0
    """Until the media session is closed."""
    play: float = 90.0
    """Until a greeting and the tone behind it were played."""
    record: float = 15.0
    """Until a message is recorded, besides the time that it may last."""
    invite_left: float = 3.0
    """An invite from a person with less of its lifetime left than this does not ring."""
    forget: float = 600.0
    """For this long, an ended call is remembered, so that a repeated invite does not ring again."""

    def seconds(self, deadline: Deadline, limits: Limits) -> float:
        """What a deadline comes to."""
        match deadline:
            case Deadline.RING:
                return limits.ring_time
            case Deadline.TRANSFER:
                return limits.ring_time + self.transfer
            case Deadline.DURATION:
                return limits.max_duration
            case Deadline.SETUP:
                # Once for the portal, which the person may have to join first, and once to ring.
                return 2 * limits.ring_time + 3 * self.media
            case _:
                return float(getattr(self, deadline.value))
