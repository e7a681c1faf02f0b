# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded engine with a real browser's WebRTC, in a network of its own."""

import json

import pytest

from bridge.call.events import MediaConnected, MediaLost
from bridge.call.ids import Side
from tests.media.desk import Desk
from tests.media.page import Page
from tests.media.sound import heard, tone
from tests.simulators.rtp import EVENT, PAYLOAD_TYPES, RtpPeer, Sender
from tests.simulators.waiting import until, until_async

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOCAL_PORT = """
const report = await pc.getStats();
const transport = [...report.values()].find(s => s.type === "transport");
return report.get(report.get(transport.selectedCandidatePairId).localCandidateId).port;
"""


async def speak(phone: RtpPeer, codec: str, seconds: float) -> None:
    """A tone in real time."""
    sender = Sender(PAYLOAD_TYPES[codec], 960 if codec == "opus" else 160)
    await phone.play(sender, tone(codec, 1000, int(seconds * 50)))


@pytest.mark.parametrize("codec", ["PCMU", "G722", "opus"])
async def test_a_browser_calls_a_phone(page: Page, desk: Desk, phone: RtpPeer, codec: str) -> None:
    offered = await desk.offer(Side.MATRIX, await page.offer())
    desk.trickle(*await page.candidates())
    phone.aim(offered.sdp)
    await page.accept(await desk.answer(Side.SIP, phone.sdp((codec,))))
    connected = await desk.event(MediaConnected)
    assert connected.matrix_codec == connected.sip_codec
    at_phone = await phone.received.reaches(60, PAYLOAD_TYPES[codec])
    assert heard(codec, (packet.payload for packet in at_phone[10:])).is_near(440)
    await speak(phone, codec, 1.5)
    _, lost, energy = await page.hears(50)
    assert lost == 0
    assert energy > 0.001

    await page.run("pc.getSenders()[0].dtmf.insertDTMF('5#', 100, 70);")
    await until(
        lambda: (
            len({p.timestamp for p in phone.received.of_type(EVENT) if p.payload[1] & 0x80}) == 2
        ),
        what="two keys arrived",
    )
    statistics = await desk.hang_up()
    assert statistics["matrix_events"] == 2
    assert statistics["mode"] == "relay"
    assert statistics["matrix_undecipherable"] == 0


async def test_a_phone_calls_a_browser_that_gets_transcoded(
    page: Page, desk: Desk, phone: RtpPeer
) -> None:
    """The browser is made to answer with Opus only."""
    offered = await desk.offer(Side.SIP, phone.sdp(("PCMA",)))
    only_opus = """
    const opus = RTCRtpReceiver.getCapabilities("audio").codecs.filter(
        c => ["audio/opus", "audio/telephone-event"].includes(c.mimeType));
    pc.addTrack(stream.getTracks()[0], stream);
    pc.getTransceivers()[0].setCodecPreferences(opus);
    """
    await page.run(only_opus)
    answer = await page.answer(offered.sdp)
    final = await desk.answer(Side.MATRIX, answer)
    desk.trickle(*await page.candidates())
    phone.aim(final)
    connected = await desk.event(MediaConnected)
    assert (connected.matrix_codec, connected.sip_codec) == ("opus/48000/2", "PCMA/8000")
    at_phone = await phone.received.reaches(80, PAYLOAD_TYPES["PCMA"])
    assert heard("PCMA", (packet.payload for packet in at_phone[30:])).is_near(440)
    await speak(phone, "PCMA", 1.5)
    _, lost, energy = await page.hears(50)
    assert lost == 0
    assert energy > 0.001


async def test_a_browser_restarts_ice_and_is_held(page: Page, desk: Desk, phone: RtpPeer) -> None:
    offered = await desk.offer(Side.MATRIX, await page.offer())
    desk.trickle(*await page.candidates())
    phone.aim(offered.sdp)
    await page.accept(await desk.answer(Side.SIP, phone.sdp()))
    await desk.event(MediaConnected)
    await phone.received.reaches(20)

    restart = await desk.offer(Side.MATRIX, await page.offer("candidates = []; pc.restartIce();"))
    assert not restart.needed
    desk.trickle(*await page.candidates())
    before_restart = await page.run(LOCAL_PORT)
    # The answer comes by way of a homeserver; packets are there sooner.
    await page.run("await new Promise((resolve) => setTimeout(resolve, 300));")
    await page.accept(restart.answer)

    async def moved() -> bool:
        return bool(await page.run(LOCAL_PORT) != before_restart)

    await until_async(moved, what="the browser took the new way", every=0.1)
    before = len(phone.received.packets)
    at_phone = await phone.received.reaches(before + 50)
    assert {packet.ssrc for packet in at_phone} == {at_phone[0].ssrc}
    await speak(phone, "PCMU", 1.0)
    count, lost, _ = await page.hears(40)
    assert lost == 0

    hold = await desk.offer(Side.SIP, phone.sdp(direction="sendonly"))
    answer = await page.answer(hold.sdp)
    assert "a=recvonly" in answer
    assert "a=recvonly" in await desk.answer(Side.MATRIX, answer)
    del phone.received.packets[:]
    resume = await desk.offer(Side.SIP, phone.sdp())
    direction = "pc.getTransceivers()[0].direction = 'sendrecv';"
    await page.run(
        f"await pc.setRemoteDescription({{type: 'offer', sdp: {json.dumps(resume.sdp)}}});"
        + direction
    )
    final = await desk.answer(Side.MATRIX, await page.offer())
    assert "a=sendrecv" in final
    await phone.received.reaches(30)
    await speak(phone, "PCMU", 1.0)
    again, lost, _ = await page.hears(count + 40)
    assert again > count
    assert lost == 0
    assert not desk.of(MediaLost)
