# SPDX-License-Identifier: GPL-3.0-or-later
"""RTCP for one side's video: reports both ways, and feedback in the way that the side knows."""

from collections.abc import Callable
from typing import Final

from bridge.media.embedded.rtcp import Reporter, signed
from bridge.media.embedded.video import feedback
from bridge.media.embedded.video.bandwidth import MOST, Bandwidth
from bridge.media.embedded.video.path import CLOCK, VideoPath
from bridge.sdp.video import LegVideo

SKEW: Final = 2 * CLOCK
"""Units of the clock: where sound and picture seem further apart, the sender's clocks are wrong."""
ENOUGH: Final = 2.0
"""Seconds of packets that say something about loss; browsers report several times a second."""
_OVERHEAD: Final = 40
"""Octets of RTP, UDP and IPv4 headers."""
_INSIST: Final = 5
"""How many times in a row an unchanged limit is left unsaid, where saying it asks for an answer."""


class VideoSide:
    """One side: what comes from it, what goes to it, and what is said about either."""

    def __init__(
        self,
        incoming: VideoPath,
        outgoing: VideoPath,
        *,
        cname: str,
        send: Callable[[bytes], None],
        on_wanted: Callable[[], None],
    ) -> None:
        """`on_wanted`: a picture is wanted of the side, which cannot be told so by RTCP."""
        self.incoming = incoming
        self.outgoing = outgoing
        self.reporter = Reporter(outgoing.emission, incoming.reception, cname)
        self.bandwidth = Bandwidth()
        """What may be sent to the side."""
        self.leg: LegVideo | None = None
        self.asked = 0
        """Requests for a whole picture."""
        self._send = send
        self._on_wanted = on_wanted
        self._number = -1
        self._numbered = -1
        self._last_number = -1
        self._told: int | None = None
        self._unsaid = 0
        self._reports = 0
        self._reported_at = 0.0
        incoming.ask_picture = self._ask_picture
        incoming.ask_again = self._ask_again

    def follow(self, leg: LegVideo | None) -> None:
        """The side has agreed to this."""
        self.leg = leg
        self.bandwidth.described = leg.bit_rate if leg else None
        if leg is None:
            self.bandwidth.said = self.bandwidth.by_loss = self._told = None

    # --- what the side says -----------------------------------------------------------------------

    def receive(self, compound: bytes, now: float, wall: float) -> None:
        """Take a compound packet; what it says of other streams is passed over."""
        self.reporter.receive(compound, now, wall)
        if self.leg is None:
            return
        for said in feedback.read(compound):
            match said:
                case feedback.Nack(media=media, lost=lost) if media == self.outgoing.emission.ssrc:
                    self.outgoing.repeat(lost, now)
                case feedback.PictureLoss():
                    self.outgoing.want_picture(now)
                case feedback.FullIntra(number=number):
                    self._take_full_intra(number, now)
                case feedback.MostBits(media=media) if media == self.outgoing.emission.ssrc:
                    self._take_limit(said)
        self._take_report(now)

    def _take_full_intra(self, number: int, now: float) -> None:
        """A repetition asks for what was asked before, and may have come since."""
        if number != self._last_number or self.outgoing.wish.wanted:
            self._last_number = number
            self.outgoing.want_picture(now)

    def _take_limit(self, said: feedback.MostBits) -> None:
        self.bandwidth.said = said.bits
        if not said.estimated:
            ours = self.outgoing.emission.ssrc
            self._say(feedback.most_bits_noted(ours, said.sender, said.bits, said.overhead))

    def _take_report(self, now: float) -> None:
        far_end, emission = self.reporter.far_end, self.outgoing.emission
        if far_end.reports == self._reports:
            return
        self._reports = far_end.reports
        if far_end.round_trip_ms >= 0:
            self.incoming.expect_round_trip(far_end.round_trip_ms / 1000)
        since = now - self._reported_at if self._reported_at else 0.0
        if self._reported_at and since < ENOUGH:
            return
        self._reported_at = now
        self.bandwidth.reported(far_end.lost, emission.packets, emission.octets, since)

    # --- what is said to the side -----------------------------------------------------------------

    def report(self, now: float, wall: float, timestamp: int | None) -> None:
        """Report on what came and what was sent. `timestamp` as for `Reporter.report`."""
        if self.leg is not None:
            self._send(self.reporter.report(now, wall, timestamp))

    def goodbye(self, now: float, wall: float) -> None:
        """The last report."""
        if self.leg is not None:
            self._send(self.reporter.goodbye(now, wall))

    def tell_limit(self, bits: int | None) -> None:
        """Let the side send no more than so many bits a second; None: as many as it likes."""
        known = self.leg.feedback if self.leg else frozenset()
        if (bits is None and self._told is None) or self.incoming.reception.ssrc < 0:
            return
        bits = bits or MOST
        if "remb" in known:
            self._say(feedback.remb(self._ssrc, [self.incoming.reception.ssrc], bits))
        elif "tmmbr" in known and self._is_news(bits):
            theirs = self.incoming.reception.ssrc
            self._say(feedback.most_bits(self._ssrc, theirs, bits, _OVERHEAD))
        self._told = bits

    def _is_news(self, bits: int) -> bool:
        """Whether a limit is another one, by more than a little, or was not said for a while."""
        self._unsaid += 1
        same = self._told is not None and abs(bits - self._told) * 32 <= self._told
        if same and self._unsaid <= _INSIST:
            return False
        self._unsaid = 0
        return True

    def _ask_picture(self, _: float) -> None:
        if self.leg is None:
            return
        self.asked += 1
        theirs = self.incoming.reception.ssrc
        if "pli" in self.leg.feedback:
            self._say(feedback.picture_loss(self._ssrc, theirs))
        elif "fir" in self.leg.feedback:
            if self._numbered != self.incoming.pictures:  # A repetition has the same number.
                self._numbered = self.incoming.pictures
                self._number = (self._number + 1) & 0xFF
            self._say(feedback.full_intra(self._ssrc, theirs, self._number))
        else:
            self._on_wanted()

    def _ask_again(self, lost: list[int]) -> None:
        self._say(feedback.nack(self._ssrc, self.incoming.reception.ssrc, lost))

    @property
    def _ssrc(self) -> int:
        return self.outgoing.emission.ssrc

    def _say(self, what: bytes) -> None:
        self._send(self.reporter.with_feedback(what))


def in_step(path: VideoPath, source: Reporter, sound: Reporter, now: float, wall: float) -> int:
    """What `wall` is in the stream that we send, so that picture and sound stay together.

    Sound is reported by when it came; the picture by what its sender says belongs to that sound
    (`source`, `sound`: what the side reports of its video and its audio, RFC 3550 6.4.1).
    """
    by_arrival = path.emission.timestamp_at(now)
    origin, lag = source.origin, sound.lag(now, wall)
    if origin is None or lag is None or not path.running or origin.ssrc != path.reception.ssrc:
        return by_arrival
    elapsed = round((wall - lag - origin.wall) * CLOCK)
    timestamp = (path.timestamp_of(origin.timestamp) + elapsed) & 0xFFFFFFFF
    return timestamp if abs(signed(timestamp - by_arrival)) <= SKEW else by_arrival
