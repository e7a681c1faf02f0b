# SPDX-License-Identifier: GPL-3.0-or-later
"""What ghosts say in `m.call.*` events (Client-Server API, "Voice over IP")."""

import re
from functools import singledispatch
from typing import Any, Final

from bridge.call.commands import (
    SendCallEvent,
    SendMatrixAnswer,
    SendMatrixAssertedIdentity,
    SendMatrixHangup,
    SendMatrixInvite,
    SendMatrixNegotiate,
    SendMatrixReject,
    SendMatrixSelectAnswer,
)
from bridge.call.ids import UserId
from bridge.matrix.ghosts import display_name
from bridge.sdp.parser import parse
from bridge.sdp.video import video_of

Content = dict[str, Any]

_ASSERTED_IDENTITY: Final = ("m.call.asserted_identity", "org.matrix.call.asserted_identity")
_V0_REASONS: Final = frozenset({"ice_failed", "invite_timeout"})
_MSID: Final = re.compile(r"^a=msid:(\S+)", re.MULTILINE)


@singledispatch
def write_call_event(command: SendCallEvent) -> tuple[str, Content]:
    """The type and content of the event that `command` asks for."""
    raise TypeError(f"no call event for {type(command).__name__}")


@write_call_event.register
def _invite(command: SendMatrixInvite) -> tuple[str, Content]:
    return "m.call.invite", {
        **_common(command),
        "lifetime": _milliseconds(command.lifetime),
        "offer": {"type": "offer", "sdp": command.sdp},
        "invitee": command.invitee,
        **_abilities(command),
    }


@write_call_event.register
def _answer(command: SendMatrixAnswer) -> tuple[str, Content]:
    return "m.call.answer", {
        **_common(command),
        "answer": {"type": "answer", "sdp": command.sdp},
        **_abilities(command),
    }


@write_call_event.register
def _select_answer(command: SendMatrixSelectAnswer) -> tuple[str, Content]:
    return "m.call.select_answer", {**_common(command), "selected_party_id": command.selected}


@write_call_event.register
def _reject(command: SendMatrixReject) -> tuple[str, Content]:
    return "m.call.reject", {**_common(command), "reason": command.reason}


@write_call_event.register
def _hangup(command: SendMatrixHangup) -> tuple[str, Content]:
    # v0 knows two reasons, and strict clients drop an event with one they do not know.
    said = command.version > 0 or command.reason in _V0_REASONS
    return "m.call.hangup", {
        **_common(command),
        **({"reason": command.reason} if said else {}),
    }


@write_call_event.register
def _negotiate(command: SendMatrixNegotiate) -> tuple[str, Content]:
    return "m.call.negotiate", {
        **_common(command),
        "lifetime": _milliseconds(command.lifetime),
        "description": {"type": command.type.value, "sdp": command.sdp},
        **_streams(command.sdp),
    }


def write_asserted_identity(
    command: SendMatrixAssertedIdentity, ghost: UserId
) -> list[tuple[str, Content]]:
    """Who is on the line now: `ghost`. Under both names, for clients know one or the other."""
    name = display_name(command.identity, command.name)
    content = {**_common(command), "asserted_identity": {"id": ghost, "display_name": name}}
    return [(event_type, content) for event_type in _ASSERTED_IDENTITY]


def _common(command: SendCallEvent) -> Content:
    if command.version == 0:
        return {"call_id": command.call_id, "version": 0}
    return {"call_id": command.call_id, "party_id": command.party, "version": "1"}


def _abilities(command: SendMatrixInvite | SendMatrixAnswer) -> Content:
    """What the keypad and the transfer menu of a client depend on."""
    if command.version == 0:
        return {}
    can = {"m.call.dtmf": True, "m.call.transferee": True}
    return {"capabilities": can, **_streams(command.sdp)}


def _streams(sdp: str) -> Content:
    """Stream metadata, keyed exactly as the SDP's `a=msid` (RFC 8830) names its stream.

    matrix-js-sdk throws over metadata that lacks a stream of the SDP, and does well without any.
    """
    streams = [stream for stream in dict.fromkeys(_MSID.findall(sdp)) if stream != "-"]
    if not streams:
        return {}
    unseen = not _shows(sdp)
    return {
        "sdp_stream_metadata": {
            stream: {"purpose": "m.usermedia", "audio_muted": False, "video_muted": unseen}
            for stream in streams
        }
    }


def _shows(sdp: str) -> bool:
    """Whether the SDP promises a picture: clients show one place holder or another until then."""
    if "m=video" not in sdp:
        return False
    video = video_of(parse(sdp))
    return video is not None and video.direction.sends


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
