# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose doing it is that a call ended as it did: nine classes of causes."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from bridge.call.causes import Cause


class Outcome(Enum):
    """What became of a call, by who or what decided it."""

    SUCCESS = "success"
    """It was talked on, and ended as people end calls."""
    VOICEMAIL = "voicemail"
    """Voicemail took it, and the caller could leave a message."""
    CALLER = "caller"
    """Who called gave up, or cannot call so: no failure of anybody's."""
    CALLEE = "callee"
    """Who was called did not want to, could not, or is not there."""
    POLICY = "policy"
    """The settings do not allow it."""
    TRUNK = "trunk"
    """The telephone network, or what leads to it, did not carry the call."""
    HOMESERVER = "homeserver"
    """The homeserver was away."""
    MEDIA = "media"
    """There was no audio."""
    BRIDGE = "bridge"
    """The bridge stopped, was full, or did something wrong."""


_CAUSES: Final[Mapping[Outcome, Sequence[Cause]]] = {
    Outcome.SUCCESS: (Cause.NORMAL, Cause.TRANSFERRED, Cause.REPLACED, Cause.FORWARDED),
    Outcome.VOICEMAIL: (Cause.VOICEMAIL,),
    Outcome.CALLER: (
        Cause.CANCELLED,
        Cause.NUMBER_INCOMPLETE,
        Cause.IN_CALL,
        Cause.NUMBER_WITHHELD,
        Cause.BAD_REQUEST,
    ),
    Outcome.CALLEE: (
        Cause.ANSWERED_ELSEWHERE,
        Cause.BUSY,
        Cause.DECLINED,
        Cause.NO_ANSWER,
        Cause.UNREACHABLE,
        Cause.DO_NOT_DISTURB,
        Cause.NOT_IN_SERVICE,
        Cause.NUMBER_CHANGED,
        Cause.REDIRECTED,
        Cause.NOT_TRANSFERRED,
    ),
    Outcome.POLICY: (
        Cause.NO_ROUTE,
        Cause.NOT_PERMITTED,
        Cause.STRANGER,
        Cause.FORBIDDEN_NUMBER,
        Cause.EMERGENCY_NUMBER,
        Cause.PREMIUM_NUMBER,
        Cause.SATELLITE_NUMBER,
        Cause.TOO_MANY_CALLS,
        Cause.TOO_FREQUENT,
        Cause.MINUTES_USED_UP,
        Cause.TRUNK_BUSY,
        Cause.TRUNK_SPENT,
        Cause.MAX_DURATION,
        Cause.ENDED_BY_ADMIN,
    ),
    Outcome.TRUNK: (
        Cause.REFUSED,
        Cause.TRUNK_DOWN,
        Cause.TRUNK_CREDENTIALS,
        Cause.CONGESTION,
        Cause.CONNECTION_LOST,
    ),
    Outcome.HOMESERVER: (Cause.UNDELIVERABLE,),
    Outcome.MEDIA: (
        Cause.NO_COMMON_CODEC,
        Cause.NOT_ENCRYPTED,
        Cause.MEDIA_FAILED,
        Cause.ICE_FAILED,
        Cause.ICE_TIMEOUT,
    ),
    Outcome.BRIDGE: (Cause.NO_RESOURCES, Cause.SHUTDOWN, Cause.ERROR),
}
_OUTCOMES: Final = {cause: outcome for outcome, causes in _CAUSES.items() for cause in causes}


def causes_of(outcome: Outcome) -> Sequence[Cause]:
    """The causes of a class."""
    return _CAUSES[outcome]


def outcome_of(cause: Cause) -> Outcome:
    """The class of a cause."""
    return _OUTCOMES[cause]
