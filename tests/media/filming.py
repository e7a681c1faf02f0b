# SPDX-License-Identifier: GPL-3.0-or-later
"""A client and a telephone that film and watch, at both ends of a media engine."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from bridge.call.events import MediaConnected
from bridge.call.ids import Side
from bridge.call.terms import Terms
from tests.media.desk import Desk
from tests.simulators.film import (
    FEEDBACK,
    Camera,
    Screen,
    client_video,
    phone_video,
    video_section,
)
from tests.simulators.rtp import Packet, RtpPeer
from tests.simulators.srtp import GCM_128, Sdes
from tests.simulators.webrtc import WebRtcPeer

TERMS = Terms(codecs=("PCMU",), video=True)
ON_PHONE = {"VP8": 99, "H264": 97}
IN_CLIENT = {"VP8": 96, "H264": 102}


class Stage:
    """A client and a telephone that have cameras and screens."""

    def __init__(self, desk: Desk, client: WebRtcPeer, phone: RtpPeer, codec: str = "VP8") -> None:
        self.desk = desk
        self.client = client
        self.phone = phone
        self.codec = codec
        self.lens = RtpPeer()
        """The telephone's sockets for video."""
        self._tasks: set[asyncio.Task[None]] = set()
        kind = IN_CLIENT[codec]
        self.client_camera = Camera(codec, kind, self._client_sends, ssrc=0xC11E)
        self.phone_camera = Camera(codec, ON_PHONE[codec], self.lens.send, ssrc=0xF0E)
        self.client_screen = Screen(codec, kind, self._client_says)
        self.phone_screen = Screen(codec, ON_PHONE[codec], self.lens.send_rtcp)

    # --- descriptions ---------------------------------------------------------------------------

    async def client_sdp(self, *, direction: str = "sendrecv", answer_to: str = "") -> str:
        """What the client says."""
        sdp = await (self.client.answer(answer_to) if answer_to else self.client.offer())
        codecs = [(IN_CLIENT[self.codec], self.codec)]
        if answer_to:
            number = int(video_section(answer_to).formats[0])
            codecs = [(number, self.codec)]
        return client_video(sdp, codecs, self.client_camera.ssrc, direction=direction)

    def phone_sdp(
        self,
        *,
        feedback: Iterable[str] = FEEDBACK,
        direction: str = "sendrecv",
        port: int | None = None,
        protocol: str = "RTP/AVP",
        crypto: Sequence[str] = (),
        more: Iterable[str] = (),
    ) -> str:
        """What the telephone says."""
        return phone_video(
            self.phone.sdp(protocol=protocol, crypto=crypto),
            self.lens.port if port is None else port,
            [(ON_PHONE[self.codec], self.codec)],
            feedback=feedback,
            direction=direction,
            protocol=protocol,
            more=more,
        )

    async def call(self, phone_sdp: str = "") -> str:
        """A call of the client's; returns the answer to it."""
        offered = await self.desk.offer(Side.MATRIX, await self.client_sdp(), terms=TERMS)
        self.aim(offered.sdp)
        answer = await self.desk.answer(Side.SIP, phone_sdp or self.phone_sdp())
        await self.client.connect(answer)
        await self.desk.event(MediaConnected)
        return answer

    def aim(self, sdp: str) -> None:
        """Send where the bridge wants it."""
        self.phone.aim(sdp)
        port = video_section(sdp).port
        self.lens.target = ("127.0.0.1", port)
        self.lens.rtcp_target = ("127.0.0.1", port + 1)

    # --- packets --------------------------------------------------------------------------------

    def connect(self) -> None:
        """Let screens and cameras have what comes."""
        self.client.on_packet = self.client_screen.take
        self.lens.on_packet = self.phone_screen.take

    def _client_sends(self, packet: Packet) -> None:
        self._soon(self.client.send(packet))

    def _client_says(self, rtcp: bytes) -> None:
        self._soon(self.client.send(rtcp))

    def _soon(self, sending: object) -> None:
        task = asyncio.ensure_future(sending)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def roll(
        self,
        done: Callable[[], object],
        *cameras: Camera,
        what: str = "it was seen",
        each: float = 0.02,
    ) -> None:
        """Film until something is the case."""
        for _ in range(500):
            if done():
                return
            for camera in cameras:
                camera.film()
            await asyncio.sleep(each)
            self.hand_over_rtcp()
        raise AssertionError(f"not within 500 pictures: {what}; {self.desk.events}")

    def hand_over_rtcp(self) -> None:
        """Give cameras and screens what was said since."""
        for received, camera, screen in (
            (self.client.received, self.client_camera, self.client_screen),
            (self.lens.received, self.phone_camera, self.phone_screen),
        ):
            for compound in received.rtcp:
                camera.take_rtcp(compound)
                screen.take_rtcp(compound)
            received.rtcp.clear()

    def close(self) -> None:
        """Free the sockets."""
        self.lens.close()


def keys_of(section: str, peer: RtpPeer) -> Sdes:
    """Keys of the suite that allows a packet to be repeated least."""
    (tag,) = (
        int(line.split()[0].removeprefix("a=crypto:"))
        for line in section.splitlines()
        if line.startswith("a=crypto:") and GCM_128 in line
    )
    keys = Sdes(peer, GCM_128, tag=tag)
    keys.follow(section)
    return keys
