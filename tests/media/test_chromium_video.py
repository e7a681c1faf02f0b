# SPDX-License-Identifier: GPL-3.0-or-later
"""Video between a real browser with a camera of its own and a telephone, seen on both sides."""

import asyncio

import pytest

from bridge.call.events import MediaConnected, MediaVideoChanged
from bridge.call.ids import Side
from bridge.call.terms import Terms
from tests.media.desk import Desk
from tests.media.page import Page
from tests.simulators.film import (
    FEEDBACK,
    Camera,
    Screen,
    lose_video,
    phone_video,
    video_section,
)
from tests.simulators.rtp import RtpPeer
from tests.simulators.waiting import until_async

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TERMS = Terms(codecs=("PCMU",), video=True)
ON_PHONE = {"VP8": 99, "H264": 97}
FILM = """
pc.ontrack = e => {
    window.view = document.createElement(e.track.kind);
    view.srcObject = new MediaStream([e.track]);
    view.muted = true;
    view.play();
};
window.film = await navigator.mediaDevices.getUserMedia(
    {video: {width: 160, height: 96, frameRate: 15}});
pc.addTrack(stream.getTracks()[0], stream);
pc.addTrack(film.getTracks()[0], film);
const known = RTCRtpReceiver.getCapabilities("video").codecs;
const wanted = known.filter(c => c.mimeType === "video/CODEC");
pc.getTransceivers().at(-1).setCodecPreferences(
    [...wanted, ...known.filter(c => !wanted.includes(c))]);
"""
SEE = """
const canvas = document.createElement("canvas");
canvas.width = 160;
canvas.height = 96;
const drawn = canvas.getContext("2d");
if (!window.view || !view.videoWidth) return -1;
drawn.drawImage(view, 0, 0, 160, 96);
let number = 0;
for (let bit = 0; bit < 8; bit++) {
    const [red, green, blue] = drawn.getImageData(20 * bit + 10, 24, 1, 1).data;
    if (red + green + blue > 375) number |= 1 << bit;
}
return number;
"""
WHOLE = """
const found = [...(await pc.getStats()).values()];
return found.find(s => s.type === "outbound-rtp" && s.kind === "video").keyFramesEncoded;
"""


class Door:
    """A telephone with a camera and a screen."""

    def __init__(self, phone: RtpPeer, codec: str) -> None:
        self.lens = RtpPeer()
        kind = ON_PHONE[codec]
        self.camera = Camera(codec, kind, self.lens.send, ssrc=0xD004)
        self.screen = Screen(codec, kind, self.lens.send_rtcp)
        self.sdp = phone_video(phone.sdp(), self.lens.port, [(kind, codec)], feedback=FEEDBACK)
        self.lens.on_packet = self.screen.take

    def aim(self, sdp: str) -> None:
        """Send where the bridge wants it."""
        port = video_section(sdp).port
        self.lens.target, self.lens.rtcp_target = ("127.0.0.1", port), ("127.0.0.1", port + 1)

    async def film(self) -> None:
        """Film without end, and do what is asked for."""
        while True:
            self.camera.film()
            await asyncio.sleep(1 / 15)
            for compound in self.lens.received.rtcp:
                self.camera.take_rtcp(compound)
            self.lens.received.rtcp.clear()


@pytest.mark.parametrize("way", ["browser", "phone"])
async def test_a_browser_and_a_door_station_see_each_other(
    page: Page, desk: Desk, phone: RtpPeer, way: str
) -> None:
    """Whoever calls; some packets are lost on both ways between bridge and telephone."""
    codec = "VP8" if way == "browser" else "H264"
    door = Door(phone, codec)
    door.lens.loses = lose_video(8, ON_PHONE[codec])
    door.camera.loses = lose_video(20, ON_PHONE[codec])
    await page.run(FILM.replace("CODEC", codec))
    if way == "browser":
        offered = await desk.offer(Side.MATRIX, await page.offer(), terms=TERMS)
        door.aim(offered.sdp)
        await page.accept(await desk.answer(Side.SIP, door.sdp))
    else:
        offered = await desk.offer(Side.SIP, door.sdp, terms=TERMS)
        door.aim(await desk.answer(Side.MATRIX, await page.answer(offered.sdp)))
    desk.trickle(*await page.candidates())
    await desk.event(MediaConnected)
    seen: set[int] = set()

    async def both_see() -> bool:
        seen.add(int(await page.run(SEE)))
        return len(seen) > 12 and len(door.screen.shown) > 25

    filming = asyncio.create_task(door.film())
    try:
        await until_async(both_see, what="both saw the other", every=0.05)
        before = await page.run(WHOLE)
        door.screen.ask()

        async def obeys() -> bool:
            return bool(await page.run(WHOLE) > before)

        await until_async(obeys, what="the browser sent a whole picture", every=0.1)
    finally:
        filming.cancel()
        door.lens.close()
    assert (await desk.event(MediaVideoChanged)).codec == f"{codec}/90000"
    found = await desk.hang_up()
    assert found["sip_video_unrepaired"] == 0
    assert int(found["sip_video_packets_late"]) > 0
    assert int(found["sip_video_packets_repeated"]) > 0
    assert found["matrix_undecipherable"] == 0
