# SPDX-License-Identifier: GPL-3.0-or-later
"""What the person reads about a call, written into the portal by the ghost.

Only what their client does not show already: why a call failed, that they missed one, and, if that
is wanted, how long they talked.
"""

from dataclasses import dataclass
from enum import Enum

from bridge.call.causes import MEANINGS, Cause
from bridge.call.ids import Address
from bridge.call.leg import Over

TIME = "{time}"
"""Stands in a notice for the time of day, which the core does not know."""
MISSED_WHILE_BUSY = f"You missed another call from here at {TIME} while you were in this one."
SOON_OVER = "In a minute, this call ends: the time for calls is used up."
_MISSED = f"You missed a call at {TIME}"
NOT_TRANSFERRED = "The call could not be transferred."
TO_NOBODY = "Calls can only be transferred to people, telephone numbers and SIP addresses."
CANNOT_BE_CALLED = "The call could not be transferred: this person cannot be called."
SOMEBODY_ELSE = "Somebody else answered this call."
_NOT_TAKEN = {
    Cause.NO_ANSWER: "nobody answered",
    Cause.DECLINED: "it was declined",
    Cause.BUSY: "the line was busy",
    Cause.NOT_IN_SERVICE: "the number is not in service",
}
_DECLINED = (Cause.NORMAL, Cause.DECLINED)
"""Ends of a call that rings the person, if they brought them about."""


class Notices(Enum):
    """How much the person reads."""

    NONE = "none"
    ERRORS = "errors"
    """Why a call failed, and that one was missed."""
    ALL = "all"
    """Also how long they talked, and who forwarded a call to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """How far a call had come when it ended. Times are seconds."""

    inbound: bool
    """Whether the telephone called."""
    called: bool
    """Whether the person was being called, and had not answered."""
    rang: float
    """For how long it rang at the person's devices."""
    talked: float | None
    """For how long both sides were connected; None if they were not."""
    unheard: str = ""
    """In a sentence, who was not heard to the end, and why."""


def forwarded_by(address: Address) -> str:
    """That the call which rings was meant for somebody else at first."""
    return f"This call was forwarded from {address.partition(':')[2]}."


def not_taken(cause: Cause) -> str:
    """That whoever the call was transferred to did not take it."""
    why = _NOT_TAKEN.get(cause)
    return f"{NOT_TRANSFERRED.removesuffix('.')}: {why}." if why else NOT_TRANSFERRED


def last_words(level: Notices, over: Over, past: Past) -> str:
    """What to tell about the end of a call; empty: nothing."""
    if level is Notices.NONE:
        return ""
    if past.called:
        return _missed(over, past) if past.inbound else _not_come(over)
    # What the client itself reports, it shows itself.
    theirs = over.by == "matrix" and over.cause is not Cause.UNDELIVERABLE
    sentence = "" if theirs else MEANINGS[over.cause].sentence
    if over.cause is Cause.NORMAL and past.talked is not None:
        sentence = past.unheard
    if past.talked is None or level is not Notices.ALL:
        return sentence
    talked = spelled(past.talked)
    return f"{sentence} You talked for {talked}." if sentence else f"Call ended after {talked}."


def _missed(over: Over, past: Past) -> str:
    """A call that the person did not answer."""
    if over.cause is Cause.ANSWERED_ELSEWHERE:
        return SOMEBODY_ELSE if past.rang else ""
    declined = over.by == "matrix" and over.cause in _DECLINED
    if declined or over.cause is Cause.FORWARDED:
        return ""
    why = MEANINGS[over.cause].missed
    if why:
        return f"{_MISSED}: {why}."
    return f"{_MISSED}. It rang for {spelled(past.rang)}." if past.rang >= 1 else f"{_MISSED}."


def _not_come(over: Over) -> str:
    """A call that the person asked for, and did not answer when it rang."""
    theirs = over.by == "matrix" or over.cause is Cause.NO_ANSWER
    return "" if theirs else MEANINGS[over.cause].sentence


def spelled(seconds: float) -> str:
    """A duration as people write it: `3 min 12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
