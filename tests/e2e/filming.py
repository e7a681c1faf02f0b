# SPDX-License-Identifier: GPL-3.0-or-later
"""A door station's media, beside a `SipParty` that does the signalling: it films, and shows."""

import asyncio
from contextlib import suppress
from typing import Self

from tests.e2e.sounding import Sounding
from tests.e2e.stage import DOOR
from tests.simulators.film import (
    RATE,
    Camera,
    Screen,
    phone_video,
    video_section,
)
from tests.simulators.rtp import RtpPeer
from tests.simulators.waiting import until

_KINDS = {"VP8": 99, "H264": 97}


class Filming:
    """A telephone that says 1000 Hz, with a camera and a screen of one codec."""

    def __init__(self, codec: str) -> None:
        self.sound = Sounding("PCMU", 1000, 0x1111, address=DOOR.address)
        self._codec = codec
        self._lens = RtpPeer(DOOR.address)
        kind = _KINDS[codec]
        self.camera = Camera(codec, kind, self._lens.send, ssrc=0xD004)
        self.screen = Screen(codec, kind, self._lens.send_rtcp)
        self._lens.on_packet = self.screen.take
        self._filming: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._filming:
            self._filming.cancel()
            with suppress(asyncio.CancelledError):
                await self._filming
        await self.sound.stop()
        self._lens.close()

    def sdp(self, direction: str = "sendrecv", *, declines: bool = False) -> str:
        """What it says of both; `declines`: by port 0."""
        return phone_video(
            self.audio(direction),
            0 if declines else self._lens.port,
            [(_KINDS[self._codec], self._codec)],
            feedback=("nack", "nack pli"),
            direction="inactive" if declines else direction,
        )

    def audio(self, direction: str = "sendrecv") -> str:
        """What it says without any camera."""
        return self.sound.rtp.sdp(("PCMU",), direction=direction)

    def speak_to(self, sdp: str) -> None:
        """Begin to speak and to film where the description says, if it takes pictures."""
        self.sound.speak_to(sdp)
        port = video_section(sdp).port
        if port:
            self._lens.target, self._lens.rtcp_target = ("127.0.0.1", port), ("127.0.0.1", port + 1)
            self._filming = self._filming or asyncio.create_task(self._film())

    async def sees(self, count: int = 10) -> None:
        """Wait until so many more pictures were decoded."""
        enough = len(self.screen.shown) + count
        await until(lambda: len(self.screen.shown) >= enough, what=f"{count} pictures were shown")

    async def _film(self) -> None:
        while True:
            self.camera.film()
            await asyncio.sleep(1 / RATE)
            for compound in self._lens.received.rtcp:
                self.camera.take_rtcp(compound)
            self._lens.received.rtcp.clear()
