# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine of voicemail in one call, as a table: see tables.py."""

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.states import State, Table


class VoicemailState(State):
    """How far voicemail has come."""

    WAITING = "waiting"
    """The person may answer yet; or they have, or have no voicemail."""
    ANSWERING = "answering"
    """The bridge takes the call in the person's place."""
    GREETING = "greeting"
    """The caller hears the greeting."""
    BEEPING = "beeping"
    """The caller hears the tone after which they may speak."""
    RECORDING = "recording"
    """What the caller says is written into a file."""
    DONE = "done"
    """Nothing more is recorded."""


class Taken(e.Event):
    """Stands for: the person did not take the call, and voicemail does."""


BEEP = "the tone"

_V = VoicemailState

VOICEMAIL: Table = {
    _V.WAITING: {Taken: _V.ANSWERING},
    _V.ANSWERING: {c.PlayAudio: _V.GREETING},
    _V.GREETING: {c.EndAudio: _V.GREETING, (c.PlayAudio, BEEP): _V.BEEPING},
    _V.BEEPING: {c.RecordAudio: _V.RECORDING},
    _V.RECORDING: {
        c.EndAudio: _V.RECORDING,
        c.PostVoicemail: _V.DONE,
        c.DropVoicemail: _V.DONE,
    },
    _V.DONE: {},
}
