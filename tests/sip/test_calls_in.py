# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls from SIP, with sipp as the phone."""

import asyncio
import socket
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from bridge.call.commands import AnswerSip, ByeSip, RejectSip, SendSipProgress
from bridge.call.events import SipCancelled, SipConfirmed, SipEnded, SipInviteReceived
from bridge.config import Trunk
from bridge.sip.dialog_state import DialogState
from bridge.sip.trunks import Peers
from tests.simulators.waiting import until
from tests.sip.calls import called
from tests.sip.phone import CALL, LOCALHOST, TRUNK, Bridge, Sipp, description, encrypted, trunk

pytestmark = pytest.mark.e2e

SDP = description()


async def test_rings_is_answered_and_the_phone_hangs_up(tmp_path: Path) -> None:
    async with called("caller_hears_ringing", tmp_path) as (bridge, phone):
        invite = await bridge.expect(SipInviteReceived)
        assert (invite.trunk, invite.caller, invite.caller_name, invite.dialled) == (
            *(TRUNK, "tel:+12025550111", "Ann Example"),
            "+12025550123",
        )
        assert invite.sdp
        assert "m=audio" in invite.sdp
        leg = invite.leg
        bridge.sip.do(SendSipProgress(call=CALL, leg=leg, status=180))
        bridge.sip.do(SendSipProgress(call=CALL, leg=leg, status=183, sdp=SDP))
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=SDP))
        assert await bridge.expect(SipConfirmed) == SipConfirmed(leg=leg, sdp=None)
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=200)
        await phone.succeeds()
        assert bridge.nothing_more()
    assert bridge.sip.leg_of(invite.sip_call_id) == leg
    assert {call_id for call_id, _, _ in bridge.ladder} == {invite.sip_call_id}
    assert [text.split(" ")[0 if way == "received" else 1] for _, way, text in bridge.ladder] == [
        *("INVITE", "100", "180", "183", "200", "ACK", "BYE", "200")
    ]


async def test_is_answered_and_we_hang_up(tmp_path: Path) -> None:
    async with called("caller_waits_for_bye", tmp_path) as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=SDP))
        await bridge.expect(SipConfirmed)
        bridge.sip.do(ByeSip(call=CALL, leg=leg, q850=31))
        ended = await bridge.expect(SipEnded)
        assert ended == SipEnded(leg=leg, status=200, q850=31, remote=False)
        await phone.succeeds()
        assert "Reason: Q.850;cause=31" in phone.messages()
        assert bridge.nothing_more()
    dialog = DialogState.from_json(bridge.dialogs[leg])
    assert "tag=" in dialog.local
    assert "tag=" in dialog.remote
    assert dialog.target.startswith(f"sip:phone@{LOCALHOST}:{phone.port}")


async def test_caller_gives_up(tmp_path: Path) -> None:
    async with called("caller_cancels", tmp_path) as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(SendSipProgress(call=CALL, leg=leg, status=180))
        assert await bridge.expect(SipCancelled) == SipCancelled(leg=leg, cause=200)
        ended = await bridge.expect(SipEnded)
        assert ended == SipEnded(leg=leg, status=487, reason="Cancelled")
        await phone.succeeds()
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=SDP))  # Too late: dropped.
        assert bridge.nothing_more()


async def test_is_refused(tmp_path: Path) -> None:
    async with called("caller_is_refused", tmp_path, status="486") as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(RejectSip(call=CALL, leg=leg, status=486, reason="Not now"))
        ended = await bridge.expect(SipEnded)
        assert ended == SipEnded(leg=leg, status=486, reason="Not now", remote=False)
        await phone.succeeds()
        assert "SIP/2.0 486 Not now" in phone.messages()
        assert bridge.nothing_more()


async def test_invite_without_an_offer(tmp_path: Path) -> None:
    async with called("caller_offers_nothing", tmp_path) as (bridge, phone):
        invite = await bridge.expect(SipInviteReceived)
        assert invite.sdp is None
        bridge.sip.do(SendSipProgress(call=CALL, leg=invite.leg, status=183, sdp=SDP))
        bridge.sip.do(AnswerSip(call=CALL, leg=invite.leg, sdp=SDP))
        confirmed = await bridge.expect(SipConfirmed)
        assert confirmed.sdp
        assert "m=audio 60" in confirmed.sdp
        await bridge.expect(SipEnded)
        await phone.succeeds()


@pytest.mark.parametrize(
    ("header", "caller", "name"),
    [
        (
            'P-Asserted-Identity: "Front Desk" <sip:+12025550142@mx.test>',
            *("tel:+12025550142", "Front Desk"),
        ),
        ("P-Asserted-Identity: <sip:door@pbx.example.org>", "sip:door@pbx.example.org", ""),
        ("Remote-Party-ID: <sip:+12025550143@mx.test>;party=calling", "tel:+12025550143", ""),
        ("Privacy: id", "sip:anonymous@anonymous.invalid", ""),
    ],
)
async def test_who_calls(tmp_path: Path, header: str, caller: str, name: str) -> None:
    async with called("caller_is_refused", tmp_path, status="486", extra=header) as (bridge, phone):
        invite = await bridge.expect(SipInviteReceived)
        assert (invite.caller, invite.caller_name) == (caller, name)
        bridge.sip.do(RejectSip(call=CALL, leg=invite.leg, status=486))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_answer_that_does_not_fit_the_offer_ends_the_call(tmp_path: Path) -> None:
    async with called("caller_is_refused", tmp_path, status="415") as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        wrong = SDP.replace("RTP/AVP 8 101", "RTP/AVP 99").replace("PCMA", "nonsense")
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=wrong))
        ended = await bridge.expect(SipEnded)
        # By RFC 3261 13.3.1.3 it should be 488, but this one is pjsip's own.
        assert (ended.status, ended.remote) == (415, False)
        await phone.succeeds()
        assert bridge.nothing_more()


@pytest.mark.parametrize(
    ("payload", "codec"), [("0", "PCMU/8000"), ("9", "G722/8000"), ("111", "opus/48000/2")]
)
async def test_codec(tmp_path: Path, payload: str, codec: str) -> None:
    keys = {"payload": payload, "codec": codec}
    answer = SDP.replace(" 8 101", f" {payload} 101").replace("8 PCMA/8000", f"{payload} {codec}")
    async with called("caller_hangs_up", tmp_path, keys=keys) as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=answer))
        await bridge.expect(SipConfirmed)
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=200)
        await phone.succeeds()


async def test_video_is_declined_and_audio_goes_on(tmp_path: Path) -> None:
    async with called("caller_offers_video", tmp_path) as (bridge, phone):
        invite = await bridge.expect(SipInviteReceived)
        assert invite.sdp
        assert "m=video 6012" in invite.sdp
        declined = SDP + "m=video 0 RTP/AVP 96\r\n"
        bridge.sip.do(AnswerSip(call=CALL, leg=invite.leg, sdp=declined))
        await bridge.expect(SipConfirmed)
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_encrypted_audio(tmp_path: Path) -> None:
    async with called("caller_hangs_up_encrypted", tmp_path) as (bridge, phone):
        invite = await bridge.expect(SipInviteReceived)
        assert invite.sdp
        assert "RTP/SAVP" in invite.sdp
        bridge.sip.do(AnswerSip(call=CALL, leg=invite.leg, sdp=encrypted(SDP)))
        await bridge.expect(SipConfirmed)
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_caller_of_whom_nothing_can_be_told_is_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("unreadable")

    monkeypatch.setattr(Peers, "trunk_of", fail)
    # The stack would choose by the domain in To.
    nearest = trunk(9).model_copy(update={"domain": "mx.test"})
    keys = {"status": "403"}
    async with (
        Bridge({TRUNK: nearest}) as bridge,
        Sipp("caller_is_refused", tmp_path, calls=bridge.port, keys=keys) as phone,
    ):
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_stranger_is_refused(tmp_path: Path) -> None:
    other = Trunk(server="192.0.2.1", peers=(IPv4Network("198.51.100.0/24"),))
    async with (
        Bridge({TRUNK: other}) as bridge,
        Sipp(
            "caller_is_refused", tmp_path, calls=bridge.port, times=3, keys={"status": "403"}
        ) as phone,
    ):
        await phone.succeeds()
        await until(lambda: bridge.sip.refused["stranger"] == 3, what="three are counted")
        assert bridge.nothing_more()
        assert bridge.ladder == []


async def test_peer_network_makes_a_trunk(tmp_path: Path) -> None:
    other = Trunk(server="192.0.2.1", peers=(IPv4Network("127.0.0.0/8"),))
    async with (
        Bridge({TRUNK: other}) as bridge,
        Sipp("caller_is_refused", tmp_path, calls=bridge.port, keys={"status": "486"}) as phone,
    ):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(RejectSip(call=CALL, leg=leg, status=486))
        await phone.succeeds()


async def test_more_calls_than_allowed(tmp_path: Path) -> None:
    async with Bridge({TRUNK: trunk(9)}, max_calls=1) as bridge:
        first, second = tmp_path / "1", tmp_path / "2"
        first.mkdir()
        second.mkdir()
        async with Sipp("caller_waits_for_bye", first, calls=bridge.port) as one:
            leg = (await bridge.expect(SipInviteReceived)).leg
            keys = {"status": "503"}
            async with Sipp("caller_is_refused", second, calls=bridge.port, keys=keys) as two:
                more = await bridge.expect(SipInviteReceived)
                assert more.full
                bridge.sip.do(RejectSip(call=CALL, leg=more.leg, status=503))
                await two.succeeds()
            await bridge.expect(SipEnded)
            bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=SDP))
            await bridge.expect(SipConfirmed)
            bridge.sip.do(ByeSip(call=CALL, leg=leg))
            await bridge.expect(SipEnded)
            await one.succeeds()


async def test_twenty_calls_at_once(tmp_path: Path) -> None:
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("caller_waits_for_bye", tmp_path, calls=bridge.port, times=20) as phone,
    ):
        legs = [(await bridge.expect(SipInviteReceived)).leg for _ in range(20)]
        assert len(set(legs)) == 20
        for leg in legs:
            bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=SDP))
        assert {(await bridge.expect(SipConfirmed)).leg for _ in legs} == set(legs)
        for leg in legs:
            bridge.sip.do(ByeSip(call=CALL, leg=leg))
        assert {(await bridge.expect(SipEnded)).leg for _ in legs} == set(legs)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_stop_ends_what_is_left(tmp_path: Path) -> None:
    async with called("caller_waits_for_bye", tmp_path) as (bridge, phone):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=SDP))
        await bridge.expect(SipConfirmed)
        await bridge.sip.stop()
        assert await bridge.expect(SipEnded) == SipEnded(leg=leg, status=200, remote=False)
        await phone.succeeds()


async def test_options_is_answered(tmp_path: Path) -> None:
    async with called("caller_asks_options", tmp_path) as (bridge, phone):
        await phone.succeeds()
        assert bridge.sip.responsive
    assert not bridge.sip.responsive


async def test_garbage_does_no_harm(tmp_path: Path) -> None:
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rogue:
            rogue.bind((LOCALHOST, 0))
            for garbage in GARBAGE:
                rogue.sendto(garbage, (LOCALHOST, bridge.port))
        async with Sipp("caller_hangs_up", tmp_path, calls=bridge.port) as phone:
            leg = (await bridge.expect(SipInviteReceived)).leg
            bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=SDP))
            await bridge.expect(SipConfirmed)
            await bridge.expect(SipEnded)
            await phone.succeeds()
        assert bridge.nothing_more()


async def test_long_message_comes_whole(tmp_path: Path) -> None:
    extra = "X-Padding: " + "x" * 5000
    async with called("caller_is_refused", tmp_path, status="486", extra=extra) as (bridge, phone):
        invite = await bridge.expect(SipInviteReceived)
        bridge.sip.do(RejectSip(call=CALL, leg=invite.leg, status=486))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        await asyncio.sleep(0)
    first = bridge.ladder[0][2]
    assert extra in first
    assert invite.sdp
    assert first.endswith(invite.sdp)


_HEAD = (
    b"INVITE sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx%d\r\n"
    b"From: <sip:x@mx.test>;tag=1\r\nTo: <sip:x@mx.test>\r\n"
    b"Call-ID: garbage%d\r\nCSeq: 1 INVITE\r\n"
)
GARBAGE = (
    b"\x00\xff\xfe" * 50,
    b"\r\n\r\n",
    b"INVITE\r\n\r\n",
    b"SIP/2.0 200 OK\r\n\r\n",
    _HEAD % (1, 1) + b"Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=\xff\xff",
    _HEAD % (2, 2) + b"Content-Length: -5\r\n\r\n",
    _HEAD % (3, 3) + b"Contact: <sip:\xff\xfe@[::::]>\r\nContent-Length: 99999\r\n\r\n",
    _HEAD % (4, 4) + b"From: " + b"<" * 3000 + b"\r\nContent-Length: 0\r\n\r\n",
)


async def test_a_forwarded_call_and_the_number_that_was_dialled(tmp_path: Path) -> None:
    header = "Diversion: <sip:+12025550177@mx.test>;reason=no-answer"
    provider = trunk(9).model_copy(update={"dialled_from": ("diversion",)})
    async with (
        Bridge({TRUNK: provider}) as bridge,
        Sipp(
            "caller_is_refused",
            tmp_path,
            calls=bridge.port,
            keys={"status": "486", "extra": header},
        ) as phone,
    ):
        invite = await bridge.expect(SipInviteReceived)
        assert (invite.dialled, invite.diverted_by) == ("+12025550177", "tel:+12025550177")
        bridge.sip.do(RejectSip(call=CALL, leg=invite.leg, status=486))
        await bridge.expect(SipEnded)
        await phone.succeeds()
