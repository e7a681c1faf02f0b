# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to SIP, with sipp as the phone."""

import re
from pathlib import Path

import pytest

from bridge.call.commands import (
    AnswerSipReinvite,
    CancelSip,
    RejectSipReinvite,
    SendSipReinvite,
)
from bridge.call.events import (
    SipAnswered,
    SipEnded,
    SipProgressed,
    SipReinviteAnswered,
    SipReinviteFailed,
    SipReinviteReceived,
)
from bridge.call.ids import Address, Direction, OpId, UserId
from bridge.records import CallRecord
from bridge.sip.dialog_state import DialogState
from tests.simulators.waiting import until
from tests.sip.calls import bye, calling
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, description, encrypted, trunk

pytestmark = pytest.mark.e2e


async def answered(bridge: Bridge) -> SipAnswered:
    event = await bridge.expect(SipAnswered)
    assert "m=audio" in event.sdp
    return event


async def test_rings_is_answered_and_we_hang_up(tmp_path: Path) -> None:
    async with calling("callee_answers", tmp_path) as (bridge, phone, leg):
        assert await bridge.expect(SipProgressed) == SipProgressed(leg=leg, status=180)
        await answered(bridge)
        bridge.sip.do(bye(leg, 16))
        ended = await bridge.expect(SipEnded)
        assert ended == SipEnded(leg=leg, status=200, q850=16, remote=False)
        await phone.succeeds()
        assert "Reason: Q.850;cause=16" in phone.messages()
        assert "m=audio 41000 RTP/AVP 8 101" in phone.messages()
        assert "m=text" not in phone.messages()
        assert bridge.nothing_more()


async def test_ladder_has_every_message_whole(tmp_path: Path) -> None:
    async with calling("callee_answers", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipProgressed)
        await answered(bridge)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
    told = [(way, text.split(" ", 2)[:2]) for _, way, text in bridge.ladder]
    assert [way for way, _ in told] == ["sent", "received", "received", "sent", "sent", "received"]
    assert [words[0] if way == "sent" else words[1] for way, words in told] == [
        *("INVITE", "180", "200", "ACK", "BYE", "200")
    ]
    invite = bridge.ladder[0][2]
    assert invite.endswith(description())
    assert {call_id for call_id, _, _ in bridge.ladder} == {
        DialogState.from_json(bridge.dialogs[leg]).call_id
    }
    assert bridge.sip.leg_of(bridge.ladder[0][0]) == leg


async def test_early_media_counts_when_the_answer_has_none_of_its_own(tmp_path: Path) -> None:
    async with calling("callee_answers_with_early_media", tmp_path) as (bridge, phone, leg):
        early = await bridge.expect(SipProgressed)
        assert early.status == 183
        assert early.sdp
        assert (await answered(bridge)).sdp
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_phone_hangs_up(tmp_path: Path) -> None:
    async with calling("callee_hangs_up", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipProgressed)
        await answered(bridge)
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=200, q850=16, remote=True)
        await phone.succeeds()


@pytest.mark.parametrize(("status", "cause"), [(486, 17), (603, 21), (404, 1)])
async def test_phone_refuses(tmp_path: Path, status: int, cause: int) -> None:
    keys = {"status": str(status), "cause": str(cause)}
    async with calling("callee_refuses", tmp_path, keys=keys) as (bridge, phone, leg):
        ended = await bridge.expect(SipEnded)
        assert ended == SipEnded(leg=leg, status=status, reason="Refused", q850=cause)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_nobody_answers_and_we_cancel(tmp_path: Path) -> None:
    async with calling("callee_is_cancelled", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipProgressed)
        bridge.sip.do(CancelSip(call=CALL, leg=leg))
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=487, remote=False)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_answer_crosses_our_cancel(tmp_path: Path) -> None:
    async with calling("callee_answers_when_cancelled", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipProgressed)
        bridge.sip.do(CancelSip(call=CALL, leg=leg))
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=487, remote=False)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_of_two_forks_that_answer_the_second_is_released(tmp_path: Path) -> None:
    async with calling("callee_forks", tmp_path) as (bridge, phone, leg):
        assert (await bridge.expect(SipProgressed)).status == 180
        assert (await bridge.expect(SipProgressed)).status == 183
        await answered(bridge)
        await phone.has_received("BYE", 1)
        assert "tag=first" in DialogState.from_json(bridge.dialogs[leg]).remote
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_of_two_forks_with_early_media_the_one_that_answers_counts(tmp_path: Path) -> None:
    async with calling("callee_forks_early", tmp_path) as (bridge, phone, leg):
        for port in (6100, 6200):
            early = await bridge.expect(SipProgressed)
            assert early.sdp
            assert f"m=audio {port}" in early.sdp
        assert "m=audio 6100" in (await answered(bridge)).sdp
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_challenged_invite_is_sent_again_with_credentials(tmp_path: Path) -> None:
    async with calling("callee_wants_credentials", tmp_path, algorithm="SHA-256") as (
        bridge,
        phone,
        leg,
    ):
        await answered(bridge)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_caller_is_named_and_asserted(tmp_path: Path) -> None:
    caller, name = "+12025550111", 'Ann "\r\nEvil: 1" Example'
    async with calling("callee_answers", tmp_path, caller=caller, name=name) as (
        bridge,
        phone,
        leg,
    ):
        await bridge.expect(SipProgressed)
        await answered(bridge)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
    invite = bridge.ladder[0][2]
    assert 'From: "Ann Evil: 1 Example" <sip:+12025550111@127.0.0.1>;tag=' in invite
    assert 'P-Asserted-Identity: "Ann Evil: 1 Example" <sip:+12025550111@127.0.0.1>\r\n' in invite


async def test_phone_holds_and_resumes(tmp_path: Path) -> None:
    async with calling("callee_holds", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        for theirs, ours in (("sendonly", "recvonly"), ("sendrecv", "sendrecv")):
            offer = await bridge.expect(SipReinviteReceived)
            assert offer.sdp
            assert f"a={theirs}" in offer.sdp
            bridge.sip.do(AnswerSipReinvite(call=CALL, leg=leg, op=offer.op, sdp=description(ours)))
        # Answered only then: BYE within a transaction of theirs would be another test.
        await phone.has_sent("ACK", 2)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_call_goes_on_after_an_offer_that_we_refuse(tmp_path: Path) -> None:
    async with calling("callee_offers_in_vain", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        offer = await bridge.expect(SipReinviteReceived)
        bridge.sip.do(RejectSipReinvite(call=CALL, leg=leg, op=offer.op, status=488))
        offer = await bridge.expect(SipReinviteReceived)
        bridge.sip.do(
            AnswerSipReinvite(call=CALL, leg=leg, op=offer.op, sdp=description("recvonly"))
        )
        await phone.has_sent("ACK", 2)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_offerless_reinvite_gets_what_is_in_use_and_its_answer_comes_as_an_offer(
    tmp_path: Path,
) -> None:
    async with calling("callee_asks_for_an_offer", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        offer = await bridge.expect(SipReinviteReceived)
        assert offer.sdp
        assert "m=audio 6010" in offer.sdp
        bridge.sip.do(
            AnswerSipReinvite(call=CALL, leg=leg, op=offer.op, sdp=description("recvonly"))
        )
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_refreshes_are_answered_without_the_core(tmp_path: Path) -> None:
    async with calling("callee_refreshes", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        await phone.has_received("200", 3)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_we_hold_and_resume(tmp_path: Path) -> None:
    async with calling("callee_is_reinvited", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        for op, (ours, theirs) in enumerate((("sendonly", "recvonly"), ("sendrecv", "sendrecv"))):
            sdp = description(ours, version=2 + op)
            bridge.sip.do(SendSipReinvite(call=CALL, leg=leg, op=OpId(op), sdp=sdp))
            answer = await bridge.expect(SipReinviteAnswered)
            assert answer.op == op
            assert f"a={theirs}" in answer.sdp
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_challenged_offer_is_sent_again_with_credentials(tmp_path: Path) -> None:
    async with calling("callee_challenges_our_offer", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        hold = description("sendonly", version=2)
        bridge.sip.do(SendSipReinvite(call=CALL, leg=leg, op=OpId(1), sdp=hold))
        answer = await bridge.expect(SipReinviteAnswered)
        assert answer.op == 1
        assert "a=recvonly" in answer.sdp
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_glare_is_reported_and_the_next_offer_goes_through(tmp_path: Path) -> None:
    async with calling("callee_is_busy_offering", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        hold = description("sendonly", version=2)
        bridge.sip.do(SendSipReinvite(call=CALL, leg=leg, op=OpId(1), sdp=hold))
        failed = await bridge.expect(SipReinviteFailed)
        assert failed == SipReinviteFailed(leg=leg, op=OpId(1), status=491)
        bridge.sip.do(SendSipReinvite(call=CALL, leg=leg, op=OpId(2), sdp=hold))
        assert (await bridge.expect(SipReinviteAnswered)).op == 2
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_offer_that_crosses_ours_is_refused_with_491(tmp_path: Path) -> None:
    async with calling("callee_crosses_offers", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        sdp = description(version=2)
        bridge.sip.do(SendSipReinvite(call=CALL, leg=leg, op=OpId(1), sdp=sdp))
        assert (await bridge.expect(SipReinviteAnswered)).op == 1
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_our_offer_while_theirs_waits_is_glare(tmp_path: Path) -> None:
    async with calling("callee_holds", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        offer = await bridge.expect(SipReinviteReceived)
        bridge.sip.do(SendSipReinvite(call=CALL, leg=leg, op=OpId(7), sdp=description(version=2)))
        failed = await bridge.expect(SipReinviteFailed)
        assert failed == SipReinviteFailed(leg=leg, op=OpId(7), status=491)
        bridge.sip.do(
            AnswerSipReinvite(call=CALL, leg=leg, op=offer.op, sdp=description("recvonly"))
        )
        offer = await bridge.expect(SipReinviteReceived)
        bridge.sip.do(AnswerSipReinvite(call=CALL, leg=leg, op=offer.op, sdp=description()))
        await phone.has_sent("ACK", 2)
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_we_hang_up_while_their_offer_waits(tmp_path: Path) -> None:
    async with calling("callee_offers_and_is_left", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        offer = await bridge.expect(SipReinviteReceived)
        bridge.sip.do(bye(leg))
        assert (await bridge.expect(SipEnded)).remote is False
        bridge.sip.do(AnswerSipReinvite(call=CALL, leg=leg, op=offer.op, sdp=description()))
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_phone_hangs_up_while_its_offer_waits(tmp_path: Path) -> None:
    async with calling("callee_offers_and_leaves", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        offer = await bridge.expect(SipReinviteReceived)
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=200)
        bridge.sip.do(AnswerSipReinvite(call=CALL, leg=leg, op=offer.op, sdp=description()))
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_phone_hangs_up_instead_of_answering_our_offer(tmp_path: Path) -> None:
    async with calling("callee_leaves_instead", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        bridge.sip.do(SendSipReinvite(call=CALL, leg=leg, op=OpId(1), sdp=description(version=2)))
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=200)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_dialog_that_the_phone_lost_ends(tmp_path: Path) -> None:
    async with calling("callee_forgets", tmp_path) as (bridge, phone, leg):
        await answered(bridge)
        bridge.sip.do(SendSipReinvite(call=CALL, leg=leg, op=OpId(1), sdp=description(version=2)))
        failed = await bridge.expect(SipReinviteFailed)
        assert failed == SipReinviteFailed(leg=leg, op=OpId(1), status=481)
        ended = await bridge.expect(SipEnded)
        assert (ended.status, ended.remote) == (481, True)
        await phone.succeeds()
        assert bridge.nothing_more()


@pytest.mark.parametrize(
    ("payload", "codec"), [("0", "PCMU/8000"), ("9", "G722/8000"), ("111", "opus/48000/2")]
)
async def test_codec(tmp_path: Path, payload: str, codec: str) -> None:
    keys = {"payload": payload, "codec": codec}
    offer = description().replace(" 8 101", f" 8 {payload} 101")
    async with Sipp("callee_answers", tmp_path, keys=keys) as phone:
        async with Bridge({TRUNK: trunk(phone.port)}) as bridge:
            leg = bridge.call(sdp=f"{offer}a=rtpmap:{payload} {codec}\r\n")
            await bridge.expect(SipProgressed)
            assert f"a=rtpmap:{payload} {codec}" in (await answered(bridge)).sdp
            bridge.sip.do(bye(leg))
            await bridge.expect(SipEnded)
            await phone.succeeds()


async def test_encrypted_audio(tmp_path: Path) -> None:
    async with Sipp("callee_answers_encrypted", tmp_path) as phone:
        async with Bridge({TRUNK: trunk(phone.port)}) as bridge:
            leg = bridge.call(sdp=encrypted(description()))
            answer = await bridge.expect(SipAnswered)
            assert "a=crypto:1 AES_CM_128_HMAC_SHA1_80" in answer.sdp
            bridge.sip.do(bye(leg))
            await bridge.expect(SipEnded)
            await phone.succeeds()
            assert "m=audio 41000 RTP/SAVP 8 101" in phone.messages()


async def test_dialog_can_be_ended_by_what_was_recorded_of_it(tmp_path: Path) -> None:
    async with calling("callee_answers", tmp_path) as (bridge, phone, leg):
        await bridge.expect(SipProgressed)
        await answered(bridge)
        await phone.has_received("ACK", 1)
        record = CallRecord(
            call=CALL,
            direction=Direction.TO_SIP,
            person=UserId("@ann:example.org"),
            address=Address("tel:+12025550123"),
            trunk=TRUNK,
            started_at=1.0,
            sip_dialog=await until(lambda: bridge.dialogs.get(leg), what="the dialog is recorded"),
        )
        await bridge.sip.end_orphan(record)
        await phone.succeeds()
        acknowledged, _, ended = phone.messages().partition("ACK sip:")[2].partition("BYE sip:")
        tags = re.findall(r"^(?:From|To):.*tag=(\S+)", acknowledged, re.MULTILINE)
        assert len(tags) == 2
        assert re.findall(r"^(?:From|To):.*tag=(\S+)", ended, re.MULTILINE)[:2] == tags


async def test_server_that_is_not_there() -> None:
    async with Bridge({TRUNK: trunk(9, transport="udp")}, max_calls=1) as bridge:
        leg = bridge.call("first")
        bridge.call("second")
        second = await bridge.expect(SipEnded)
        assert (second.leg, second.status, second.q850, second.remote) == ("second", 503, 47, False)
        bridge.sip.do(CancelSip(call=CALL, leg=leg))
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=487, remote=False)
