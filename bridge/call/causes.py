# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a call ended: one table between SIP statuses, Q.850 causes, Matrix reasons and people.

SIP statuses are those of RFC 3261 section 21, Q.850 causes as RFC 3398 maps them, Matrix reasons
those of `m.call.hangup`. What others say is read in cause_mapping.py.
"""

from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """Why a call ended or was refused. The values are kept in call records."""

    NORMAL = "normal"
    CANCELLED = "cancelled"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    REPLACED = "replaced"
    BUSY = "busy"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"
    DO_NOT_DISTURB = "do_not_disturb"
    FORWARDED = "forwarded"
    VOICEMAIL = "voicemail"
    NOT_IN_SERVICE = "not_in_service"
    NUMBER_CHANGED = "number_changed"
    REDIRECTED = "redirected"
    NUMBER_INCOMPLETE = "number_incomplete"
    NO_ROUTE = "no_route"
    NOT_PERMITTED = "not_permitted"
    REFUSED = "refused"
    FORBIDDEN_NUMBER = "forbidden_number"
    NUMBER_WITHHELD = "number_withheld"
    STRANGER = "stranger"
    BAD_REQUEST = "bad_request"
    EMERGENCY_NUMBER = "emergency_number"
    PREMIUM_NUMBER = "premium_number"
    SATELLITE_NUMBER = "satellite_number"
    IN_CALL = "in_call"
    TOO_MANY_CALLS = "too_many_calls"
    TOO_FREQUENT = "too_frequent"
    MINUTES_USED_UP = "minutes_used_up"
    TRUNK_BUSY = "trunk_busy"
    TRUNK_SPENT = "trunk_spent"
    TRUNK_DOWN = "trunk_down"
    TRUNK_CREDENTIALS = "trunk_credentials"
    CONGESTION = "congestion"
    NO_COMMON_CODEC = "no_common_codec"
    NOT_ENCRYPTED = "not_encrypted"
    MEDIA_FAILED = "media_failed"
    ICE_FAILED = "ice_failed"
    ICE_TIMEOUT = "ice_timeout"
    NO_RESOURCES = "no_resources"
    UNDELIVERABLE = "undeliverable"
    CONNECTION_LOST = "connection_lost"
    TRANSFERRED = "transferred"
    NOT_TRANSFERRED = "not_transferred"
    MAX_DURATION = "max_duration"
    ENDED_BY_ADMIN = "ended_by_admin"
    SHUTDOWN = "shutdown"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a cause is called on either side, and by people. Empty: nothing to tell them."""

    status: int
    """Final SIP status for an INVITE that ends for this cause."""
    q850: int
    """Q.850 cause for the Reason header (RFC 3326)."""
    reason: str
    """Reason of `m.call.hangup` and `m.call.reject`."""
    sentence: str
    """Why a call of the person's failed, or ended."""
    missed: str = ""
    """Why a call to the person did not ring, or ceased to: follows "You missed a call: "."""
    retry_after: int = 0
    """Seconds after which a caller may try again (RFC 3261 20.33); 0: nothing is said of it."""


MEANINGS: dict[Cause, Meaning] = {
    Cause.NORMAL: Meaning(480, 16, "user_hangup", ""),
    Cause.CANCELLED: Meaning(480, 16, "user_hangup", ""),
    Cause.ANSWERED_ELSEWHERE: Meaning(480, 26, "user_hangup", ""),
    Cause.REPLACED: Meaning(480, 16, "user_hangup", ""),
    Cause.BUSY: Meaning(
        486, 17, "user_busy", "The line is busy.", missed="you were in another call"
    ),
    Cause.DECLINED: Meaning(603, 21, "user_hangup", "The call was declined."),
    Cause.NO_ANSWER: Meaning(480, 19, "invite_timeout", "Nobody answered."),
    Cause.UNREACHABLE: Meaning(
        480, 20, "unknown_error", "This number cannot be reached at the moment."
    ),
    Cause.DO_NOT_DISTURB: Meaning(
        480, 21, "user_hangup", "Do not disturb is on.", missed="do not disturb was on"
    ),
    Cause.FORWARDED: Meaning(302, 23, "user_hangup", "The call was forwarded."),
    Cause.VOICEMAIL: Meaning(480, 16, "user_hangup", ""),
    Cause.NOT_IN_SERVICE: Meaning(404, 1, "unknown_error", "This number is not in service."),
    Cause.NUMBER_CHANGED: Meaning(410, 22, "unknown_error", "This number has changed."),
    Cause.REDIRECTED: Meaning(
        480,
        20,
        "unknown_error",
        "The call was forwarded to where you cannot call from here.",
    ),
    Cause.NUMBER_INCOMPLETE: Meaning(
        484, 28, "unknown_error", "This number is incomplete, or not a valid one."
    ),
    Cause.NO_ROUTE: Meaning(
        404, 3, "unknown_error", "There is no way to reach this number from here."
    ),
    Cause.NOT_PERMITTED: Meaning(403, 21, "unknown_error", "You are not allowed to make calls."),
    Cause.REFUSED: Meaning(403, 21, "unknown_error", "The telephone network refused the call."),
    Cause.FORBIDDEN_NUMBER: Meaning(
        403, 21, "unknown_error", "Calls to this number are not allowed here."
    ),
    Cause.NUMBER_WITHHELD: Meaning(
        404, 1, "unknown_error", "This caller withheld their number, so you cannot call back."
    ),
    Cause.STRANGER: Meaning(403, 21, "unknown_error", ""),
    Cause.BAD_REQUEST: Meaning(400, 111, "unknown_error", ""),
    Cause.EMERGENCY_NUMBER: Meaning(
        403, 21, "unknown_error", "Emergency calls cannot be made from here. Use a telephone."
    ),
    Cause.PREMIUM_NUMBER: Meaning(
        403, 21, "unknown_error", "Calls to premium-rate numbers are not allowed here."
    ),
    Cause.SATELLITE_NUMBER: Meaning(
        403,
        21,
        "unknown_error",
        "Calls to satellite telephones and international networks are not allowed here.",
    ),
    Cause.IN_CALL: Meaning(486, 17, "user_busy", "You are in a call with this number already."),
    Cause.TOO_MANY_CALLS: Meaning(
        486,
        17,
        "user_busy",
        "You are in too many calls. Please end one of them first.",
        missed="you were in too many other calls",
    ),
    Cause.TOO_FREQUENT: Meaning(
        503, 42, "unknown_error", "Too many calls within a minute. Please wait a little."
    ),
    Cause.MINUTES_USED_UP: Meaning(
        403,
        21,
        "unknown_error",
        "You have used up the time that you may talk within 24 hours.",
    ),
    Cause.TRUNK_BUSY: Meaning(
        503,
        34,
        "unknown_error",
        "Too many calls are being made from here. Please try again in a minute.",
    ),
    Cause.TRUNK_SPENT: Meaning(
        503,
        34,
        "unknown_error",
        "The time that may be talked from here within 24 hours is used up."
        " Please tell the bridge's administrator.",
    ),
    Cause.TRUNK_DOWN: Meaning(
        503, 38, "unknown_error", "The telephone network cannot be reached at the moment."
    ),
    Cause.TRUNK_CREDENTIALS: Meaning(
        503,
        38,
        "unknown_error",
        "The telephone provider does not accept the bridge's password."
        " Please tell the bridge's administrator.",
    ),
    Cause.CONGESTION: Meaning(
        503,
        42,
        "unknown_error",
        "The telephone network could not put the call through. Please try again later.",
    ),
    Cause.NO_COMMON_CODEC: Meaning(
        488,
        88,
        "user_media_failed",
        "Your app and the telephone network have no audio format in common.",
        missed="your app and the telephone network have no audio format in common",
    ),
    Cause.NOT_ENCRYPTED: Meaning(
        488,
        88,
        "user_media_failed",
        "The telephone network and the bridge do not agree on encryption."
        " Please tell the bridge's administrator.",
        missed="the telephone network and the bridge did not agree on encryption",
    ),
    Cause.MEDIA_FAILED: Meaning(
        500,
        41,
        "user_media_failed",
        "Audio could not be set up for this call.",
        missed="audio could not be set up",
    ),
    Cause.ICE_FAILED: Meaning(
        480,
        41,
        "ice_failed",
        "The audio connection to your app was lost.",
        missed="no audio connection to your app could be made",
    ),
    Cause.ICE_TIMEOUT: Meaning(
        480,
        41,
        "ice_timeout",
        "No audio connection to your app could be made.",
        missed="no audio connection to your app could be made",
    ),
    Cause.NO_RESOURCES: Meaning(
        503,
        47,
        "unknown_error",
        "The bridge has no room for more calls. Please try again later.",
        missed="the bridge had no room for more calls",
        retry_after=10,
    ),
    Cause.UNDELIVERABLE: Meaning(
        480,
        20,
        "unknown_error",
        "The homeserver could not be reached, so the call was ended.",
        missed="the homeserver could not be reached",
    ),
    Cause.CONNECTION_LOST: Meaning(
        500, 41, "unknown_error", "The connection to the telephone network was lost."
    ),
    Cause.TRANSFERRED: Meaning(480, 16, "user_hangup", ""),
    Cause.NOT_TRANSFERRED: Meaning(
        480, 16, "user_hangup", "The call was not transferred, and has ended."
    ),
    Cause.MAX_DURATION: Meaning(
        480, 31, "user_hangup", "The call reached the longest time allowed."
    ),
    Cause.ENDED_BY_ADMIN: Meaning(
        480,
        31,
        "user_hangup",
        "An administrator ended the call.",
        missed="an administrator ended it",
    ),
    Cause.SHUTDOWN: Meaning(
        503,
        41,
        "unknown_error",
        "The bridge is being restarted. Please call again in a minute.",
        missed="the bridge was being restarted",
        retry_after=30,
    ),
    Cause.ERROR: Meaning(
        500,
        41,
        "unknown_error",
        "Something went wrong in the bridge. Please try again.",
        missed="something went wrong in the bridge",
    ),
}
