# SPDX-License-Identifier: GPL-3.0-or-later
"""What ghosts say."""

from typing import Any

import pytest

from bridge.call.commands import (
    SendCallEvent,
    SendMatrixAnswer,
    SendMatrixHangup,
    SendMatrixInvite,
    SendMatrixNegotiate,
    SendMatrixReject,
    SendMatrixSelectAnswer,
)
from bridge.call.events import SdpType
from bridge.call.ids import Address, CallId, MatrixCallId, OpId, PartyId, UserId
from bridge.matrix.writer import write_call_event
from tests.matrix.fakes import ROOM

SDP = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=msid:stream track\r\na=mid:0\r\n"
METADATA = {"stream": {"purpose": "m.usermedia", "audio_muted": False, "video_muted": True}}
CAPABILITIES = {"m.call.dtmf": True, "m.call.transferee": True}
COMMON = {"call_id": "~c", "party_id": "sip", "version": "1"}


def about(version: int = 1) -> dict[str, Any]:
    return {
        "call": CallId("call"),
        "op": OpId(1),
        "room": ROOM,
        "address": Address("tel:+12025550123"),
        "call_id": MatrixCallId("~c"),
        "party": PartyId("sip"),
        "version": version,
    }


INVITEE = UserId("@alice:example.org")


@pytest.mark.parametrize(
    ("command", "event_type", "own"),
    [
        (
            SendMatrixInvite(**about(), sdp=SDP, lifetime=59.9, invitee=INVITEE),
            "m.call.invite",
            {
                "offer": {"type": "offer", "sdp": SDP},
                "lifetime": 59900,
                "invitee": INVITEE,
                "capabilities": CAPABILITIES,
                "sdp_stream_metadata": METADATA,
            },
        ),
        (
            SendMatrixAnswer(**about(), sdp=SDP),
            "m.call.answer",
            {
                "answer": {"type": "answer", "sdp": SDP},
                "capabilities": CAPABILITIES,
                "sdp_stream_metadata": METADATA,
            },
        ),
        (
            SendMatrixSelectAnswer(**about(), selected=PartyId("D")),
            "m.call.select_answer",
            {"selected_party_id": "D"},
        ),
        (
            SendMatrixReject(**about(), reason="user_busy"),
            "m.call.reject",
            {"reason": "user_busy"},
        ),
        (
            SendMatrixHangup(**about(), reason="user_hangup"),
            "m.call.hangup",
            {"reason": "user_hangup"},
        ),
        (
            SendMatrixNegotiate(**about(), type=SdpType.ANSWER, sdp=SDP, lifetime=60),
            "m.call.negotiate",
            {
                "description": {"type": "answer", "sdp": SDP},
                "lifetime": 60000,
                "sdp_stream_metadata": METADATA,
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_v1(command: SendCallEvent, event_type: str, own: dict[str, Any]) -> None:
    assert write_call_event(command) == (event_type, {**COMMON, **own})


def test_v0_has_an_integer_version_no_party_and_no_extras() -> None:
    _, answer = write_call_event(SendMatrixAnswer(**about(0), sdp=SDP))
    assert answer == {
        "call_id": "~c",
        "version": 0,
        "answer": {"type": "answer", "sdp": SDP},
    }
    assert type(answer["version"]) is int


@pytest.mark.parametrize(
    ("reason", "said"),
    [("ice_failed", {"reason": "ice_failed"}), ("user_hangup", {}), ("user_busy", {})],
)
def test_v0_hangs_up_with_the_reasons_that_v0_knows(reason: str, said: dict[str, str]) -> None:
    _, content = write_call_event(SendMatrixHangup(**about(0), reason=reason))
    assert content == {"call_id": "~c", "version": 0, **said}


@pytest.mark.parametrize(
    ("lines", "streams"),
    [
        ("a=msid:one t\r\na=msid:two t\r\na=msid:one u\r\n", ["one", "two"]),
        ("a=ssrc:1 msid:hidden t\r\n", None),
        ("a=msid:- t\r\n", None),
        ("a=msid-semantic: WMS *\r\n", None),
    ],
)
def test_metadata_is_keyed_as_the_sdp_names_its_streams(
    lines: str, streams: list[str] | None
) -> None:
    _, content = write_call_event(SendMatrixAnswer(**about(), sdp="v=0\r\n" + lines))
    metadata = content.get("sdp_stream_metadata")
    assert (metadata if metadata is None else list(metadata)) == streams


def test_a_command_that_is_no_event_is_our_own_mistake() -> None:
    with pytest.raises(TypeError, match="SendCallEvent"):
        write_call_event(SendCallEvent(**about()))


@pytest.mark.parametrize(
    ("direction", "port", "muted"),
    [("sendrecv", 9, False), ("sendonly", 9, False), ("recvonly", 9, True), ("sendrecv", 0, True)],
)
def test_a_picture_is_announced_where_there_is_one(direction: str, port: int, muted: bool) -> None:
    sdp = (
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
        "a=fingerprint:sha-256 AB:CD\r\n"
        f"{SDP.removeprefix('v=0').lstrip()}"
        f"m=video {port} UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na={direction}\r\n"
        "a=msid:stream picture\r\na=mid:1\r\na=rtcp-mux\r\n"
    )
    command = SendMatrixNegotiate(**about(), type=SdpType.OFFER, sdp=sdp, lifetime=60)
    _, content = write_call_event(command)
    own = {"purpose": "m.usermedia", "audio_muted": False, "video_muted": muted}
    assert content["sdp_stream_metadata"] == {"stream": own}
