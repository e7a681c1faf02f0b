# SPDX-License-Identifier: GPL-3.0-or-later
"""What everybody may ask of the bot. Every command is a function of a `Request`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bridge.call.causes import Cause
from bridge.call.ids import Direction, UserId
from bridge.call.limits import Allowance
from bridge.call.notices import spelled
from bridge.call.policy import Access
from bridge.call.view import CallView
from bridge.errors import NotDone
from bridge.matrix.bot.reply import Reply
from bridge.numbers import international
from bridge.ports import Desk
from bridge.records import CallRecord
from bridge.voicemail import VoicemailStatus

_CALLS: Final = 10
_MOST_CALLS: Final = 50
_OFF: Final = ("off", "no", "none")
_ON: Final = ("on", "yes")
_SHOWN: Final = {
    None: "as the bridge is set up",
    True: "hidden from those whom you call",
    False: "shown to those whom you call",
}
_UNANSWERED: Final = {
    Cause.CANCELLED.value: "missed",
    Cause.NO_ANSWER.value: "missed",
    Cause.NORMAL.value: "missed",
    Cause.ANSWERED_ELSEWHERE.value: "answered by somebody else",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A command that somebody gave, and what it is about."""

    person: UserId
    words: tuple[str, ...]
    """What follows the command's name."""
    desk: Desk

    @property
    def access(self) -> Access:
        """What the person may do."""
        return self.desk.access(self.person)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of the bot. `run` raises `NotDone` with a sentence for the person."""

    usage: str
    """What follows the name, as `help` shows it."""
    help: str
    """A sentence in the imperative."""
    access: Access = Access.RECEIVE
    """What a person must be permitted for it."""
    run: Callable[[Request], Awaitable[Reply]]


class Misused(NotDone):
    """The command was not understood; the bot shows its usage."""


async def call(request: Request) -> Reply:
    """Ring the person, then the number."""
    if not request.words:
        raise Misused("Which number?")
    address = request.desk.call(request.person, " ".join(request.words))
    return Reply(
        f"Your client rings now. As soon as you answer, {international(address)} is called."
    )


async def calls(request: Request) -> Reply:
    """The person's history."""
    records = await request.desk.history(request.person, _count(request.words))
    if not records:
        return Reply("You have had no calls yet.")
    mine = (_past(record, own=record.person == request.person) for record in records)
    return Reply("Your latest calls:", tuple(mine))


async def status(request: Request) -> Reply:
    """How things stand for the person."""
    desk, person = request.desk, request.person
    settings, account, trunks = desk.settings(person), desk.account(person), desk.trunks()
    mine = [(view, seconds) for view, seconds in desk.active() if view.person == person]
    forward = "off" if settings.forward is None else f"to {international(settings.forward)}"
    working = sum(trunk.works for trunk in trunks)
    return Reply(
        _may(request.access),
        (
            f"Do not disturb: {'on' if settings.dnd else 'off'}",
            f"Forwarding: {forward}",
            *_voicemail(desk.voicemail.status(person)),
            f"Your number: {_SHOWN[settings.withhold]}",
            "Your own SIP account: "
            + (f"`{account.name}`, {account.state}" if account else "none"),
            f"Trunks that work: {working} of {len(trunks)}",
            *_left(desk.left(person), request.access),
            *(f"In a call: {current(view, seconds)}" for view, seconds in mine),
        ),
    )


def _left(allowance: Allowance, access: Access) -> Sequence[str]:
    """What the person may do yet, if they may call at all."""
    if access < Access.CALL:
        return ()
    calls = f"Calls that you may have besides: {allowance.calls}"
    if allowance.seconds is None:
        return (calls,)
    return (calls, f"Time left for calls, of 24 hours: {spelled(allowance.seconds)}")


def _voicemail(status: VoicemailStatus | None) -> Sequence[str]:
    if status is None:
        return ()
    return (f"Voicemail: {f'on, after {status.delay:.0f} s' if status.on else 'off'}",)


async def dnd(request: Request) -> Reply:
    """Do not disturb."""
    if request.words:
        await request.desk.set_dnd(request.person, switch(request.words))
    if request.desk.settings(request.person).dnd:
        taken = request.desk.voicemail.status(request.person)
        hear = "get your voicemail" if taken and taken.on else "hear that you cannot be reached"
        return Reply(f"Do not disturb is on: callers {hear}. `dnd off` ends it.")
    return Reply("Do not disturb is off: your calls ring.")


async def forward(request: Request) -> Reply:
    """Forwarding."""
    if request.words:
        off = [word.lower() for word in request.words] in [[word] for word in _OFF]
        number = None if off else " ".join(request.words)
        await request.desk.set_forward(request.person, number)
    target = request.desk.settings(request.person).forward
    if target is None:
        return Reply("Your calls are not forwarded.")
    return Reply(f"Your calls are forwarded to {international(target)}. `forward off` ends it.")


async def withhold(request: Request) -> Reply:
    """Whether those who are called see the person's number."""
    if request.words:
        word = " ".join(request.words).lower()
        on = None if word == "default" else switch(request.words)
        await request.desk.set_withhold(request.person, on)
    chosen = request.desk.settings(request.person).withhold
    return Reply(f"Your number: {_SHOWN[chosen]}.")


def current(view: CallView, seconds: float) -> str:
    """A call that goes on: with whom, how far, for how long."""
    arrow = "to" if view.direction is Direction.TO_SIP else "from"
    return f"{arrow} {international(view.address)}, {view.state}, {_clock(seconds)}"


def _may(access: Access) -> str:
    match access:
        case Access.ADMIN:
            return "You may call, be called, and look after the bridge."
        case Access.CALL:
            return "You may call and be called."
        case _:
            return "You may be called, but not call."


def _past(record: CallRecord, *, own: bool) -> str:
    """A call of the past. `own`: the person had it, not somebody else at whom it rang as well."""
    when = f"{datetime.fromtimestamp(record.started_at):%Y-%m-%d %H:%M}"
    way = "to" if record.direction is Direction.TO_SIP else "from"
    return f"{when} {way} {international(record.address)}, {_outcome(record, own=own)}"


def _outcome(record: CallRecord, *, own: bool) -> str:
    if record.answered_at is not None and not own:
        return _UNANSWERED[Cause.ANSWERED_ELSEWHERE.value]
    if record.ended_at is None:
        return "not over"
    if record.answered_at is not None and record.cause == Cause.VOICEMAIL.value:
        there = record.ended_at - record.answered_at
        return f"voicemail{_message(record.message_s, there)}"
    if record.answered_at is not None:
        return f"talked {_clock(record.ended_at - record.answered_at)}"
    cause = record.cause or "unknown"
    if record.direction is Direction.TO_MATRIX and cause in _UNANSWERED:
        return _UNANSWERED[cause]
    return cause.replace("_", " ")


def _message(seconds: float | None, there: float) -> str:
    """What voicemail recorded; for how long the caller was there, as long as that is not known."""
    if seconds is None:
        return f" {_clock(there)}"
    return f", message of {_clock(seconds)}" if seconds else ", no message"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _count(words: tuple[str, ...]) -> int:
    if not words:
        return _CALLS
    if len(words) > 1 or not words[0].isdecimal() or not 0 < int(words[0]) <= _MOST_CALLS:
        raise Misused(f"How many? A number from 1 to {_MOST_CALLS}.")
    return int(words[0])


def switch(words: tuple[str, ...]) -> bool:
    """On or off. Raises `Misused`."""
    word = " ".join(words).lower()
    if word not in (*_ON, *_OFF):
        raise Misused("`on` or `off`?")
    return word in _ON
