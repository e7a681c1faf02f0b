# SPDX-License-Identifier: GPL-3.0-or-later
"""Voicemail, as people set it with the bot."""

from typing import Final

from bridge.call.ids import UserId
from bridge.matrix.bot.commands import Misused, Request, switch
from bridge.matrix.bot.reply import Question, Reply
from bridge.voicemail import VoicemailDesk, VoicemailStatus

_NONE: Final = "There is no voicemail here: the bridge's administrator allows none."
_ASK: Final = (
    "Send me what callers shall hear, as a voice message or an audio file of at most a minute."
    " Or say `cancel`."
)
_NO_AUDIO: Final = "That was no audio. Say `voicemail greeting` when you want to try again."
_WHEN: Final = {
    "do_not_disturb": "while you do not want to be disturbed",
    "busy": "when you are busy",
    "declined": "when you decline",
}


async def voicemail(request: Request) -> Reply:
    """All that is asked of it."""
    desk, person = request.desk.voicemail, request.person
    status = desk.status(person)
    if status is None:
        return Reply(_NONE)
    match [word.lower() for word in request.words]:
        case [] | ["status"]:
            return Reply(summary(status))
        case ["greeting"]:
            return Reply(_ASK, question=_question(desk, person))
        case ["greeting", "remove"]:
            await desk.set_greeting(person, None)
            return Reply("Callers hear three tones now, and then the beep.")
        case ["delay", seconds]:
            await desk.set_delay(person, _seconds(seconds))
        case [_]:
            await desk.switch(person, switch(request.words))
        case _:
            raise Misused("What about voicemail?")
    return Reply(in_force(desk, person))


def _question(desk: VoicemailDesk, person: UserId) -> Question:
    async def heard(audio: bytes) -> Reply:
        seconds = await desk.set_greeting(person, audio)
        return Reply(f"That is what callers hear now: {seconds:.0f} s. {in_force(desk, person)}")

    async def read(text: str) -> Reply:
        return Reply(_NO_AUDIO)

    return Question(read, heard=heard)


def in_force(desk: VoicemailDesk, person: UserId) -> str:
    """How it stands, now that something was changed."""
    status = desk.status(person)
    return _NONE if status is None else summary(status)


def summary(status: VoicemailStatus) -> str:
    """In a few sentences."""
    if not status.on:
        return "Voicemail is off. `voicemail on` lets callers leave you messages."
    hear = "your greeting" if status.own_greeting else "three tones"
    when = [words for name, words in _WHEN.items() if name in status.answers]
    if "no_answer" in status.answers:
        when.insert(0, f"when you do not within {status.delay:.0f} s")
    return (
        f"Voicemail is on. It answers {', '.join(when)}. Callers hear {hear} and a beep."
        " `voicemail off` ends it."
    )


def _seconds(word: str) -> float | None:
    if word == "default":
        return None
    if not word.isdecimal() or len(word) > 4:
        raise Misused("How many seconds?")
    return float(word)
