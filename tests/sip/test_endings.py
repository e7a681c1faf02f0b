# SPDX-License-Identifier: GPL-3.0-or-later
"""Why calls end: what is told to the far end, and what it tells."""

import asyncio
import socket
from pathlib import Path

import pytest

from bridge.call.commands import AnswerSip, CancelSip, RejectSip
from bridge.call.events import SipAnswered, SipEnded, SipInviteReceived, SipProgressed
from bridge.config import Trunk
from bridge.sip import calls_in
from bridge.sip.endings import Refusal, refusal_of
from bridge.sip.messages import parse
from tests.simulators.waiting import PATIENCE
from tests.sip.calls import called, calling
from tests.sip.phone import CALL, LOCALHOST, TRUNK, Bridge, Sipp, description, trunk

pytestmark = pytest.mark.e2e


async def test_redirection_says_where_to_call_best_first(tmp_path: Path) -> None:
    async with calling("callee_has_moved", tmp_path) as (bridge, phone, _):
        ended = await bridge.expect(SipEnded)
        assert (ended.status, ended.remote) == (302, True)
        assert ended.contacts == ("tel:+12025550144", "tel:+12025550166", "tel:+12025550155")
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_overloaded_peer_says_for_how_long(tmp_path: Path) -> None:
    async with calling("callee_is_full", tmp_path) as (bridge, phone, leg):
        ended = await bridge.expect(SipEnded)
        assert ended == SipEnded(leg=leg, status=503, reason="Service Unavailable", retry_after=120)
        await phone.succeeds()


async def test_bye_may_have_a_reason_in_words_of_sip(tmp_path: Path) -> None:
    async with calling("callee_fails", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipAnswered)
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=200, q850=102)
        await phone.succeeds()


async def test_cancel_says_that_somebody_else_answered(tmp_path: Path) -> None:
    async with calling("callee_is_cancelled", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipProgressed)
        bridge.sip.do(CancelSip(call=CALL, leg=leg, q850=26))
        assert (await bridge.expect(SipEnded)).q850 == 26
        await phone.succeeds()
        cancel = phone.messages().partition("CANCEL sip:")[2].partition("\n\n")[0]
        assert 'Reason: Q.850;cause=26, SIP;cause=200;text="Call completed elsewhere"' in cancel


async def test_refusal_says_why_and_when_again(tmp_path: Path) -> None:
    async with called("caller_is_refused", tmp_path, status="503") as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(RejectSip(call=CALL, leg=leg, status=503, q850=47, retry_after=10))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert "Reason: Q.850;cause=47\n" in phone.messages()
        assert "Retry-After: 10\n" in phone.messages()


async def test_call_that_has_come_too_far_is_not_passed_on(tmp_path: Path) -> None:
    async with called("caller_has_come_far", tmp_path) as (bridge, phone):
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_call_that_comes_by_two_ways_is_taken_once(tmp_path: Path) -> None:
    """RFC 3261 8.2.2.2: the same request with another branch has met a fork on its way."""
    invite = (
        f"INVITE sip:+12025550123@{LOCALHOST} SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK-%s\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:+12025550111@mx.test>;tag=1\r\n"
        "To: <sip:+12025550123@mx.test>\r\nCall-ID: merged\r\nCSeq: 1 INVITE\r\n"
        f"Contact: <sip:phone@{LOCALHOST}>\r\nContent-Length: 0\r\n\r\n"
    )
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind((LOCALHOST, 0))
            phone.setblocking(False)
            here = f"{LOCALHOST}:{phone.getsockname()[1]}"
            for branch in ("one", "two"):
                phone.sendto((invite % (here, branch)).encode(), (LOCALHOST, bridge.port))
            await bridge.expect(SipInviteReceived)
            found = ""
            while "SIP/2.0 482" not in found:
                data = await asyncio.wait_for(
                    asyncio.get_running_loop().sock_recv(phone, 65536), timeout=PATIENCE
                )
                found += data.decode()
            assert bridge.nothing_more()


async def test_stopping_bridge_says_when_it_is_back(tmp_path: Path) -> None:
    async with called("caller_is_refused", tmp_path, status="503") as (bridge, phone):
        await bridge.expect(SipInviteReceived)
        await bridge.sip.stop()
        await phone.succeeds()
        assert "Retry-After: 30\n" in phone.messages()


async def test_a_storm_is_refused_before_anybody_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_in, "_REFUSED_ALOUD", 0)
    async with Bridge({TRUNK: trunk(9)}, max_calls=1) as bridge:
        first, second = tmp_path / "1", tmp_path / "2"
        first.mkdir()
        second.mkdir()
        async with Sipp("caller_hangs_up", first, calls=bridge.port) as one:
            leg = (await bridge.expect(SipInviteReceived)).leg
            keys = {"status": "503"}
            async with Sipp("caller_is_refused", second, calls=bridge.port, keys=keys) as two:
                await two.succeeds()
                assert "Retry-After: 10\n" in two.messages()
            assert bridge.nothing_more()
            bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
            await one.succeeds()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("", None),
        ("Max-Forwards: 1\r\n", None),
        ("Max-Forwards: 0\r\n", Refusal(483)),
        ("Session-Expires: 60;refresher=uac\r\n", Refusal(422, "", {"Min-SE": "90"})),
        ("x: 60\r\n", Refusal(422, "", {"Min-SE": "90"})),
        ("Session-Expires: 90\r\n", None),
        ("Session-Expires: soon\r\n", None),
    ],
)
def test_what_can_be_no_call(headers: str, expected: Refusal | None) -> None:
    invite = parse(f"INVITE sip:x@mx.test SIP/2.0\r\n{headers}\r\n")
    assert refusal_of(invite, Trunk(server="mx.test")) == expected
    off = Trunk(server="mx.test", session_timers="off")
    assert refusal_of(invite, off) == (expected if expected == Refusal(483) else None)
