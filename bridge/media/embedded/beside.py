# SPDX-License-Identifier: GPL-3.0-or-later
"""The SIP peer of another call where the Matrix client was: two sessions are each other's client.

Each keeps its sockets, keys, reports and statistics. What the SIP peer of one sends goes into the
path to the SIP peer of the other, which takes it for what its client says: so it is passed on or
re-encoded like everything else. Neither learns of the other's hold: who holds lets itself be heard
as long as it sends, and hears nothing.
"""

from collections.abc import Callable
from dataclasses import replace

from bridge.call.ids import CallId
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.keys import KeyPlayer
from bridge.media.embedded.path import NO_TYPE
from bridge.media.embedded.ringback import Ringback
from bridge.media.embedded.streams import Streams
from bridge.sdp.agreement import audio_of, leg_media
from bridge.sdp.codecs import AUDIO_CODECS, Codec, codecs_of
from bridge.sdp.description import MediaDirection, SessionDescription
from bridge.sdp.ends import Exchange

OnKey = Callable[[str, float], None]


class Beside:
    """One session's half."""

    def __init__(
        self,
        other: CallId,
        streams: Streams,
        *,
        hear: Callable[[Ear], None],
        follow: Callable[[Exchange], None],
        on_key: OnKey,
    ) -> None:
        """`hear`: sends what our SIP peer says elsewhere. `follow`: the other's has agreed to this.

        `on_key`: told of keys that cannot be played to our SIP peer.
        """
        self.other = other
        """Whose session is beside ours."""
        self.agreed: Exchange | None = None
        """With our own SIP peer."""
        self._streams = streams
        self._hear = hear
        self._follow = follow
        self._on_key = on_key
        self._met: Beside | None = None
        self._player = KeyPlayer(streams.to_sip)
        self._ringback = Ringback(streams.to_sip, streams.opus_bitrate)
        streams.to_sip.restart()

    def meet(self, other: "Beside") -> None:
        """Both are there."""
        for one, two in ((self, other), (other, self)):
            one._met = two
            two._streams.to_sip.hear(one._streams.to_matrix.reception)
            one._hear(two._streams.to_sip.ear)
        for one, two in ((self, other), (other, self)):
            if one.agreed is not None:
                two._follow(one.agreed)

    @property
    def talks(self) -> bool:
        """Whether the other's SIP peer is agreed on."""
        return self._met is not None and self._met.agreed is not None

    def agree(self, exchange: Exchange) -> None:
        """Our SIP peer has agreed to something."""
        self.agreed = exchange
        if self._met is not None:
            self._met._follow(exchange)
        self.ring()

    def ring(self) -> None:
        """Let our SIP peer hear that it rings, until the other's is agreed on."""
        if self.talks:
            self._ringback.stop()
        elif self.agreed is not None:
            self._ringback.start(leg_media(self.agreed.local, self.agreed.remote))

    def play(self, key: str, duration: float) -> None:
        """Our SIP peer pressed a key by INFO, which the other's is to get."""
        if self._met is not None:
            self._met._take(key, duration)

    def _take(self, key: str, duration: float) -> None:
        if self._streams.to_sip.plan.event_out == NO_TYPE:
            self._on_key(key, duration)
        else:
            self._streams.to_sip.events += 1
            self._player.play(key, duration)

    def part(self) -> None:
        """Our session is over. The other goes on, and may hear that it rings elsewhere."""
        self._player.stop()
        self._ringback.stop()
        other, self._met = self._met, None
        if other is not None:
            other._met = None
            other._hear(other._streams.to_matrix.ear)
            other.ring()


def unbound_exchange(exchange: Exchange) -> Exchange:
    """The same without hold, and with no audio codec but the one in use."""
    codec = leg_media(exchange.local, exchange.remote).codec
    return Exchange(local=unbound(exchange.local, codec), remote=unbound(exchange.remote, codec))


def unbound(description: SessionDescription, codec: Codec) -> SessionDescription:
    """The same of one description."""
    audio = audio_of(description)
    kept = [str(n) for n, c in codecs_of(audio).items() if c == codec or c not in AUDIO_CODECS]
    free = replace(audio, direction=MediaDirection.SENDRECV, formats=tuple(kept))
    media = tuple(free if section is audio else section for section in description.media)
    return replace(description, media=media)
