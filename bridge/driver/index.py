# SPDX-License-Identifier: GPL-3.0-or-later
"""Which call a fact is about, learnt from the core's own commands."""

from collections import OrderedDict
from collections.abc import Sequence

from bridge.call.commands import Command, RecordEnd, RecordLegs, SendCallEvent, SipCommand
from bridge.call.events import Event, MatrixCallEvent, SipEvent
from bridge.call.ids import CallId, LegId, MatrixCallKey

Key = LegId | MatrixCallKey

ENDED_KEPT = 256
"""Ended calls that are still known, as their last messages come late."""


class CallIndex:
    """Legs and Matrix calls by the bridged call that they belong to."""

    def __init__(self) -> None:
        self._calls: dict[Key, CallId] = {}
        self._keys: dict[CallId, set[Key]] = {}
        self._ended: OrderedDict[CallId, None] = OrderedDict()

    def call_of(self, event: Event) -> CallId | None:
        """The call that an event is about, if it is about one that is known."""
        call: CallId | None = getattr(event, "call", None)
        return call or self._calls.get(_key(event))  # type: ignore[arg-type]

    def call_of_leg(self, leg: LegId) -> CallId | None:
        """The call that a SIP leg belongs to."""
        return self._calls.get(leg)

    def learn(self, event: Event | None, commands: Sequence[Command]) -> list[CallId]:
        """Take note of what the core made of an event. Gives the calls that it was about."""
        for command in commands:
            self._note(command)
        known = self.call_of(event) if event else None
        calls = [known] if known else list(dict.fromkeys(each.call for each in commands))
        if event and not known and len(calls) == 1:
            self._bind(_key(event), calls[0])
        return calls

    def _note(self, command: Command) -> None:
        match command:
            case SipCommand(call=call, leg=leg):
                self._bind(leg, call)
            case SendCallEvent(call=call, room=room, call_id=call_id):
                self._bind(MatrixCallKey(room, call_id), call)
            case RecordLegs(call=call, room=room, matrix_call_id=call_id) if room and call_id:
                self._bind(MatrixCallKey(room, call_id), call)
            case RecordEnd(call=call):
                self._ended[call] = None
                while len(self._ended) > ENDED_KEPT:
                    self._forget(self._ended.popitem(last=False)[0])

    def _bind(self, key: Key | None, call: CallId) -> None:
        if key is not None:
            self._calls[key] = call
            self._keys.setdefault(call, set()).add(key)

    def _forget(self, call: CallId) -> None:
        for key in self._keys.pop(call, ()):
            if self._calls.get(key) == call:
                del self._calls[key]


def _key(event: Event) -> Key | None:
    match event:
        case SipEvent(leg=leg):
            return leg
        case MatrixCallEvent():
            return event.key
        case _:
            return None
