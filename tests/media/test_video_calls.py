# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls with video through the engine: pictures are filmed on one side and seen on the other."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from bridge.call.commands import OfferSuccessor, RefreshPicture, SwitchMedia
from bridge.call.events import (
    MediaConnected,
    MediaPictureWanted,
    MediaVideoChanged,
)
from bridge.call.ids import CallId, Side
from bridge.call.terms import Srtp, Terms
from bridge.media.embedded.rtcp import signed
from tests.media.desk import Desk
from tests.media.filming import IN_CLIENT, ON_PHONE, TERMS, Stage, keys_of
from tests.simulators.film import (
    Screen,
    lose_video,
    video_section,
)
from tests.simulators.rtp import RtpPeer
from tests.simulators.srtp import GCM_128
from tests.simulators.webrtc import WebRtcPeer

Make = Callable[[str], Stage]


@pytest.fixture
async def stage(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> AsyncIterator[Make]:
    """Makes a stage for a codec."""
    made: list[Stage] = []

    def make(codec: str = "VP8") -> Stage:
        made.append(Stage(desk, client, phone, codec))
        made[-1].connect()
        return made[-1]

    yield make
    for each in made:
        each.close()


def in_order(numbers: Sequence[int]) -> bool:
    """Whether no picture is missing from the first that was seen on."""
    return list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_pictures_of_both_sides_are_seen_on_the_other(stage: Make, codec: str) -> None:
    on = stage(codec)
    answer = await on.call()
    assert video_section(answer).formats == (str(IN_CLIENT[codec]),)
    client_saw, phone_saw = on.client_screen.shown, on.phone_screen.shown
    await on.roll(
        lambda: min(len(client_saw), len(phone_saw)) >= 20, on.client_camera, on.phone_camera
    )
    assert client_saw[0] == phone_saw[0] == 0
    assert in_order(client_saw)
    assert in_order(phone_saw)
    assert not on.client_camera.asked
    assert not on.phone_camera.asked
    assert await on.desk.event(MediaVideoChanged) == MediaVideoChanged(
        call=on.desk.call, codec=f"{codec}/90000"
    )
    found = await on.desk.hang_up()
    assert found["video_mode"] == "relay"
    assert found["matrix_video_codec"] == found["sip_video_codec"] == f"{codec}/90000"
    assert found["sip_video_packets_received"] == found["matrix_video_packets_sent"]
    assert found["sip_video_packets_lost"] == found["matrix_video_packets_dropped"] == 0


async def test_a_call_of_the_phone_is_seen_too_and_audio_goes_its_own_way(stage: Make) -> None:
    on = stage("VP8")
    offered = await on.desk.offer(Side.SIP, on.phone_sdp(), terms=TERMS)
    number = int(video_section(offered.sdp).formats[0])
    client_answer = await on.client_sdp(answer_to=offered.sdp)
    connecting = asyncio.create_task(on.client.connect(offered.sdp, role="client"))
    on.aim(await on.desk.answer(Side.MATRIX, client_answer))
    await connecting
    await on.desk.event(MediaConnected)
    screen = Screen("VP8", number, on._client_says)
    on.client.on_packet = screen.take
    sender = on.client.sender("PCMU")
    for _ in range(10):  # In between, on one transport.
        on.phone_camera.film()
        on.client_camera.film()
        await on.client.send(sender.next(b"a" * 160))
        await asyncio.sleep(0.02)
    heard = await on.phone.received.reaches(10)
    first = heard[0].sequence
    assert [(packet.sequence - first) & 0xFFFF for packet in heard[:10]] == list(range(10))
    await on.roll(lambda: len(screen.shown) >= 15, on.phone_camera)
    assert in_order(screen.shown)
    found = await on.desk.hang_up()
    assert found["matrix_packets_received"] == 10
    assert found["matrix_packets_lost"] == 0


async def test_who_refuses_video_is_offered_audio_alone_and_may_be_shown_it_later(
    stage: Make,
) -> None:
    on = stage("VP8")
    client = await on.client_sdp()
    first = await on.desk.offer(Side.MATRIX, client, terms=TERMS)
    assert first.video
    assert video_section(first.sdp).port
    again = await on.desk.offer(Side.MATRIX, client, terms=TERMS, audio_alone=True)
    assert not again.video
    assert "m=video" not in again.sdp
    on.phone.aim(again.sdp)
    answer = await on.desk.answer(Side.SIP, on.phone.sdp(("PCMU",)))
    assert video_section(answer).direction.value == "inactive"
    await on.client.connect(answer)
    await on.desk.event(MediaConnected)
    await on.client.send(*on.client.sender("PCMU").packets([b"c" * 160] * 5))
    await on.phone.received.reaches(5)
    later = await on.desk.offer(Side.SIP, on.phone_sdp())
    assert later.video
    on.client_screen = Screen("VP8", int(video_section(later.sdp).formats[0]), on._client_says)
    on.connect()
    on.aim(await on.desk.answer(Side.MATRIX, await on.client_sdp(answer_to=later.sdp)))
    await on.roll(lambda: len(on.client_screen.shown) >= 5, on.phone_camera)
    await on.desk.hang_up()


async def test_what_is_lost_on_the_way_from_the_phone_is_asked_for_and_repeated(
    stage: Make,
) -> None:
    on = stage("H264")
    on.phone_camera.loses = lose_video(9, ON_PHONE["H264"])
    await on.call()
    saw = on.client_screen.shown
    await on.roll(lambda: len(saw) >= 30, on.phone_camera)
    assert in_order(saw)
    assert "nack" in on.phone_camera.asked
    found = await on.desk.hang_up()
    assert found["sip_video_unrepaired"] == 0


async def test_what_is_lost_on_the_way_to_the_client_is_repeated_by_the_bridge(
    stage: Make,
) -> None:
    on = stage("VP8")
    on.client.lose(lose_video(11, 96))
    await on.call()
    await on.roll(lambda: len(on.client_screen.shown) >= 30, on.phone_camera)
    assert in_order(on.client_screen.shown)
    assert not on.phone_camera.asked
    found = await on.desk.hang_up()
    assert int(found["matrix_video_packets_repeated"]) > 3


@pytest.mark.parametrize(
    ("feedback", "how"), [(("nack pli",), "pli"), (("ccm fir",), "fir"), ((), "")]
)
async def test_where_nothing_is_repeated_a_whole_picture_mends_it(
    stage: Make, feedback: Sequence[str], how: str
) -> None:
    on = stage("VP8")
    on.client_screen = Screen("VP8", 96, on._client_says, nacks=False)
    on.connect()
    await on.call(on.phone_sdp(feedback=feedback))
    await on.roll(lambda: len(on.client_screen.shown) >= 3, on.phone_camera)
    on.phone_camera.loses = lose_video(1, ON_PHONE["VP8"])
    on.phone_camera.film()
    on.phone_camera.loses = lambda _: False
    if how:
        await on.roll(lambda: how in on.phone_camera.asked, on.phone_camera)
    else:
        await on.roll(lambda: on.desk.of(MediaPictureWanted), on.phone_camera)
        on.phone_camera._whole = True  # As INFO has made it do.
    number = on.phone_camera.filmed
    await on.roll(lambda: on.client_screen.shown[-1] >= number + 5, on.phone_camera)
    assert in_order(on.client_screen.shown[-5:])


async def test_a_picture_is_wanted_of_the_client_by_signalling(stage: Make) -> None:
    on = stage("VP8")
    await on.call(on.phone_sdp(feedback=()))
    await on.roll(lambda: len(on.phone_screen.shown) >= 3, on.client_camera)
    on.desk.engine.do(RefreshPicture(call=on.desk.call))
    await on.roll(lambda: on.client_camera.asked == ["pli"], on.client_camera)


async def test_bandwidth_is_the_least_that_anybody_says(stage: Make) -> None:
    on = stage("VP8")
    await on.call(on.phone_sdp(more=["b=TIAS:512000"]))
    await on.roll(lambda: 512_000 in on.client_camera.limits, on.client_camera)


async def test_sender_reports_tell_the_sound_of_a_picture(stage: Make) -> None:
    """The client's clock is an hour ahead; its picture belongs to what was heard meanwhile."""
    on = stage("VP8")
    await on.call()
    await on.roll(lambda: on.phone_screen.reports, on.client_camera)
    report, packet = on.phone_screen.reports[-1], on.phone_screen.packets[-1]
    assert report.ssrc == packet.ssrc
    assert abs(signed(report.sender_info.rtp_timestamp - packet.timestamp)) < 90_000


async def test_encrypted_video_has_keys_of_its_own(stage: Make) -> None:
    on = stage("VP8")
    terms = Terms(codecs=("PCMU",), video=True, srtp=Srtp.REQUIRED)
    offered = await on.desk.offer(Side.MATRIX, await on.client_sdp(), terms=terms)
    on.aim(offered.sdp)
    audio, video = offered.sdp.split("m=video")
    sound, sight = (keys_of(text, peer) for text, peer in ((audio, on.phone), (video, on.lens)))
    on.lens.loses = lose_video(4, 99)
    sdp = on.phone_sdp(protocol="RTP/SAVP", crypto=[sound.line], more=[f"a=crypto:{sight.line}"])
    await on.client.connect(await on.desk.answer(Side.SIP, sdp))
    await on.desk.event(MediaConnected)
    await on.roll(
        lambda: min(len(on.client_screen.shown), len(on.phone_screen.shown)) >= 5,
        on.client_camera,
        on.phone_camera,
    )
    assert in_order(on.phone_screen.shown)
    found = await on.desk.hang_up()
    assert found["sip_video_srtp"] == found["sip_srtp"] == GCM_128
    assert int(found["sip_video_packets_repeated"]) >= 1


async def test_hold_stops_the_picture_and_the_next_one_is_whole(stage: Make) -> None:
    on = stage("VP8")
    await on.call()
    saw = on.client_screen.shown
    await on.roll(lambda: len(saw) >= 3, on.phone_camera)
    offered = await on.desk.offer(Side.MATRIX, await on.client_sdp(direction="inactive"))
    assert video_section(offered.sdp).direction.value == "inactive"
    await on.desk.answer(Side.SIP, on.phone_sdp(direction="inactive"))
    await asyncio.sleep(0.05)
    before = len(saw)
    on.phone_camera.film(3)
    await asyncio.sleep(0.1)
    assert len(saw) == before
    await on.desk.offer(Side.MATRIX, await on.client_sdp())
    await on.desk.answer(Side.SIP, on.phone_sdp())
    await on.roll(lambda: "pli" in on.phone_camera.asked, on.phone_camera)
    numbers = on.client_screen.packets
    gaps = {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(numbers)}
    assert gaps == {1}


async def test_video_is_added_and_dropped_in_a_call(stage: Make) -> None:
    on = stage("VP8")
    offered = await on.desk.offer(Side.MATRIX, await on.client.offer(), terms=TERMS)
    assert "m=video" not in offered.sdp
    on.phone.aim(offered.sdp)
    await on.client.connect(await on.desk.answer(Side.SIP, on.phone.sdp()))
    await on.desk.event(MediaConnected)
    added = await on.desk.offer(Side.SIP, on.phone_sdp())
    assert added.needed
    answer = await on.desk.answer(Side.MATRIX, await on.client_sdp(answer_to=added.sdp))
    on.aim(answer)
    screen = Screen("VP8", int(video_section(added.sdp).formats[0]), on._client_says)
    on.client.on_packet = screen.take
    await on.roll(lambda: len(screen.shown) >= 5, on.phone_camera)
    dropped = await on.desk.offer(Side.SIP, on.phone_sdp(port=0))
    assert dropped.needed
    assert video_section(dropped.sdp).direction.value == "inactive"
    gone = await on.client_sdp(answer_to=dropped.sdp, direction="inactive")
    assert video_section(await on.desk.answer(Side.MATRIX, gone)).port == 0
    assert [event.codec for event in on.desk.of(MediaVideoChanged)] == ["VP8/90000", ""]
    await on.client.send(*on.client.sender("PCMU").packets([b"a" * 160] * 3))
    await on.phone.received.reaches(3)
    found = await on.desk.hang_up()
    assert found["video_mode"] == "none"
    assert int(found["sip_video_frames"]) >= 5


async def test_a_phone_that_answers_as_it_offered_is_shown_what_it_agreed_to(stage: Make) -> None:
    """It had offered both ways, and was taken at one; its description is the same (RFC 3264 8)."""
    on = stage("VP8")
    door = on.phone_sdp()
    offered = await on.desk.offer(Side.SIP, door, terms=TERMS)
    answer = await on.client_sdp(answer_to=offered.sdp, direction="recvonly")
    on.aim(await on.desk.answer(Side.MATRIX, answer))
    await on.client.connect(offered.sdp)
    await on.desk.event(MediaConnected)
    shown = await on.desk.offer(Side.MATRIX, await on.client_sdp())
    assert video_section(shown.sdp).direction.value == "sendrecv"
    await on.desk.answer(Side.SIP, door)
    await on.roll(lambda: len(on.phone_screen.shown) >= 3, on.client_camera)


async def test_without_a_port_the_call_has_no_picture(stage: Make) -> None:
    on = stage("VP8")
    engine = on.desk.engine
    ports = engine._resources.ports  # type: ignore[attr-defined]
    pair, calls = ports.pair, []

    def once(host: str) -> object:
        calls.append(host)
        if len(calls) > 1:
            raise ports._exhausted(host)
        return pair(host)

    ports.pair = once
    offered = await on.desk.offer(Side.MATRIX, await on.client_sdp(), terms=TERMS)
    assert "m=video" not in offered.sdp
    on.phone.aim(offered.sdp)
    answer = await on.desk.answer(Side.SIP, on.phone.sdp())
    await on.client.connect(answer)
    await on.desk.event(MediaConnected)
    assert not on.desk.of(MediaVideoChanged)


async def test_another_telephone_takes_the_call_without_video(stage: Make) -> None:
    """The client is asked to see nothing any more, and its audio goes on."""
    on = stage("VP8")
    await on.call()
    await on.roll(lambda: len(on.client_screen.shown) >= 3, on.phone_camera)
    desk, successor = on.desk, RtpPeer()
    asked = await desk.ask(lambda op: OfferSuccessor(call=desk.call, op=op))
    assert asked.video
    successor.aim(asked.sdp)
    sdp = successor.sdp()
    switched = await desk.ask(lambda op: SwitchMedia(call=desk.call, op=op, sdp=sdp))
    assert switched.needed
    assert desk.of(MediaVideoChanged)[-1].codec == ""
    offered = await desk.offer(Side.SIP, sdp)
    assert video_section(offered.sdp).direction.value == "inactive"
    gone = await on.client_sdp(answer_to=offered.sdp, direction="inactive")
    assert "m=video" not in await desk.answer(Side.MATRIX, gone)
    await on.client.send(*on.client.sender("PCMU").packets([b"a" * 160] * 3))
    await successor.received.reaches(3)
    successor.close()


async def test_calls_that_are_put_through_to_each_other_have_no_video(stage: Make) -> None:
    on = stage("VP8")
    await on.call()
    await on.roll(lambda: len(on.phone_screen.shown) >= 3, on.client_camera)
    desk = on.desk
    desk.bridge(CallId("call-2"))
    desk.another(CallId("call-2")).bridge(desk.call)
    offered = await desk.offer(Side.MATRIX, "")
    assert offered.needed
    assert video_section(offered.sdp).port == 0
    assert await desk.answer(Side.SIP, on.phone_sdp(port=0)) == ""
    assert desk.of(MediaVideoChanged)[-1].codec == ""
    again = await desk.offer(Side.SIP, on.phone_sdp())
    assert video_section(again.answer).port == 0
    assert not (await desk.offer(Side.MATRIX, "")).needed


async def test_both_offered_at_once(stage: Make) -> None:
    on = stage("H264")
    await on.desk.offer(Side.MATRIX, await on.client_sdp(), terms=TERMS)
    joined = await on.desk.join(await on.client_sdp(), on.phone_sdp())
    on.aim(joined.sip_sdp)
    await on.client.connect(joined.matrix_sdp)
    await on.desk.event(MediaConnected)
    await on.roll(
        lambda: min(len(on.client_screen.shown), len(on.phone_screen.shown)) >= 3,
        on.client_camera,
        on.phone_camera,
    )


async def test_a_telephone_behind_a_nat_is_found_by_its_video_too(stage: Make) -> None:
    on = stage("VP8")
    await on.call(on.phone_sdp(port=4))
    await on.roll(lambda: len(on.client_screen.shown) >= 3, on.phone_camera)
    await on.roll(lambda: len(on.phone_screen.shown) >= 3, on.client_camera)
