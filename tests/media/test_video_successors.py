# SPDX-License-Identifier: GPL-3.0-or-later
"""Another telephone takes the present one's place in a call with video."""

from collections.abc import AsyncIterator

import pytest

from bridge.call.commands import DropSuccessor, OfferSuccessor, SwitchMedia
from bridge.call.events import MediaOfferReady, MediaSwitched, MediaVideoChanged
from bridge.call.ids import Side
from bridge.call.terms import Srtp, Terms
from tests.media.desk import Desk
from tests.media.filming import TERMS, Stage, keys_of
from tests.simulators.film import video_section
from tests.simulators.rtp import RtpPeer
from tests.simulators.srtp import GCM_128
from tests.simulators.webrtc import WebRtcPeer

AUDIO_ALONE = Terms(codecs=("PCMU",))


class Succession:
    """A call in which client and telephone see each other, and another telephone."""

    def __init__(self, desk: Desk, client: WebRtcPeer, phone: RtpPeer, codec: str = "VP8") -> None:
        self.desk, self.client = desk, client
        self.old = Stage(desk, client, phone, codec)
        self.new = Stage(desk, client, RtpPeer(), codec)
        self.new.phone_camera.ssrc = 0xF1E
        self.new.client_camera = self.old.client_camera
        self.new.client_screen = self.old.client_screen

    async def begin(self) -> None:
        """They see each other."""
        self.old.connect()
        await self.old.call()
        await self.sees(self.old)
        self.new.connect()

    async def sees(self, phone: Stage) -> None:
        """Wait until client and telephone have seen some more pictures of each other."""
        client, there = phone.client_screen.shown, phone.phone_screen.shown
        ours, theirs = len(client) + 3, len(there) + 3
        await phone.roll(
            lambda: len(client) >= ours and len(there) >= theirs,
            phone.client_camera,
            phone.phone_camera,
        )

    async def offer(self, terms: Terms | None = None, *, audio_alone: bool = False) -> str:
        """What the new telephone is offered."""
        desk = self.desk
        event = await desk.ask(
            lambda op: OfferSuccessor(call=desk.call, op=op, terms=terms, audio_alone=audio_alone)
        )
        assert isinstance(event, MediaOfferReady), event
        assert event.video == ("m=video" in event.sdp)
        return event.sdp

    async def switch(
        self, sdp: str, *, offers: bool = False, terms: Terms | None = None
    ) -> MediaSwitched:
        """The new telephone has answered with that, or offers it."""
        desk = self.desk
        event = await desk.ask(
            lambda op: SwitchMedia(call=desk.call, op=op, sdp=sdp, offered=offers, terms=terms)
        )
        assert isinstance(event, MediaSwitched), event
        return event

    async def client_learns(self, sdp: str) -> str:
        """The client is offered what the new telephone wants, and takes it; gives that offer."""
        offered = await self.desk.offer(Side.SIP, sdp)
        assert offered.needed
        answer = await self.new.client_sdp(answer_to=offered.sdp)
        await self.desk.answer(Side.MATRIX, answer)
        return offered.sdp

    def close(self) -> None:
        self.old.close()
        self.new.close()
        self.new.phone.close()


@pytest.fixture
async def call(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> AsyncIterator[Succession]:
    made = Succession(desk, client, phone)
    await made.begin()
    yield made
    made.close()


@pytest.mark.parametrize("offers", [False, True])
async def test_video_goes_on_with_the_new_telephone(call: Succession, offers: bool) -> None:
    """And the client is asked nothing."""
    if offers:
        switched = await call.switch(call.new.phone_sdp(), offers=True)
        call.new.aim(switched.sdp)
    else:
        call.new.aim(await call.offer())
        await call.sees(call.old)  # Still.
        switched = await call.switch(call.new.phone_sdp())
    assert not switched.needed
    await call.sees(call.new)
    assert [event.codec for event in call.desk.of(MediaVideoChanged)] == ["VP8/90000"]
    before = len(call.old.client_screen.shown)
    call.old.phone_camera.film()  # Nobody listens there any more.
    await call.sees(call.new)
    assert call.new.client_screen.shown[before:] == sorted(call.new.client_screen.shown[before:])
    found = await call.desk.hang_up()
    assert found["video_mode"] == "relay"


async def test_who_is_not_called_after_all_leaves_no_socket(call: Succession) -> None:
    await call.offer()
    call.desk.engine.do(DropSuccessor(call=call.desk.call))
    await call.sees(call.old)
    relay = call.desk.engine._calls[call.desk.call].session._legs.video  # type: ignore[attr-defined]
    assert relay._next is None
    await call.offer()
    await call.desk.hang_up()
    assert relay._next is None


async def test_a_trunk_without_video_and_one_that_refused_it_get_audio(call: Succession) -> None:
    assert "m=video" not in await call.offer(AUDIO_ALONE)
    assert "m=video" not in await call.offer(TERMS, audio_alone=True)
    refused = await call.switch(call.new.phone_sdp(), offers=True, terms=AUDIO_ALONE)
    assert video_section(refused.sdp).port == 0
    assert refused.needed
    assert call.desk.of(MediaVideoChanged)[-1].codec == ""


@pytest.mark.parametrize("by", [Side.MATRIX, Side.SIP])
async def test_video_may_be_added_with_whom_had_none(call: Succession, by: Side) -> None:
    """The new telephone comes with audio alone; later, either side shows itself."""
    new, desk = call.new, call.desk
    new.phone.aim(await call.offer())
    audio = new.phone.sdp(("PCMU",))
    assert (await call.switch(audio)).needed
    offered = await desk.offer(Side.SIP, audio)
    assert video_section(offered.sdp).direction.value == "inactive"
    gone = await new.client_sdp(answer_to=offered.sdp, direction="inactive")
    await desk.answer(Side.MATRIX, gone)
    if by is Side.MATRIX:
        asked = await desk.offer(Side.MATRIX, await new.client_sdp())
        new.aim(asked.sdp)
        answer = await desk.answer(Side.SIP, new.phone_sdp())
        assert video_section(answer).direction.value == "sendrecv"
    else:
        asked = await desk.offer(Side.SIP, new.phone_sdp())
        assert video_section(asked.sdp).direction.value == "sendrecv"
        answer = await new.client_sdp(answer_to=asked.sdp)
        new.aim(await desk.answer(Side.MATRIX, answer))
    await call.sees(new)


async def test_the_hold_of_the_old_one_is_not_for_the_new_one(call: Succession) -> None:
    """Who transfers has put the client on hold, and with it its picture."""
    desk = call.desk
    held = await desk.offer(
        Side.SIP, call.old.phone_sdp(direction="inactive").replace("a=sendrecv", "a=inactive")
    )
    assert video_section(held.sdp).direction.value == "inactive"
    quiet = await call.old.client_sdp(answer_to=held.sdp, direction="inactive")
    await desk.answer(Side.MATRIX, quiet.replace("a=sendrecv", "a=inactive"))
    offered = await call.offer()
    assert video_section(offered).direction.value == "sendrecv"
    call.new.aim(offered)
    answer = call.new.phone_sdp()
    assert (await call.switch(answer)).needed
    told = await call.client_learns(answer)
    assert video_section(told).direction.value == "sendrecv"
    await call.sees(call.new)


async def test_a_camera_that_is_off_is_not_offered(call: Succession) -> None:
    desk = call.desk
    asked = await desk.offer(Side.MATRIX, await call.old.client_sdp(direction="inactive"))
    assert video_section(asked.sdp).direction.value == "inactive"
    await desk.answer(Side.SIP, call.old.phone_sdp(direction="inactive"))
    assert "m=video" not in await call.offer()


async def test_who_offers_video_to_a_client_without_is_answered_without(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    """Also when the client has to learn of its hold: its video was declined already."""
    call = Succession(desk, client, phone)
    await desk.client_calls(client, phone)
    sdp = call.new.phone_sdp().replace("a=sendrecv", "a=sendonly")
    switched = await call.switch(sdp, offers=True, terms=TERMS)
    assert video_section(switched.sdp).port == 0
    assert switched.needed
    told = await desk.offer(Side.SIP, sdp)
    assert "m=video" not in told.sdp
    call.close()


async def test_video_of_an_encrypted_telephone_has_keys_of_its_own(call: Succession) -> None:
    new = call.new
    offered = await call.offer(Terms(codecs=("PCMU",), video=True, srtp=Srtp.REQUIRED))
    audio, video = offered.split("m=video")
    sound, picture = keys_of(audio, new.phone), keys_of(video, new.lens)
    new.aim(offered)
    answer = new.phone_sdp(
        protocol="RTP/SAVP", crypto=[sound.line], more=[f"a=crypto:{picture.line}"]
    )
    assert not (await call.switch(answer)).needed
    await call.sees(new)
    assert (await call.desk.hang_up())["sip_video_srtp"] == GCM_128
