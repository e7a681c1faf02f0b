# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that nothing here serves get an answer, with sipp as who sends them."""

from pathlib import Path

import pytest

from bridge.call.events import SipAnswered, SipEnded, SipProgressed
from bridge.sip.messages import Message, parse
from tests.sip.phone import TRUNK, Bridge, Sipp, trunk

pytestmark = pytest.mark.e2e


def answer_in(messages: str, status: int) -> Message:
    return parse(f"SIP/2.0 {status}" + messages.rpartition(f"SIP/2.0 {status}")[2])


async def test_who_asks_while_calls_are_waited_for(tmp_path: Path) -> None:
    keys = {"method": "OPTIONS", "extra": "X-Nothing: 1", "status": "503"}
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        bridge.sip.drain(3600)
        async with Sipp("asks", tmp_path, calls=bridge.port, keys=keys) as peer:
            await peer.succeeds()
            wait = int(answer_in(peer.messages(), 503).first("retry-after"))
    assert 3500 < wait <= 3600


@pytest.mark.parametrize(
    ("method", "extra", "status"),
    [
        ("SUBSCRIBE", "Event: presence", 489),
        ("SUBSCRIBE", "Event: message-summary", 489),
        ("NOTIFY", "Event: presence", 481),
        ("PUBLISH", "Event: presence", 405),
        ("REGISTER", "Expires: 60", 405),
        ("REFER", "Refer-To: <sip:1@mx.test>", 603),
        ("FROBNICATE", "X-Nothing: 1", 501),
    ],
)
async def test_out_of_the_blue(tmp_path: Path, method: str, extra: str, status: int) -> None:
    keys = {"method": method, "extra": extra, "status": str(status)}
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("asks", tmp_path, calls=bridge.port, keys=keys) as peer,
    ):
        await peer.succeeds()
        answer = answer_in(peer.messages(), status)
    if status == 489:
        assert answer.first("allow-events") == "message-summary, refer"
    assert (answer.allows("INVITE") and not answer.allows(method)) is (status in (405, 501))


@pytest.mark.parametrize(
    ("method", "extra", "status"),
    [
        ("SUBSCRIBE", "Event: presence", 489),
        ("FROBNICATE", "X-Nothing: 1", 501),
        ("OPTIONS", "X-Nothing: 1", 200),
        ("INFO", "X-Nothing: 1", 200),
    ],
)
async def test_within_a_call_which_goes_on(
    tmp_path: Path, method: str, extra: str, status: int
) -> None:
    keys = {"method": method, "extra": extra, "status": str(status)}
    async with (
        Sipp("callee_asks", tmp_path, keys=keys) as peer,
        Bridge({TRUNK: trunk(peer.port)}) as bridge,
    ):
        bridge.call()
        await bridge.expect(SipProgressed)
        await bridge.expect(SipAnswered)
        await bridge.expect(SipEnded)
        await peer.succeeds()
