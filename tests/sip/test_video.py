# SPDX-License-Identifier: GPL-3.0-or-later
"""Video in the descriptions of a dialog, and whole pictures by INFO (RFC 5168)."""

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge.call.commands import (
    AnswerMedia,
    AnswerSipReinvite,
    AskSipForPicture,
    OfferMedia,
    SendSipInvite,
    SendSipReinvite,
)
from bridge.call.events import (
    MediaOfferReady,
    SipAnswered,
    SipEnded,
    SipPictureWanted,
    SipProgressed,
    SipReinviteAnswered,
    SipReinviteFailed,
    SipReinviteReceived,
)
from bridge.call.ids import LegId, OpId, Side
from bridge.call.rules import TrunkPolicy
from bridge.call.terms import Terms
from bridge.sip.messages import parse
from bridge.sip.pictures import ASK, CONTROL, asks_for_picture
from tests.call.desk import POLICY, Desk
from tests.sip.calls import bye
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, description, trunk

VIDEO = (
    "m=video {port} RTP/AVP 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\n"
    "a=fmtp:97 profile-level-id=42e01f;packetization-mode=1\r\na=rtcp-fb:97 nack pli\r\n"
)


def shown(direction: str = "sendrecv", *, version: int = 1, port: int = 41002) -> str:
    """What our media engine might say, with video."""
    audio = description(direction, version=version)
    return audio + VIDEO.format(port=port) + f"a={direction}\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "asks"),
    [
        (CONTROL, ASK, True),
        ("Application/Media_Control+XML; charset=utf-8", ASK, True),
        (CONTROL, "<media_control><picture_fast_update /></media_control>", True),
        (CONTROL, "<media_control><general_error>no</general_error></media_control>", False),
        (CONTROL, "", False),
        ("text/xml", ASK, False),
    ],
)
def test_what_asks_for_a_picture(kind: str, body: str, asks: bool) -> None:
    info = f"INFO sip:a@b.test SIP/2.0\r\nCSeq: 1 INFO\r\nContent-Type: {kind}\r\n\r\n{body}"
    assert asks_for_picture(parse(info)) == asks


async def offered(bridge: Bridge, leg: LegId, sdp: str) -> SipReinviteAnswered | SipReinviteFailed:
    """What becomes of a re-INVITE, which may meet the end of the one before."""
    while True:
        bridge.sip.do(SendSipReinvite(call=CALL, leg=leg, op=OpId(7), sdp=sdp))
        result = await bridge.any_event()
        assert isinstance(result, SipReinviteAnswered | SipReinviteFailed)
        if not isinstance(result, SipReinviteFailed) or result.status != 491:
            return result


@pytest.mark.e2e
@pytest.mark.parametrize("refusal", ["488 Not Acceptable Here", "415 Unsupported Media Type"])
async def test_video_comes_and_goes(tmp_path: Path, refusal: str) -> None:
    """The stack, built without video, carries what others say of it, and logs no error."""
    keys = {"refusal": refusal}
    with capture_logs() as logs:
        async with (
            Sipp("callee_shows_itself", tmp_path, keys=keys) as phone,
            Bridge({TRUNK: trunk(phone.port)}) as bridge,
        ):
            leg = bridge.call(sdp=shown())
            await bridge.expect(SipProgressed)
            answered = await bridge.expect(SipAnswered)
            assert "m=video 6002 RTP/AVP 97" in answered.sdp
            offer = await bridge.expect(SipReinviteReceived)
            assert offer.sdp
            assert "m=video 0 RTP/AVP 97" in offer.sdp
            without = description(version=2) + "m=video 0 RTP/AVP 97\r\n"
            bridge.sip.do(AnswerSipReinvite(call=CALL, leg=leg, op=offer.op, sdp=without))
            back = await offered(bridge, leg, shown(version=3))
            assert isinstance(back, SipReinviteAnswered)
            assert "m=video 6002 RTP/AVP 97" in back.sdp
            refused = await offered(bridge, leg, shown("sendonly", version=4))
            assert isinstance(refused, SipReinviteFailed)
            assert refused.status == int(refusal[:3])
            assert await bridge.expect(SipPictureWanted) == SipPictureWanted(leg=leg)
            bridge.sip.do(AskSipForPicture(call=CALL, leg=leg))
            await phone.has_received("INFO", 1)
            bridge.sip.do(bye(leg))
            await bridge.expect(SipEnded)
            await phone.succeeds()
    about = {line["log_level"] for line in logs if "edia" in str(line.get("message"))}
    assert about == {"debug"}


@pytest.mark.e2e
async def test_who_wants_no_video_is_called_with_audio_alone(tmp_path: Path) -> None:
    """The core on one side, and a telephone on the other: two INVITEs, and one call."""
    shows = TrunkPolicy(terms=Terms(video=True))
    core = Desk(replace(POLICY, trunks={TRUNK: shows}))
    core.person_calls()
    asked = core.expect(OfferMedia)
    core.tell(MediaOfferReady(call=asked.call, op=asked.op, sdp=shown(), video=True))
    keys = {"refusal": "488 Not Acceptable Here", "warning": "304"}
    async with (
        Sipp("callee_wants_no_video", tmp_path, keys=keys, times=2) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        bridge.sip.do(core.expect(SendSipInvite))
        core.tell(await bridge.expect(SipEnded))
        asked = core.expect(OfferMedia)
        assert asked.audio_alone
        core.tell(MediaOfferReady(call=asked.call, op=asked.op, sdp=description()))
        second = core.expect(SendSipInvite)
        bridge.sip.do(second)
        core.tell(await bridge.expect(SipProgressed))
        core.tell(await bridge.expect(SipAnswered))
        assert core.expect(AnswerMedia).side is Side.SIP
        bridge.sip.do(bye(second.leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        sent = [parse(text) for _, way, text in bridge.ladder if way == "sent"]
    invites = [each for each in sent if each.method == "INVITE"]
    assert ["m=video" in (each.sdp or "") for each in invites] == [True, False]
    assert len({each.first("call-id") for each in invites}) == 2
