# SPDX-License-Identifier: GPL-3.0-or-later
"""What others say of a call's end, as a cause: SIP, the telephone network, Matrix, the engine.

SIP statuses and Q.850 causes are read as in RFC 3398 sections 7 and 8, reasons of `m.call.hangup`
as in the Matrix specification.
"""

from collections.abc import Sequence

from bridge.call.causes import MEANINGS, Cause
from bridge.call.events import MediaFault

_CLASSES = {6: 0, 4: 1, 5: 2, 3: 3}
"""Which class of status is told first, of several."""
_TELLING = (Cause.NO_ANSWER, Cause.BUSY)
"""Which causes are told first, of one class."""

_STATUSES = {
    300: Cause.REDIRECTED,
    301: Cause.NUMBER_CHANGED,
    302: Cause.REDIRECTED,
    305: Cause.REDIRECTED,
    400: Cause.ERROR,
    401: Cause.TRUNK_CREDENTIALS,
    402: Cause.REFUSED,
    403: Cause.REFUSED,
    404: Cause.NOT_IN_SERVICE,
    406: Cause.NO_COMMON_CODEC,
    407: Cause.TRUNK_CREDENTIALS,
    408: Cause.NO_ANSWER,
    410: Cause.NUMBER_CHANGED,
    415: Cause.NO_COMMON_CODEC,
    480: Cause.UNREACHABLE,
    484: Cause.NUMBER_INCOMPLETE,
    486: Cause.BUSY,
    487: Cause.CANCELLED,
    488: Cause.NO_COMMON_CODEC,
    600: Cause.BUSY,
    603: Cause.DECLINED,
    604: Cause.NOT_IN_SERVICE,
    606: Cause.NO_COMMON_CODEC,
    607: Cause.DECLINED,
}

_Q850 = {
    1: Cause.NOT_IN_SERVICE,
    2: Cause.NO_ROUTE,
    3: Cause.NO_ROUTE,
    17: Cause.BUSY,
    18: Cause.NO_ANSWER,
    19: Cause.NO_ANSWER,
    20: Cause.UNREACHABLE,
    21: Cause.DECLINED,
    22: Cause.NUMBER_CHANGED,
    26: Cause.ANSWERED_ELSEWHERE,
    27: Cause.UNREACHABLE,
    28: Cause.NUMBER_INCOMPLETE,
    34: Cause.CONGESTION,
    38: Cause.TRUNK_DOWN,
    41: Cause.CONGESTION,
    42: Cause.CONGESTION,
    47: Cause.CONGESTION,
    55: Cause.REFUSED,
    57: Cause.REFUSED,
    65: Cause.NO_COMMON_CODEC,
    79: Cause.NO_COMMON_CODEC,
    87: Cause.REFUSED,
    88: Cause.NO_COMMON_CODEC,
    102: Cause.CONNECTION_LOST,
}

_FULL = 47
_NOT_ACCEPTABLE = (415, 488, 606)

_OF_THE_CALLEE = frozenset(
    {
        Cause.NOT_IN_SERVICE,
        Cause.BUSY,
        Cause.NO_ANSWER,
        Cause.UNREACHABLE,
        Cause.DECLINED,
        Cause.NUMBER_CHANGED,
        Cause.NUMBER_INCOMPLETE,
        Cause.ANSWERED_ELSEWHERE,
    }
)

_REASONS = {
    "user_hangup": Cause.NORMAL,
    "user_busy": Cause.BUSY,
    "invite_timeout": Cause.NO_ANSWER,
    "ice_failed": Cause.ICE_FAILED,
    "ice_timeout": Cause.ICE_TIMEOUT,
    "user_media_failed": Cause.MEDIA_FAILED,
}

_FAULTS = {
    MediaFault.NO_COMMON_CODEC: Cause.NO_COMMON_CODEC,
    MediaFault.NOT_ENCRYPTED: Cause.NOT_ENCRYPTED,
    MediaFault.ICE_FAILED: Cause.ICE_FAILED,
    MediaFault.NO_RESOURCES: Cause.NO_RESOURCES,
}


def from_sip(status: int, q850: int = 0, *, remote: bool = True) -> Cause:
    """Cause of a SIP leg's end, as `SipEnded` reports it.

    A Q.850 cause says more than the status it came with, except 21 and 603, which say the same. A
    408 or 503 of our own making (`remote` false) means that the peer was never heard; or with 47
    (resource unavailable), never asked.
    """
    if not remote and status in (408, 503):
        return Cause.NO_RESOURCES if q850 == _FULL else Cause.TRUNK_DOWN
    if status < 300:
        return _Q850.get(q850, Cause.NORMAL)
    if status in (401, 407):
        return Cause.TRUNK_CREDENTIALS
    known = _Q850.get(q850) or _STATUSES.get(status)
    if known is not None:
        return known
    return Cause.CONGESTION if 500 <= status < 600 else Cause.REFUSED


def blames_trunk(status: int, q850: int = 0) -> bool:
    """Whether a call that ended so, before anybody was reached, may get through by another trunk.

    That is so where the trunk failed (5xx), never answered (408) or does not know us (401, 407),
    unless the Q.850 cause, which comes from further away, tells of the callee.
    """
    ours = status in (401, 407, 408) or 500 <= status < 600
    return ours and _Q850.get(q850) not in _OF_THE_CALLEE


def blames_description(status: int, q850: int = 0) -> bool:
    """Whether a call that ended so may get through with another description (RFC 3261 21.4.26)."""
    return status in _NOT_ACCEPTABLE and from_sip(status, q850) is Cause.NO_COMMON_CODEC


def best_of(causes: Sequence[Cause]) -> Cause:
    """What to tell the caller where several were called and all failed (RFC 3261 16.7).

    That somebody declined; or else what the caller can do something about; of those, that somebody
    did not answer before that others are busy.
    """
    return min(causes, key=lambda cause: (_CLASSES[MEANINGS[cause].status // 100], _rank(cause)))


def _rank(cause: Cause) -> int:
    return _TELLING.index(cause) if cause in _TELLING else len(_TELLING)


def from_hangup(reason: str) -> Cause:
    """Cause of an `m.call.hangup`; reasons that the specification does not know are errors."""
    return _REASONS.get(reason, Cause.ERROR)


def from_reject(reason: str) -> Cause:
    """Cause of an `m.call.reject`: busy if it says so, else declined."""
    return Cause.BUSY if reason == "user_busy" else Cause.DECLINED


def from_fault(fault: MediaFault) -> Cause:
    """Cause of a failure of the media session."""
    return _FAULTS.get(fault, Cause.MEDIA_FAILED)
