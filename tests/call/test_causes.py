# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a call ended, in every language that is spoken about it."""

import pytest

from bridge.call.cause_mapping import from_fault, from_hangup, from_reject, from_sip
from bridge.call.causes import MEANINGS, Cause
from bridge.call.events import MediaFault

MATRIX_REASONS = {
    "ice_failed",
    "ice_timeout",
    "invite_timeout",
    "user_hangup",
    "user_media_failed",
    "user_busy",
    "unknown_error",
}
SILENT = {
    Cause.NORMAL,
    Cause.CANCELLED,
    Cause.ANSWERED_ELSEWHERE,
    Cause.REPLACED,
    Cause.TRANSFERRED,
    Cause.VOICEMAIL,
    Cause.STRANGER,
    Cause.BAD_REQUEST,
}


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_meaning_on_both_sides(cause: Cause) -> None:
    meaning = MEANINGS[cause]
    assert 400 <= meaning.status < 700 or cause is Cause.FORWARDED
    assert 1 <= meaning.q850 <= 127
    assert meaning.reason in MATRIX_REASONS
    assert meaning.sentence.endswith(".") is (cause not in SILENT)
    assert cause.value == cause.name.lower()


@pytest.mark.parametrize(
    ("status", "q850", "remote", "cause"),
    [
        (200, 0, True, Cause.NORMAL),
        (200, 16, True, Cause.NORMAL),
        (200, 102, True, Cause.CONNECTION_LOST),
        (486, 0, True, Cause.BUSY),
        (600, 0, True, Cause.BUSY),
        (603, 0, True, Cause.DECLINED),
        (404, 0, True, Cause.NOT_IN_SERVICE),
        (480, 0, True, Cause.UNREACHABLE),
        (480, 19, True, Cause.NO_ANSWER),
        (480, 16, True, Cause.UNREACHABLE),
        (403, 0, True, Cause.REFUSED),
        (407, 21, True, Cause.TRUNK_CREDENTIALS),
        (408, 0, True, Cause.NO_ANSWER),
        (408, 0, False, Cause.TRUNK_DOWN),
        (503, 0, True, Cause.CONGESTION),
        (503, 38, True, Cause.TRUNK_DOWN),
        (503, 0, False, Cause.TRUNK_DOWN),
        (503, 47, False, Cause.NO_RESOURCES),
        (503, 47, True, Cause.CONGESTION),
        (500, 0, True, Cause.CONGESTION),
        (488, 0, True, Cause.NO_COMMON_CODEC),
        (499, 0, True, Cause.REFUSED),
    ],
)
def test_what_sip_says(status: int, q850: int, remote: bool, cause: Cause) -> None:
    assert from_sip(status, q850, remote=remote) is cause


def test_what_matrix_says() -> None:
    assert from_hangup("user_hangup") is Cause.NORMAL
    assert from_hangup("ice_failed") is Cause.ICE_FAILED
    assert from_hangup("something new") is Cause.ERROR
    assert from_reject("user_busy") is Cause.BUSY
    assert from_reject("") is Cause.DECLINED


def test_what_the_engine_says() -> None:
    assert from_fault(MediaFault.NO_COMMON_CODEC) is Cause.NO_COMMON_CODEC
    assert from_fault(MediaFault.INTERNAL) is Cause.MEDIA_FAILED
