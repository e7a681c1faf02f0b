# SPDX-License-Identifier: GPL-3.0-or-later
"""A telephone's end of a call: the signalling of a `Dialog`, with audio beside it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from reliability.dialog import Dialog, direction_of
from reliability.exchange import Exchange
from reliability.sound import Ear, Metronome, Mouth
from tests.simulators.rtp import EVENT, PAYLOAD_TYPES, Packet, RtpPeer, Sender

CODEC: Final = "PCMU"


class Telephone:
    """One at the exchange, for one call: it calls, or waits to be called."""

    def __init__(
        self, exchange: Exchange, metronome: Metronome, host: str, number: str, hertz: int
    ) -> None:
        """`hertz`: what it says."""
        self.number = number
        self.here = exchange.here
        """Host and port of its exchange."""
        self.ear = Ear(frozenset({EVENT}))
        self.dialog: Dialog | None = None
        self._exchange = exchange
        self._metronome = metronome
        self._rtp = RtpPeer(host)
        self._rtp.on_packet = self._heard
        self._direction = "sendrecv"
        sender = Sender(PAYLOAD_TYPES[CODEC], ssrc=1 + hash((number, hertz)) % 0xFFFFFFFE)
        self._mouth = Mouth(CODEC, hertz, sender, self._send, events=EVENT, clock=8000)

    @property
    def remote_port(self) -> int:
        """Where the other side hears, at the bridge."""
        assert self._rtp.target is not None
        return self._rtp.target[1]

    def calls(self, dials: str) -> Coroutine[Any, Any, int]:
        """Call a number; the final status."""
        self._take(self._exchange.dialog(self.number, self._describe))
        assert self.dialog is not None
        return self.dialog.place(dials)

    async def rings(self, within: float) -> Dialog:
        """Wait to be called. Raises TimeoutError."""
        waiting = self._exchange.expect(self.number, self._describe)
        dialog = await asyncio.wait_for(waiting, within)
        self._take(dialog)
        dialog.ring()
        return dialog

    async def redescribe(self, direction: str) -> int:
        """Hold the call (`sendonly`), or take it back."""
        assert self.dialog is not None
        self._direction = direction
        return await self.dialog.redescribe(direction)

    def press(self, key: str) -> None:
        """Press a key."""
        self._mouth.press(key)

    def close(self) -> None:
        """Be quiet, and free the ports."""
        self._metronome.remove(self._mouth)
        self._rtp.close()

    def _take(self, dialog: Dialog) -> None:
        self.dialog = dialog
        dialog.redescribed = self._aim
        if dialog.remote_sdp:
            self._aim()

    def _aim(self) -> None:
        """Speak where the other side says, if it wants to hear."""
        assert self.dialog is not None
        sdp = self.dialog.remote_sdp
        self._rtp.aim(sdp)
        theirs = direction_of(sdp)
        self._mouth.muted = theirs in ("sendonly", "inactive") or self._direction == "inactive"
        if self.dialog.answered.is_set():
            self._metronome.add(self._mouth)

    def _describe(self, direction: str) -> str:
        return self._rtp.sdp((CODEC,), direction=direction)

    async def _send(self, packet: Packet) -> None:
        self._rtp.send(packet)

    def _heard(self, packet: Packet) -> None:
        self.ear.take(packet)
        self._rtp.received.packets.clear()
        self._rtp.received.rtcp.clear()
