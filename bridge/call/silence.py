# SPDX-License-Identifier: GPL-3.0-or-later
"""Sides from which nothing comes although it should: since when, why, and what follows from it.

The engine tells that nothing comes; where one is on hold, nothing is missed. Silence alone ends no
call: who is muted may send nothing at all. But of whom nothing comes for very long, neither audio
nor reports nor anything by SIP, is asked; and who does not answer has gone. Of the client, ICE
finds that out (RFC 7675).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from bridge.call.causes import Cause
from bridge.call.commands import RecordQuality, RecordSilence
from bridge.call.events import MediaAudible, MediaFault, MediaMeasured, MediaSilent
from bridge.call.ids import CallId, Side
from bridge.call.leg import Over
from bridge.call.machine import Effects
from bridge.call.quality import Flow, Opinion, flows

Heard = MediaSilent | MediaAudible | MediaMeasured
"""What the engine tells of what it hears."""
_LONG = 20.0
"""Seconds at the end of a call, without a sign of who was heard before, that are told."""


class Silence(Enum):
    """The likely cause."""

    NO_ICE_PAIR = "no_ice_pair"
    """Client and bridge have found no way for audio."""
    NO_DTLS = "no_dtls"
    """There is a way, but no keys were agreed on."""
    WRONG_KEY = "wrong_key"
    """What comes cannot be decrypted."""
    UNEXPECTED_ADDRESS = "unexpected_address"
    """Audio comes from where it is not expected."""
    MUTED = "muted"
    """The client has said that it is muted."""
    NEVER_SENT = "never_sent"
    """Nothing has ever come."""
    STOPPED = "stopped"
    """Nothing comes any more."""


_HURDLES = {
    MediaFault.ICE_FAILED: Silence.NO_ICE_PAIR,
    MediaFault.DTLS_FAILED: Silence.NO_DTLS,
}
_NOT_HEARD = {
    Side.MATRIX: "You could not be heard",
    Side.SIP: "The other side could not be heard",
}
_WHY = {
    (Side.MATRIX, Silence.NO_ICE_PAIR): "no way was found for audio from your device.",
    (Side.MATRIX, Silence.NO_DTLS): "your device and the bridge could not agree on keys.",
    (Side.MATRIX, Silence.WRONG_KEY): "your device's audio could not be decrypted.",
    (Side.MATRIX, Silence.NEVER_SENT): "your device sent no audio; may it use the microphone?",
    (Side.SIP, Silence.WRONG_KEY): "its audio could not be decrypted.",
    (Side.SIP, Silence.UNEXPECTED_ADDRESS): "its audio came from an unexpected address.",
    (Side.SIP, Silence.NEVER_SENT): "it sent no audio.",
}


def cause_of(event: MediaSilent, *, muted: bool) -> Silence:
    """Why nothing is heard, most likely. `muted`: the client has said that it is."""
    if event.hurdle in _HURDLES:
        return _HURDLES[event.hurdle]
    if event.undecipherable:
        return Silence.WRONG_KEY
    if event.strangers:
        return Silence.UNEXPECTED_ADDRESS
    if muted and event.side is Side.MATRIX:
        return Silence.MUTED
    return Silence.STOPPED if event.heard else Silence.NEVER_SENT


@dataclass(frozen=True, slots=True)
class _Spell:
    """A side is not heard."""

    cause: Silence
    since: float


class Listener:
    """What is heard in one call."""

    def __init__(self, effects: Effects, call: CallId, ask: Callable[[], bool]) -> None:
        """`ask`: has the telephone asked whether it is there; False where that cannot be done."""
        self.flows: dict[Side, Flow] = {}
        """What was measured last, by the side that it comes from."""
        self._effects = effects
        self._call = call
        self._longest = effects.limits.vanished_after
        self._opinion = Opinion()
        self._spells: dict[Side, _Spell] = {}
        self._statistics: dict[str, int | float | str] = {}
        self._muted = False
        self._sign = 0.0
        """When something of the telephone came last, while it is not heard."""
        self._ask = ask
        self._asked = False
        """Whether it was asked since."""

    def mute(self, *, muted: bool) -> None:
        """The client has muted itself, or not any more."""
        self._muted = muted

    def handle(self, event: Heard) -> None:
        """Take what the engine tells of what it hears."""
        match event:
            case MediaSilent():
                self._falls_silent(event)
            case MediaAudible(side=side):
                self._is_over(side)
            case _:
                self._measured(event)

    def _falls_silent(self, event: MediaSilent) -> None:
        side, cause = event.side, cause_of(event, muted=self._muted)
        known = self._spells.get(side)
        since = known.since if known else self._effects.now - event.seconds
        self._spells[side] = _Spell(cause, since)
        if side is Side.SIP and known is None:
            self._sign, self._asked = since, False
        if known is None or known.cause is not cause:
            self._effects.emit(RecordSilence(call=self._call, side=side, cause=cause.value))

    def _is_over(self, side: Side) -> None:
        spell = self._spells.pop(side, None)
        if spell is None:
            return
        name = f"{side.value}_silent_s"
        seconds = float(self._statistics.get(name, 0.0)) + self._effects.now - spell.since
        self._statistics[name] = round(seconds, 1)
        self._statistics[f"{side.value}_silence"] = spell.cause.value

    def _measured(self, event: MediaMeasured) -> None:
        if event.sip.reports or event.sip.packets:
            self.sign()
        self.flows = flows({Side.MATRIX: event.matrix, Side.SIP: event.sip})
        self._opinion.add(self.flows)
        matrix, sip = self.flows[Side.MATRIX], self.flows[Side.SIP]
        self._effects.emit(RecordQuality(call=self._call, matrix=matrix, sip=sip))

    def sign(self) -> None:
        """The telephone is there: it has said something, by RTCP or SIP."""
        self._sign, self._asked = self._effects.now, False

    @property
    def unheard(self) -> dict[Side, Silence]:
        """Who is not heard, and why."""
        return {side: spell.cause for side, spell in self._spells.items()}

    @property
    def deadline(self) -> float | None:
        """When the telephone, of which nothing comes, is asked, or then counts as gone."""
        if self._longest is None or Side.SIP not in self._spells:
            return None
        answer = self._effects.timeouts.options if self._asked else 0.0
        return self._sign + self._longest + answer

    def expire(self) -> Over | None:
        """The telephone is to be asked, or has gone, if it is that late."""
        if self.deadline is None or self.deadline > self._effects.now:
            return None
        if self._asked:
            return Over(cause=Cause.CONNECTION_LOST, by="media")
        self._asked = self._ask()
        if not self._asked:  # It is about to leave, or to come back, for which there is a time.
            self.sign()
        return None

    def close(self) -> str:
        """The call is over; what to tell of it, empty if nothing was wrong to the end."""
        sentence = self._sentence()
        for side in Side:
            self._is_over(side)
        return sentence

    def statistics(self) -> dict[str, int | float | str]:
        """For the record: `S_mos`, `S_mos_least`, `S_silence`, `S_silent_s`."""
        return {**self._opinion.statistics(), **self._statistics}

    def _sentence(self) -> str:
        for side in (Side.SIP, Side.MATRIX):
            spell = self._spells.get(side)
            why = _WHY.get((side, spell.cause)) if spell else None
            if why is not None:
                return f"{_NOT_HEARD[side]}: {why}"
        gone = Side.SIP in self._spells and self._effects.now - self._sign >= _LONG
        return f"{_NOT_HEARD[Side.SIP]} any more." if gone else ""
