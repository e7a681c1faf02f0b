# SPDX-License-Identifier: GPL-3.0-or-later
"""A session without a client: the SIP peer is played to, and recorded.

It stands where another call's SIP peer might (see `beside`), and lets ours be heard by nobody.
"""

from collections.abc import Callable

from bridge.call.ids import CallId
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.keys import KeyListener
from bridge.media.embedded.rtp import HEADER, HEADER_SIZE
from bridge.media.embedded.srtp import Packet
from bridge.media.embedded.streams import Streams
from bridge.sdp.ends import Exchange

OnKey = Callable[[str, float], None]
_EVENT = 4
"""Octets of a telephone-event (RFC 4733 section 2.3)."""


class Alone:
    """What a session has beside it, which is nothing."""

    other = CallId("")

    def __init__(
        self,
        streams: Streams,
        *,
        hear: Callable[[Ear], None],
        follow: Callable[[Exchange], None],
        on_key: OnKey,
    ) -> None:
        """`hear` and `follow` as in `Beside`. `on_key`: told of keys that our SIP peer presses."""
        self._streams = streams
        self._follow = follow
        self._keys = KeyListener(on_key)
        self.talks = False
        """Whether our own SIP peer is agreed on."""
        hear(Ear(self._hear))

    def agree(self, exchange: Exchange) -> None:
        """Our SIP peer has agreed to something."""
        self.talks = True
        self._follow(exchange)

    def ring(self) -> None:
        """Nobody else is awaited."""

    def play(self, key: str, duration: float) -> None:
        """Nobody gets the keys that our SIP peer presses by INFO."""

    def part(self) -> None:
        """The session is over."""
        self._keys.stop()

    def _hear(self, packet: Packet, now: float) -> None:
        path = self._streams.to_matrix
        _, second, _, timestamp, _ = HEADER.unpack_from(packet)
        clock = path.plan.event_in.get(second & 0x7F)
        if clock is not None and len(packet) >= HEADER_SIZE + _EVENT:
            self._keys.hear(timestamp, bytes(packet[HEADER_SIZE:]), clock)
        path.receive(packet, now)
