# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers by the far end: REFER to us, and INVITE with Replaces, with sipp as everybody."""

from pathlib import Path

import pytest

from bridge.call.commands import (
    AnswerSip,
    ByeSip,
    CancelSip,
    NotifySip,
    RejectSip,
    SendSipInvite,
    SendSipProgress,
)
from bridge.call.events import (
    SipAnswered,
    SipConfirmed,
    SipEnded,
    SipEvent,
    SipInviteReceived,
    SipProgressed,
    SipReferReceived,
)
from bridge.call.ids import LegId
from bridge.sip.messages import parse, tag_of
from bridge.sip.referrals import read_referral
from tests.simulators.waiting import until
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, description, trunk

REPLACES = "abc%40pbx%3Bto-tag%3D1%3Bfrom-tag%3D2"


def referral_to(target: str, outcome: str = "200 OK") -> dict[str, str]:
    return {"refer_to": target, "outcome": outcome}


@pytest.mark.e2e
@pytest.mark.parametrize("outcome", ["200 OK", "486 Busy Here"])
async def test_refer_is_accepted_and_its_progress_is_told(tmp_path: Path, outcome: str) -> None:
    keys = referral_to("<sip:+12025550199@mx.test>", outcome)
    async with (
        Sipp("callee_transfers_us", tmp_path, keys=keys) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        leg = bridge.call()
        await bridge.expect(SipAnswered)
        asked = await bridge.expect(SipReferReceived)
        assert (asked.leg, asked.target, asked.uri) == (leg, "tel:+12025550199", "")
        assert (asked.replaces, asked.referred_by) == ("", "<sip:phone@mx.test>")
        for status in (100, 180, int(outcome[:3])):
            bridge.sip.do(NotifySip(call=CALL, leg=leg, op=asked.op, status=status))
        bridge.sip.do(NotifySip(call=CALL, leg=leg, op=asked.op, status=200))  # It has ended.
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()
        assert phone.messages().count("SIP/2.0 603") == 0


@pytest.mark.e2e
async def test_refer_to_a_party_of_the_trunk_and_into_its_dialog(tmp_path: Path) -> None:
    keys = referral_to(f"<sip:104@127.0.0.1?Replaces={REPLACES}&Require=replaces>")
    async with (
        Sipp("callee_transfers_us", tmp_path, keys=keys) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        leg = bridge.call()
        await bridge.expect(SipAnswered)
        asked = await bridge.expect(SipReferReceived)
        assert (asked.target, asked.uri) == ("tel:104", "sip:104@127.0.0.1")
        assert asked.replaces == "abc@pbx;to-tag=1;from-tag=2"
        for status in (100, 180, 200):
            bridge.sip.do(NotifySip(call=CALL, leg=leg, op=asked.op, status=status))
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


@pytest.mark.e2e
async def test_refer_by_a_trunk_that_may_not_transfer(tmp_path: Path) -> None:
    async with Sipp("callee_transfers", tmp_path) as phone:
        settings = trunk(phone.port).model_copy(update={"transfers": "refuse"})
        async with Bridge({TRUNK: settings}) as bridge:
            leg = bridge.call()
            await bridge.expect(SipAnswered)
            await phone.has_received("603", 1)
            bridge.sip.do(ByeSip(call=CALL, leg=leg))
            await bridge.expect(SipEnded)
            await phone.succeeds()
            assert bridge.nothing_more()


@pytest.mark.e2e
async def test_a_call_that_was_asked_for_says_by_whom(tmp_path: Path) -> None:
    async with (
        Sipp("callee_answers", tmp_path) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        bridge.sip.do(
            SendSipInvite(
                call=CALL,
                leg=LegId("leg"),
                trunk=TRUNK,
                target="sip:104@127.0.0.1",
                caller="",
                caller_name="",
                sdp=description(),
                replaces="abc@pbx;to-tag=1;from-tag=2",
                referred_by="<sip:phone@mx.test>",
            )
        )
        await bridge.expect(SipProgressed)
        await bridge.expect(SipAnswered)
        bridge.sip.do(ByeSip(call=CALL, leg=LegId("leg")))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        invite = phone.messages().partition("INVITE sip:104@127.0.0.1")[2]
        assert "Replaces: abc@pbx;to-tag=1;from-tag=2" in invite
        assert "Referred-By: <sip:phone@mx.test>" in invite


# --- Replaces -----------------------------------------------------------------------------------


async def talking(bridge: Bridge) -> LegId:
    """A call that came in and was answered."""
    leg = (await bridge.expect(SipInviteReceived)).leg
    bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
    await bridge.expect(SipConfirmed)
    return leg


def dialog_of(bridge: Bridge, *, suffix: str = "") -> dict[str, str]:
    """The Replaces header that names the call that we answered."""
    text = next(text for _, way, text in bridge.ladder if way == "sent" and "SIP/2.0 200" in text)
    answer = parse(text)
    ours, theirs = tag_of(answer.first("to")), tag_of(answer.first("from"))
    call_id = answer.first("call-id")
    return {"extra": f"Replaces: {call_id};to-tag={ours};from-tag={theirs}{suffix}"}


def folders(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    return first, second


@pytest.mark.e2e
async def test_an_invite_takes_the_place_of_a_call(tmp_path: Path) -> None:
    first, second = folders(tmp_path)
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("caller_waits_for_bye", first, calls=bridge.port) as former,
    ):
        leg = await talking(bridge)
        keys = dialog_of(bridge, suffix="\r\nRequire: replaces")
        async with Sipp("caller_waits_for_bye", second, calls=bridge.port, keys=keys) as phone:
            invite = await bridge.expect(SipInviteReceived)
            assert invite.replaces == leg
            # Nothing waits for what the core makes of it.
            bridge.sip.do(SendSipProgress(call=CALL, leg=invite.leg, status=180))
            await until(lambda: "SIP/2.0 180" in phone.messages(), what="the other heard it ring")
            bridge.sip.do(AnswerSip(call=CALL, leg=invite.leg, sdp=description(version=7)))
            bridge.sip.do(ByeSip(call=CALL, leg=leg))
            # The one's ACK and the other's 200 to our BYE come in any order.
            both = [await bridge.expect(SipEvent) for _ in range(2)]
            assert {(type(event), event.leg) for event in both} == {
                (SipEnded, leg),
                (SipConfirmed, invite.leg),
            }
            await former.succeeds()
            bridge.sip.do(ByeSip(call=CALL, leg=invite.leg))
            assert (await bridge.expect(SipEnded)).leg == invite.leg
            await phone.succeeds()
            assert "m=audio 41000" in phone.messages()
        assert bridge.nothing_more()


@pytest.mark.e2e
async def test_an_invite_picks_up_what_rings_elsewhere(tmp_path: Path) -> None:
    first, second = folders(tmp_path)
    async with Sipp("callee_is_cancelled", first) as rings:
        async with Bridge({TRUNK: trunk(rings.port)}) as bridge:
            leg = bridge.call()
            await bridge.expect(SipProgressed)
            ringing = parse(next(text for *_, text in bridge.ladder if "SIP/2.0 180" in text))
            ours, theirs = tag_of(ringing.first("from")), tag_of(ringing.first("to"))
            call_id = ringing.first("call-id")
            early = f";to-tag={ours};from-tag={theirs};early-only"
            keys = {"extra": f"Replaces: {call_id}{early}"}
            async with Sipp("caller_waits_for_bye", second, calls=bridge.port, keys=keys) as phone:
                invite = await bridge.expect(SipInviteReceived)
                assert invite.replaces == leg
                bridge.sip.do(CancelSip(call=CALL, leg=leg))
                bridge.sip.do(AnswerSip(call=CALL, leg=invite.leg, sdp=description()))
                both = [await bridge.expect(SipEvent) for _ in range(2)]
                assert {(type(event), event.leg) for event in both} == {
                    (SipEnded, leg),
                    (SipConfirmed, invite.leg),
                }
                await rings.succeeds()
                bridge.sip.do(ByeSip(call=CALL, leg=invite.leg))
                assert (await bridge.expect(SipEnded)).leg == invite.leg
                await phone.succeeds()


@pytest.mark.e2e
async def test_an_invite_that_may_not_take_a_place(tmp_path: Path) -> None:
    first, second = folders(tmp_path)
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("caller_waits_for_bye", first, calls=bridge.port) as former,
    ):
        leg = await talking(bridge)
        keys = {"status": "491"} | dialog_of(bridge)
        async with Sipp("caller_is_refused", second, calls=bridge.port, keys=keys) as phone:
            invite = await bridge.expect(SipInviteReceived)
            bridge.sip.do(RejectSip(call=CALL, leg=invite.leg, status=491))
            ended = await bridge.expect(SipEnded)
            assert (ended.leg, ended.status) == (invite.leg, 491)
            await phone.succeeds()
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await former.succeeds()
        assert bridge.nothing_more()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("suffix", "tag", "status"),
    [(";early-only", "", "486"), ("", "x", "481")],
    ids=["only early", "unknown"],
)
async def test_an_invite_that_replaces_nothing(
    tmp_path: Path, suffix: str, tag: str, status: str
) -> None:
    first, second = folders(tmp_path)
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("caller_waits_for_bye", first, calls=bridge.port) as former,
    ):
        leg = await talking(bridge)
        keys = {"status": status} | dialog_of(bridge, suffix=f"{tag}{suffix}")
        async with Sipp("caller_is_refused", second, calls=bridge.port, keys=keys) as phone:
            await phone.succeeds()
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await former.succeeds()
        assert bridge.nothing_more()


@pytest.mark.e2e
async def test_a_trunk_that_may_not_replace(tmp_path: Path) -> None:
    first, second = folders(tmp_path)
    settings = trunk(9).model_copy(update={"transfers": "refuse"})
    async with (
        Bridge({TRUNK: settings}) as bridge,
        Sipp("caller_waits_for_bye", first, calls=bridge.port) as former,
    ):
        leg = await talking(bridge)
        keys = {"status": "603"} | dialog_of(bridge)
        async with Sipp("caller_is_refused", second, calls=bridge.port, keys=keys) as phone:
            await phone.succeeds()
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await former.succeeds()
        assert bridge.nothing_more()


# --- reading REFER ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refer_to",
    [
        "",
        "<mailto:ann@mx.test>",
        "<sip:mx.test>",
        "<sip:ann@mx.test;method=BYE>",
        "<sip:ann@mx.test?Replaces=a%0D%0AX-Evil%3A1>",
    ],
)
def test_refer_to_nobody_that_can_be_called(refer_to: str) -> None:
    assert read_referral(parse(f"REFER sip:a SIP/2.0\r\nRefer-To: {refer_to}\r\n\r\n")) is None


def test_refer_in_its_short_form() -> None:
    referral = read_referral(
        parse("REFER sip:a SIP/2.0\r\nr: tel:+12025550199\r\nb: <sip:ann@mx.test>\r\n\r\n")
    )
    assert referral is not None
    assert (referral.target.user, referral.written) == ("+12025550199", "tel:+12025550199")
    assert referral.referred_by == "<sip:ann@mx.test>"
