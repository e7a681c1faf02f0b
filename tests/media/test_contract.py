# SPDX-License-Identifier: GPL-3.0-or-later
"""What every media engine does: the same for the fake, the embedded and any other one."""

from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
import pytest_asyncio

from bridge.call.commands import (
    AddRemoteCandidates,
    AnswerMedia,
    CloseMedia,
    DropSuccessor,
    JoinMedia,
    OfferMedia,
    OfferSuccessor,
    RefreshPicture,
    RollbackMedia,
    SwitchMedia,
)
from bridge.call.events import (
    MediaClosed,
    MediaFailed,
    MediaFault,
    MediaOfferReady,
    MediaSwitched,
    MediaVideoChanged,
)
from bridge.call.ids import CallId, OpId, Side
from bridge.config import Logging
from bridge.media.embedded.engine import EmbeddedEngine
from bridge.media.workers.engine import WorkerEngine
from bridge.media.workers.template import Template
from bridge.ports import Emit, MediaEngine
from bridge.sdp.agreement import matrix_audio, sip_audio, webrtc_peer
from bridge.sdp.description import MediaDirection
from bridge.sdp.parser import parse
from tests.media.conftest import SETTINGS
from tests.media.desk import Desk
from tests.media.fake import FakeEngine, description
from tests.media.filming import Stage
from tests.media.processes import KeptTemplate
from tests.simulators.rtp import RtpPeer
from tests.simulators.webrtc import WebRtcPeer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGINES: dict[str, Callable[[Template, Emit], MediaEngine]] = {
    "fake": lambda template, emit: FakeEngine(emit),
    "embedded": lambda template, emit: EmbeddedEngine(SETTINGS, emit),
    "workers": lambda template, emit: WorkerEngine(
        SETTINGS, Logging(), emit, workers=2, template=template
    ),
}
CLIENT = description(Side.MATRIX)
PHONE = description(Side.SIP).replace("192.0.2.1", "127.0.0.1")
HOLD = PHONE.replace("sendrecv", "sendonly")
HELD = CLIENT.replace("sendrecv", "recvonly")
CLIENT_ANSWER = CLIENT.replace("actpass", "active")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def template() -> AsyncIterator[Template]:
    """What workers of all tests are copies of."""
    template = KeptTemplate()
    yield template
    await template.end()


@pytest_asyncio.fixture(loop_scope="module", params=["embedded", "workers"])
async def stage(request: pytest.FixtureRequest, template: Template) -> AsyncIterator[Stage]:
    """Each engine that carries packets, with cameras at both ends."""
    desk = Desk(partial(ENGINES[request.param], template))
    stage = Stage(desk, WebRtcPeer(), RtpPeer())
    stage.connect()
    yield stage
    stage.close()
    stage.phone.close()
    await stage.client.close()
    await desk.engine.close()


@pytest_asyncio.fixture(loop_scope="module", params=list(ENGINES))
async def desk(request: pytest.FixtureRequest, template: Template) -> AsyncIterator[Desk]:
    """Each engine in turn."""
    desk = Desk(partial(ENGINES[request.param], template))
    yield desk
    await desk.engine.close()


async def establish(desk: Desk) -> None:
    """A call from Matrix to SIP whose descriptions have all been exchanged."""
    await desk.offer(Side.MATRIX, CLIENT)
    await desk.answer(Side.SIP, PHONE)


async def test_a_call_to_sip_is_offered_and_answered(desk: Desk) -> None:
    offered = await desk.offer(Side.MATRIX, CLIENT)
    assert offered.needed
    audio = sip_audio(parse(offered.sdp))
    assert audio.port
    assert not audio.ice_ufrag
    answer = await desk.answer(Side.SIP, PHONE)
    peer = webrtc_peer(parse(answer))
    assert peer.candidates
    assert matrix_audio(parse(answer)).msids


async def test_a_call_to_matrix_is_offered_and_answered(desk: Desk) -> None:
    offered = await desk.offer(Side.SIP, PHONE)
    assert webrtc_peer(parse(offered.sdp)).candidates
    assert "opus/48000/2" in offered.sdp
    answer = await desk.answer(Side.MATRIX, CLIENT_ANSWER)
    assert sip_audio(parse(answer)).port


async def test_an_early_answer_may_be_followed_by_another(desk: Desk) -> None:
    await desk.offer(Side.MATRIX, CLIENT)
    assert await desk.answer(Side.SIP, PHONE, provisional=True)
    assert await desk.answer(Side.SIP, PHONE)


async def test_a_late_offer_may_have_an_early_answer(desk: Desk) -> None:
    """As when a person asked for the call: they have answered, and hear it ring there."""
    await desk.offer(Side.SIP, None)
    assert await desk.answer(Side.MATRIX, CLIENT_ANSWER)
    assert await desk.answer(Side.SIP, PHONE, provisional=True) == ""
    assert await desk.answer(Side.SIP, PHONE) == ""
    failed = await desk.refused(
        lambda op: AnswerMedia(call=desk.call, op=op, side=Side.SIP, sdp=PHONE)
    )
    assert failed.fault is MediaFault.BAD_SDP


async def test_an_answer_ends_the_exchange(desk: Desk) -> None:
    await establish(desk)
    failed = await desk.refused(
        lambda op: AnswerMedia(call=desk.call, op=op, side=Side.SIP, sdp=PHONE)
    )
    assert failed.fault is MediaFault.BAD_SDP


async def test_a_new_offer_replaces_one_that_waits(desk: Desk) -> None:
    await desk.offer(Side.SIP, PHONE)
    await desk.offer(Side.SIP, PHONE)
    assert await desk.answer(Side.MATRIX, CLIENT_ANSWER)


async def test_an_invite_without_an_offer_gets_one_late(desk: Desk) -> None:
    offered = await desk.offer(Side.SIP, None)
    assert webrtc_peer(parse(offered.sdp)).fingerprints
    ours = await desk.answer(Side.MATRIX, CLIENT_ANSWER)
    assert sip_audio(parse(ours)).port
    assert await desk.answer(Side.SIP, PHONE) == ""


async def test_a_refresh_asks_nobody(desk: Desk) -> None:
    await establish(desk)
    offered = await desk.offer(Side.SIP, PHONE)
    assert not offered.needed
    assert offered.sdp == ""
    assert sip_audio(parse(offered.answer)).direction is MediaDirection.SENDRECV


async def test_a_reinvite_without_an_offer_gets_one_at_once(desk: Desk) -> None:
    await establish(desk)
    offered = await desk.offer(Side.SIP, None)
    assert not offered.needed
    assert sip_audio(parse(offered.answer)).port
    assert await desk.answer(Side.SIP, PHONE) == ""


async def test_hold_is_passed_on_and_back(desk: Desk) -> None:
    await establish(desk)
    offered = await desk.offer(Side.SIP, HOLD)
    assert offered.needed
    assert matrix_audio(parse(offered.sdp)).direction is MediaDirection.SENDONLY
    answer = await desk.answer(Side.MATRIX, HELD)
    assert sip_audio(parse(answer)).direction is MediaDirection.RECVONLY
    resumed = await desk.offer(Side.SIP, PHONE)
    assert resumed.needed
    answer = await desk.answer(Side.MATRIX, CLIENT_ANSWER)
    assert sip_audio(parse(answer)).direction is MediaDirection.SENDRECV


async def test_hold_of_a_client_is_passed_on_and_back(desk: Desk) -> None:
    await establish(desk)
    offered = await desk.offer(Side.MATRIX, CLIENT.replace("sendrecv", "sendonly"))
    assert sip_audio(parse(offered.sdp)).direction is MediaDirection.SENDONLY
    answer = await desk.answer(Side.SIP, PHONE.replace("sendrecv", "recvonly"))
    assert matrix_audio(parse(answer)).direction is MediaDirection.RECVONLY


async def test_a_rolled_back_offer_cannot_be_answered(desk: Desk) -> None:
    await establish(desk)
    await desk.offer(Side.SIP, HOLD)
    desk.roll_back()
    failed = await desk.refused(
        lambda op: AnswerMedia(call=desk.call, op=op, side=Side.MATRIX, sdp=HELD)
    )
    assert failed.fault is MediaFault.BAD_SDP
    assert not (await desk.offer(Side.SIP, PHONE)).needed


async def test_two_offers_are_both_answered(desk: Desk) -> None:
    await desk.offer(Side.SIP, PHONE)
    joined = await desk.join(CLIENT, PHONE)
    assert webrtc_peer(parse(joined.matrix_sdp)).candidates
    assert sip_audio(parse(joined.sip_sdp)).port


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(
    ("sdp", "fault"),
    [
        ("nonsense", MediaFault.BAD_SDP),
        (PHONE.replace("m=audio", "m=video"), MediaFault.BAD_SDP),
        (
            PHONE.replace("0 101", "18"),
            MediaFault.NO_COMMON_CODEC,
        ),
    ],
    ids=["nonsense", "no audio", "no codec"],
)
async def test_offers_that_cannot_be_used_are_refused(
    desk: Desk, side: Side, sdp: str, fault: MediaFault
) -> None:
    if side is Side.MATRIX:
        sdp = sdp.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF") + (
            "a=ice-ufrag:fake\r\na=ice-pwd:fakefakefakefakefakefake\r\n"
            f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\n"
        )
    failed = await desk.refused(lambda op: OfferMedia(call=desk.call, op=op, side=side, sdp=sdp))
    assert failed.fault is fault
    assert failed.detail


async def test_results_come_in_order_and_never_at_once(desk: Desk) -> None:
    call = desk.call
    desk.engine.do(OfferMedia(call=call, op=OpId(101), side=Side.MATRIX, sdp="nonsense"))
    desk.engine.do(OfferMedia(call=call, op=OpId(102), side=Side.MATRIX, sdp=CLIENT))
    desk.engine.do(AnswerMedia(call=call, op=OpId(103), side=Side.SIP, sdp=PHONE))
    desk.engine.do(OfferMedia(call=call, op=OpId(104), side=Side.SIP, sdp=PHONE))
    assert not desk.events
    await desk.event(MediaOfferReady, 2)
    assert [getattr(event, "op", None) for event in desk.events] == [101, 102, 103, 104]


async def test_calls_do_not_mix(desk: Desk) -> None:
    other = CallId("call-2")
    desk.engine.do(OfferMedia(call=other, op=OpId(201), side=Side.MATRIX, sdp=CLIENT))
    await establish(desk)
    await desk.hang_up()
    desk.engine.do(AnswerMedia(call=other, op=OpId(202), side=Side.SIP, sdp=PHONE))
    answered = await desk.ask(lambda op: OfferMedia(call=other, op=op, side=Side.SIP, sdp=PHONE))
    assert isinstance(answered, MediaOfferReady)
    assert not answered.needed


async def test_a_session_ends_once(desk: Desk) -> None:
    await establish(desk)
    statistics = await desk.hang_up()
    assert "mode" in statistics
    desk.engine.do(RollbackMedia(call=desk.call))
    desk.engine.do(AddRemoteCandidates(call=desk.call, candidates=("",)))
    failed = await desk.refused(
        lambda op: AnswerMedia(call=desk.call, op=op, side=Side.SIP, sdp=PHONE)
    )
    assert failed.fault is MediaFault.INTERNAL
    assert len(desk.of(MediaClosed)) == 1


async def test_a_session_that_is_busy_can_be_ended(desk: Desk) -> None:
    desk.engine.do(OfferMedia(call=desk.call, op=OpId(1), side=Side.MATRIX, sdp=CLIENT))
    desk.engine.do(CloseMedia(call=desk.call))
    await desk.event(MediaClosed)
    assert not desk.of(MediaFailed)


async def test_closing_what_was_never_opened_is_answered_too(desk: Desk) -> None:
    desk.engine.do(CloseMedia(call=CallId("unknown")))
    assert (await desk.event(MediaClosed)).call == "unknown"


async def test_closing_the_engine_ends_every_session(desk: Desk) -> None:
    await establish(desk)
    desk.engine.do(JoinMedia(call=CallId("call-2"), op=OpId(99), matrix_sdp=CLIENT, sip_sdp=PHONE))
    await desk.ask(lambda op: OfferMedia(call=CallId("call-2"), op=op, side=Side.SIP, sdp=PHONE))
    await desk.engine.close()
    assert {event.call for event in desk.of(MediaClosed)} == {desk.call, "call-2"}


# --- the SIP peer of another call takes the client's place -------------------------------------

SECOND = CallId("call-2")


async def test_two_calls_go_on_without_clients(desk: Desk) -> None:
    await establish(desk)
    second = desk.another(SECOND)
    await establish(second)
    desk.bridge(SECOND)
    second.bridge(desk.call)
    for each in (desk, second):
        kept = await each.offer(Side.MATRIX, "")
        assert (kept.needed, kept.answer) == (False, "")
    held = await desk.offer(Side.SIP, HOLD)
    assert not held.needed
    assert sip_audio(parse(held.answer)).direction is MediaDirection.RECVONLY


async def test_a_call_is_placed_without_a_client(desk: Desk) -> None:
    await establish(desk)
    second = desk.another(SECOND)
    desk.bridge(SECOND)
    second.bridge(desk.call)
    offered = await second.offer(Side.MATRIX, "")
    assert offered.needed
    assert sip_audio(parse(offered.sdp)).direction is MediaDirection.SENDRECV
    assert await second.answer(Side.SIP, PHONE, provisional=True) == ""
    assert await second.answer(Side.SIP, PHONE) == ""
    assert not (await second.offer(Side.MATRIX, "")).needed


async def test_who_was_on_hold_is_offered_to_talk(desk: Desk) -> None:
    await establish(desk)
    await desk.offer(Side.MATRIX, CLIENT.replace("sendrecv", "sendonly"))
    await desk.answer(Side.SIP, PHONE.replace("sendrecv", "recvonly"))
    desk.bridge(SECOND)
    free = await desk.offer(Side.MATRIX, "")
    assert free.needed
    assert sip_audio(parse(free.sdp)).direction is MediaDirection.SENDRECV
    assert await desk.answer(Side.SIP, PHONE) == ""
    assert not (await desk.offer(Side.MATRIX, "")).needed


# --- another SIP peer takes the present one's place ---------------------------------------------

SUCCESSOR = PHONE.replace("4000", "4010")


async def succeed(desk: Desk, sdp: str = SUCCESSOR, *, offered: bool = False) -> MediaSwitched:
    event = await desk.ask(lambda op: SwitchMedia(call=desk.call, op=op, sdp=sdp, offered=offered))
    assert isinstance(event, MediaSwitched), event
    return event


async def test_a_successor_is_offered_a_place_and_takes_it(desk: Desk) -> None:
    await establish(desk)
    offered = await desk.ask(lambda op: OfferSuccessor(call=desk.call, op=op))
    assert isinstance(offered, MediaOfferReady)
    assert sip_audio(parse(offered.sdp)).direction is MediaDirection.SENDRECV
    assert not (await desk.offer(Side.SIP, PHONE)).needed  # The present one may go on.
    switched = await succeed(desk)
    assert (switched.sdp, switched.needed) == ("", False)
    assert not (await desk.offer(Side.SIP, SUCCESSOR)).needed


async def test_a_successor_that_offers_is_answered(desk: Desk) -> None:
    await establish(desk)
    switched = await succeed(desk, offered=True)
    assert sip_audio(parse(switched.sdp)).direction is MediaDirection.SENDRECV
    assert not switched.needed


async def test_a_successor_is_not_kept_on_hold_for_the_other_ones_sake(desk: Desk) -> None:
    await establish(desk)
    await desk.offer(Side.SIP, HOLD)
    await desk.answer(Side.MATRIX, HELD)
    offered = await desk.ask(lambda op: OfferSuccessor(call=desk.call, op=op))
    assert sip_audio(parse(offered.sdp)).direction is MediaDirection.SENDRECV
    assert (await succeed(desk)).needed
    resumed = await desk.offer(Side.SIP, SUCCESSOR)
    assert resumed.needed
    assert matrix_audio(parse(resumed.sdp)).direction is MediaDirection.SENDRECV
    answer = await desk.answer(Side.MATRIX, CLIENT_ANSWER)
    assert sip_audio(parse(answer)).direction is MediaDirection.SENDRECV
    assert not (await desk.offer(Side.SIP, SUCCESSOR)).needed


@pytest.mark.parametrize(
    ("sdp", "offered", "fault"),
    [
        (SUCCESSOR, False, MediaFault.BAD_SDP),
        ("nonsense", True, MediaFault.BAD_SDP),
        (SUCCESSOR.replace("0 101", "18"), True, MediaFault.NO_COMMON_CODEC),
    ],
    ids=["not offered", "nonsense", "no codec"],
)
async def test_a_successor_that_cannot_be_leaves_everything_as_it_is(
    desk: Desk, sdp: str, offered: bool, fault: MediaFault
) -> None:
    await establish(desk)
    failed = await desk.refused(
        lambda op: SwitchMedia(call=desk.call, op=op, sdp=sdp, offered=offered)
    )
    assert failed.fault is fault
    assert not (await desk.offer(Side.SIP, PHONE)).needed


async def test_a_successor_that_was_given_up_cannot_answer(desk: Desk) -> None:
    await establish(desk)
    await desk.ask(lambda op: OfferSuccessor(call=desk.call, op=op))
    desk.engine.do(DropSuccessor(call=desk.call))
    failed = await desk.refused(lambda op: SwitchMedia(call=desk.call, op=op, sdp=SUCCESSOR))
    assert failed.fault is MediaFault.BAD_SDP


# --- video ----------------------------------------------------------------------------------------


async def test_video_passes_where_the_terms_allow_it(stage: Stage) -> None:
    await stage.call()
    client_saw, phone_saw = stage.client_screen.shown, stage.phone_screen.shown
    await stage.roll(
        lambda: min(len(client_saw), len(phone_saw)) >= 5, stage.client_camera, stage.phone_camera
    )
    assert (await stage.desk.event(MediaVideoChanged)).codec == "VP8/90000"
    stage.desk.engine.do(RefreshPicture(call=stage.desk.call))
    await stage.roll(lambda: "pli" in stage.client_camera.asked, stage.client_camera)
    assert (await stage.desk.hang_up())["video_mode"] == "relay"


async def test_video_is_declined_in_place_where_they_do_not(stage: Stage) -> None:
    offer = await stage.client_sdp()
    offered = await stage.desk.offer(Side.MATRIX, offer)
    assert "m=video" not in offered.sdp
    answer = parse(await stage.desk.answer(Side.SIP, stage.phone.sdp()))
    assert [media.kind for media in answer.media] == ["audio", "video"]
    assert answer.media[1].declined
    assert not stage.desk.of(MediaVideoChanged)


async def test_who_has_no_video_is_asked_for_no_picture(desk: Desk) -> None:
    await establish(desk)
    desk.engine.do(RefreshPicture(call=desk.call))
    assert "video_mode" not in await desk.hang_up()
