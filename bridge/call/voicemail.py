# SPDX-License-Identifier: GPL-3.0-or-later
"""Voicemail: the bridge takes a call that the person does not, and records what the caller says.

It does so by a leg in the person's place, which answers at once. Whoever answers first has the
call: a person's answer that comes later finds their call hung up.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from bridge.call.cause_mapping import from_fault
from bridge.call.causes import Cause
from bridge.call.commands import (
    DropVoicemail,
    EndAudio,
    KeepVoicemail,
    PlayAudio,
    PostVoicemail,
    RecordAudio,
)
from bridge.call.deadlines import Deadline
from bridge.call.events import MediaClosed, MediaEvent, MediaFailed, MediaPlayed, MediaRecorded
from bridge.call.ids import OpId, Side
from bridge.call.leg import Over
from bridge.call.machine import Effects, Machine
from bridge.call.states import MediaState, SipState
from bridge.call.voicemail_leg import VoicemailLeg
from bridge.call.voicemail_states import BEEP, VOICEMAIL, Taken, VoicemailState
from bridge.call.voicemail_terms import VoicemailTerms

if TYPE_CHECKING:
    from bridge.call.call import Call

_END = "#"
"""The key that ends the greeting, or the message."""
_RINGS = (SipState.INVITED, SipState.INVITED_OFFERLESS)
_S = VoicemailState
_HEARD = (_S.GREETING, _S.BEEPING, _S.RECORDING)


class Voicemail(Machine):
    """That of `call`. `terms`: None, if there is none. `has_room`: whether one more may speak."""

    def __init__(
        self,
        effects: Effects,
        call: "Call",
        terms: VoicemailTerms | None,
        has_room: Callable[[], bool],
    ) -> None:
        super().__init__(VOICEMAIL, _S.WAITING, effects)
        self.caller_name = ""
        self._call = call
        self._terms = terms
        self._has_room = has_room
        self._op: OpId | None = None
        self._missed = ""
        """What to tell the person if there is no message."""
        self._taken = False
        if terms is not None:
            self.deadline = effects.now + terms.delay

    # --- what the call wants --------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Whether it has taken the call."""
        return self._taken

    def answers(self, over: Over) -> bool:
        """Whether it would take a call that is over for the person."""
        call, terms = self._call, self._terms
        if terms is None or over.cause not in terms.causes or self.state is not _S.WAITING:
            return False
        unsaid = call.media.state is MediaState.NONE or call.media.can_restart
        unanswered = call.sip.state in _RINGS and not call.matrix.description
        return unanswered and unsaid and self._has_room()

    def takes(self, over: Over) -> bool:
        """Take the call, if it may; whether it has."""
        if not self.answers(over):
            return False
        call = self._call
        self._missed, self._taken = call.missed(over), True
        self.hears(Taken)
        call.matrix.end(over.cause, telling=True)
        call.matrix = VoicemailLeg(self._effects, call.id, call.matrix, call.address)
        call.media.restart()
        call.advance()
        return True

    def begin(self) -> None:
        """The caller is connected: greet them."""
        if self.state is _S.ANSWERING:
            assert self._terms is not None
            self.says(self._play(self._terms.greeting))

    def pressed(self, key: str) -> bool:
        """The caller pressed a key; whether it was meant for voicemail."""
        if key == _END and self.state in (_S.GREETING, _S.RECORDING):
            self.says(EndAudio(call=self._call.id, side=Side.SIP))
        return self._taken

    def named(self, cause: Cause) -> Cause:
        """How the end of the call is recorded."""
        return Cause.VOICEMAIL if cause is Cause.NORMAL and self.state in _HEARD else cause

    def close(self) -> str:
        """The call is over; what to tell the person now."""
        self.deadline = None
        if self.state is _S.RECORDING:
            return ""  # The engine completes the file, and tells what is in it.
        self.enter(_S.DONE)
        return self._take_missed()

    # --- what comes in --------------------------------------------------------------------

    def handle(self, event: MediaEvent) -> Over | None:
        """Take what the engine tells of the files."""
        recording = self.state is _S.RECORDING
        match event:
            case MediaPlayed(op=op) | MediaFailed(op=op) if op == self._op:
                return self._go_on(event)
            case MediaRecorded(op=op, sound=sound) if op == self._op and recording:
                return self._recorded(sound)
            case MediaClosed() if recording:
                return self._recorded(None)
        return None

    def expire(self) -> Over | None:
        """It has rung for long enough; or the engine says nothing."""
        match self.state:
            case _S.WAITING:
                self.deadline = None
                self.takes(Over(cause=Cause.NO_ANSWER, by="bridge"))
            case _S.GREETING:
                self._beep()
            case _S.BEEPING:
                self._record()
            case _:
                self.deadline = None
                return Over(cause=Cause.MEDIA_FAILED, by="media")
        return None

    def _go_on(self, event: MediaPlayed | MediaFailed) -> Over | None:
        """Something was played, or could not be."""
        match self.state:
            case _S.GREETING:
                self._beep()
            case _S.BEEPING:
                self._record()
            case _S.RECORDING if isinstance(event, MediaFailed):
                self._op = None
                self.says(DropVoicemail(call=self._call.id))
                return Over(cause=from_fault(event.fault), by="media")
        return None

    # --- inside ---------------------------------------------------------------------------

    def _play(self, file: str) -> PlayAudio:
        self._op = self._effects.op()
        return PlayAudio(call=self._call.id, op=self._op, side=Side.SIP, file=file)

    def _beep(self) -> None:
        assert self._terms is not None
        self.says(self._play(self._terms.beep), BEEP)

    def _record(self) -> None:
        call, terms = self._call, self._terms
        assert terms is not None
        file = f"{terms.folder}/{call.id}.ogg"
        self._effects.emit(
            KeepVoicemail(
                call=call.id,
                person=call.person,
                address=call.address,
                caller_name=self.caller_name,
                file=file,
            )
        )
        self._op = self._effects.op()
        self.says(
            RecordAudio(
                call=call.id,
                op=self._op,
                side=Side.SIP,
                file=file,
                longest=terms.longest,
                silence=terms.silence,
            )
        )

    def _recorded(self, sound: float | None) -> Over:
        """The file is complete. `sound`: seconds of it in it; None if nobody knows."""
        assert self._terms is not None
        self._op = None
        if sound is None or sound >= self._terms.shortest:
            self._missed = ""
            self.says(PostVoicemail(call=self._call.id))
        else:
            self.says(DropVoicemail(call=self._call.id))
        if self._call.over is not None and (missed := self._take_missed()):
            self._call.tell_missed(missed)
        return Over(cause=Cause.VOICEMAIL, by="bridge")

    def _take_missed(self) -> str:
        missed, self._missed = self._missed, ""
        return missed

    def _seconds(self, kind: Deadline) -> float:
        seconds = super()._seconds(kind)
        if kind is Deadline.RECORD and self._terms is not None:
            return seconds + self._terms.longest
        return seconds
