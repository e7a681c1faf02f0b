# SPDX-License-Identifier: GPL-3.0-or-later
"""What a telephone says and hears, beside a `SipParty` that does the signalling."""

import asyncio
from contextlib import suppress
from typing import Self

from tests.e2e.stage import DESK
from tests.media.sound import heard, tone
from tests.simulators.rtp import PAYLOAD_TYPES, RtpPeer, Sender
from tests.simulators.waiting import until


class Sounding:
    """A telephone's media: a tone for ever, and what comes in meanwhile."""

    def __init__(self, codec: str, hertz: float, ssrc: int, *, address: str = DESK.address) -> None:
        self.codec, self.rtp = codec, RtpPeer(address)
        self._sender = Sender(PAYLOAD_TYPES[codec], ssrc=ssrc)
        self._payloads = tone(codec, hertz)
        self._playing: asyncio.Task[None] | None = None
        self._stopped = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def speak_to(self, sdp: str) -> None:
        """Begin where the description says."""
        self.rtp.aim(sdp)
        self._playing = self._playing or asyncio.create_task(self._play())

    async def hears(self, hertz: float) -> None:
        """Wait until that is what comes in."""
        self.rtp.received.packets.clear()

        def found() -> bool:
            packets = self.rtp.received.of_type(PAYLOAD_TYPES[self.codec])[-25:]
            told = heard(self.codec, (packet.payload for packet in packets))
            return len(packets) == 25 and told.is_near(hertz)

        await until(found, what=f"the {self.codec} telephone hears {hertz} Hz")

    async def stop(self) -> None:
        """Fall silent, and free the ports."""
        if self._stopped:
            return
        self._stopped = True
        if self._playing:
            self._playing.cancel()
            with suppress(asyncio.CancelledError):
                await self._playing
        self.rtp.close()

    async def _play(self) -> None:
        while True:
            await self.rtp.play(self._sender, self._payloads)
