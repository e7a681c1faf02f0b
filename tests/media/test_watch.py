# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is not heard is told, with what is known about it; and what was measured, again and again."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.call.events import MediaAudible, MediaFault, MediaMeasured, MediaSilent
from bridge.call.ids import Side
from bridge.media.embedded.rtcp import Reporter
from bridge.media.embedded.rtp import Emission, Reception
from tests.media.desk import Desk
from tests.media.test_beside import SECOND, calls_target
from tests.simulators.rtp import RtpPeer, Sender
from tests.simulators.waiting import until
from tests.simulators.webrtc import WebRtcPeer

SOUND = b"s" * 160


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that come soon; a busy machine is allowed to be late for some packets."""
    monkeypatch.setattr("bridge.media.embedded.watch.LOOK", 0.1)
    monkeypatch.setattr("bridge.media.embedded.watch.INTERVAL", 0.5)


@pytest.fixture
async def stranger() -> AsyncIterator[RtpPeer]:
    """Somebody else's telephone."""
    peer = RtpPeer()
    yield peer
    peer.close()


async def silent(desk: Desk, side: Side, number: int = 1) -> MediaSilent:
    """The nth time that this side is told to be silent."""
    found = await until(
        lambda: [each for each in desk.of(MediaSilent) if each.side is side][number - 1 :],
        what=f"{side.value} is found silent; there were {desk.events}",
        every=0.01,
    )
    return found[0]


async def test_who_sends_nothing_is_told_of_and_who_begins_as_well(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    told = await silent(desk, Side.SIP)
    assert (told.heard, told.hurdle, told.strangers, told.undecipherable) == (False, None, 0, 0)
    assert not (await silent(desk, Side.MATRIX)).heard
    phone.send(Sender(0).next(SOUND))
    assert (await desk.event(MediaAudible)).side is Side.SIP
    again = await silent(desk, Side.SIP, 2)
    assert again.heard


async def test_audio_from_elsewhere_is_told_of(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, stranger: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    phone.send(Sender(0).next(SOUND))
    await client.received.reaches(1)
    first = await silent(desk, Side.SIP)
    assert first.strangers == 0
    stranger.target = phone.target
    stranger.send(Sender(0, ssrc=9).next(SOUND))
    more = await silent(desk, Side.SIP, 2)
    assert more.strangers == 1
    assert more.heard


async def test_a_client_that_finds_no_way_is_told_of(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.offer(Side.MATRIX, await client.offer())
    await desk.answer(Side.SIP, phone.sdp())
    assert (await silent(desk, Side.MATRIX)).hurdle is MediaFault.ICE_FAILED


async def test_a_client_that_agrees_on_no_keys_is_told_of(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(client._dtls, "start", never)
    await desk.offer(Side.MATRIX, await client.offer())
    answer = await desk.answer(Side.SIP, phone.sdp())
    connecting = asyncio.create_task(client.connect(answer))
    found = await until(
        lambda: [e for e in desk.of(MediaSilent) if e.hurdle is MediaFault.DTLS_FAILED],
        what="the handshake is found missing",
    )
    assert found[0].side is Side.MATRIX
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)


async def test_before_the_answer_and_on_hold_nothing_is_missed(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    offered = await desk.offer(Side.MATRIX, await client.offer())
    phone.aim(offered.sdp)
    early = await desk.answer(Side.SIP, phone.sdp(), provisional=True)
    await client.connect(early)
    await asyncio.sleep(0.6)
    assert desk.of(MediaSilent) == []
    await desk.answer(Side.SIP, phone.sdp())
    await silent(desk, Side.SIP)
    await silent(desk, Side.MATRIX)
    # The phone holds: it says that it will send nothing, and need not hear anything.
    await desk.offer(Side.SIP, phone.sdp(direction="inactive"))
    await desk.answer(Side.MATRIX, await client.answer(early, direction="inactive"))
    await desk.event(MediaAudible, 2)
    told = len(desk.of(MediaSilent))
    await asyncio.sleep(0.6)
    assert len(desk.of(MediaSilent)) == told


async def test_what_was_measured_is_told_again_and_again(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    sender = Sender(0, sequence=100)
    sound = sender.packets([SOUND] * 20)
    phone.send(*sound[:5], *sound[8:])
    far_end = Reporter(Emission(ssrc=1, sequence=0, timestamp=0, clock=8000), Reception(8000), "x")
    phone.send_rtcp(far_end.report(1.0, 1_700_000_000.0))
    await client.send(*client.sender("PCMU").packets([SOUND] * 7))

    def summed() -> tuple[int, ...]:
        every = desk.of(MediaMeasured)
        sip, matrix = [each.sip for each in every], [each.matrix for each in every]
        return (
            sum(each.packets for each in sip),
            sum(each.lost for each in sip),
            sum(each.reports for each in sip),
            sum(each.sent for each in sip),
            sum(each.packets for each in matrix),
            sum(each.sent for each in matrix),
        )

    await until(lambda: summed() == (17, 3, 1, 7, 7, 17), what=f"{summed()} is right")
    statistics = await desk.hang_up()
    assert str(statistics["matrix_pair"]).startswith("host 127.0.0.1:")
    assert statistics["sip_unsent"] == 0


async def test_two_telephones_are_each_missed_in_their_own_call(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, stranger: RtpPeer
) -> None:
    """The person has left: nobody waits for what their client sends."""
    await desk.client_calls(client, phone)
    await calls_target(desk, stranger)
    second = desk.another(SECOND)
    told = len(desk.of(MediaSilent))
    await silent(desk, Side.SIP)
    phone.send(Sender(0).next(SOUND))
    await stranger.received.reaches(1)
    await until(
        lambda: [each for each in desk.events if isinstance(each, MediaSilent) and each.heard],
        what="the telephone that fell silent is missed",
    )
    late = desk.of(MediaSilent)[told:] + second.of(MediaSilent)
    assert not [each for each in late if each.side is Side.MATRIX]
