# SPDX-License-Identifier: GPL-3.0-or-later
"""What the homeserver tells clients of the dial pad."""

import asyncio

import pytest
from structlog.testing import capture_logs

from bridge.matrix.announced import ASKED_EVERY, Announced
from bridge.matrix.homeserver import Homeserver, Unavailable
from bridge.matrix.lookups import PROTOCOLS

SHOWN, NOT_SHOWN = "clients are shown the dial pad", "clients are shown no dial pad"


class Told(Homeserver):
    """Says, one after the other, what it was given to say."""

    def __init__(self, *replies: frozenset[str] | None) -> None:
        self.replies = [*replies]

    async def protocols(self) -> frozenset[str]:
        reply = self.replies.pop(0)
        if reply is None:
            raise Unavailable("away")
        return reply


@pytest.mark.parametrize(
    ("replies", "lines"),
    [
        ([frozenset(PROTOCOLS)], [SHOWN]),
        ([frozenset({*PROTOCOLS, "irc"})], [SHOWN]),
        ([frozenset({"irc"})], [NOT_SHOWN]),
        ([frozenset(PROTOCOLS[:1])], [NOT_SHOWN]),
        ([frozenset(), frozenset(), frozenset(PROTOCOLS)], [NOT_SHOWN, SHOWN]),
        ([frozenset(PROTOCOLS), None, frozenset(PROTOCOLS), frozenset()], [SHOWN, NOT_SHOWN]),
        ([None], []),
    ],
)
async def test_what_changes_is_logged(
    replies: list[frozenset[str] | None], lines: list[str]
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > len(replies):
            raise asyncio.CancelledError

    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await Announced(Told(*replies), sleep).run()
    told = [line for line in logs if line["event"] in (SHOWN, NOT_SHOWN)]
    assert [line["event"] for line in told] == lines
    assert all(line.get("remedy") for line in told if line["log_level"] == "warning")
    assert set(slept) == {ASKED_EVERY}
