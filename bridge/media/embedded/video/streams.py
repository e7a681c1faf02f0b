# SPDX-License-Identifier: GPL-3.0-or-later
"""Video of a session, both directions: what is relayed, what is asked for, what was measured.

It adds these to the statistics of a session, for `S` in `matrix`, `sip`, once it was agreed on:

- `video_mode`: `relay`, or `none` when it is not agreed on any more
- `S_video_codec`: like `VP8/90000`
- `S_video_packets_received`, `S_video_octets_received` (payload), `S_video_packets_lost`,
  `S_video_packets_late` (or repeated), `S_video_packets_dropped` (on hold, of a payload type not
  agreed, a second time), `S_video_packets_oversize` (too large for the network; dropped, too)
- `S_video_unrepaired`: packets of that side that were lost and given up
- `S_video_frames`: pictures that came; `S_video_pictures`: of these the whole ones (key frames)
- `S_video_pictures_asked`: requests for a whole picture to that side
- `S_video_packets_sent`, `S_video_octets_sent` (payload)
- `S_video_packets_repeated`: sent to that side once more, for it had missed them
- `S_video_far_lost`, `S_video_far_jitter_ms`, `S_video_round_trip_ms`: as that side reports
- `sip_video_srtp`, `sip_video_strangers`, `sip_video_undecipherable`: as for audio
"""

from collections.abc import Callable, Mapping
from typing import Final

from bridge.call.ids import Side
from bridge.media.embedded.streams import Statistics, Streams
from bridge.media.embedded.video.path import CLOSED, Plan, VideoPath
from bridge.media.embedded.video.pictures import BEGINS_PICTURE
from bridge.media.embedded.video.side import VideoSide, in_step
from bridge.sdp.video import LegVideo

Send = Callable[[bytes], None]


class VideoStreams:
    """Both directions, and RTCP on both sides."""

    def __init__(
        self,
        cname: str,
        audio: Streams,
        send: Mapping[Side, Send],
        on_wanted: Callable[[], None],
    ) -> None:
        """`send`: RTCP to each side. `on_wanted`: the SIP peer is to be asked for a picture."""
        self.to_sip, self.to_matrix = VideoPath(), VideoPath()
        self._sides: Final = {
            Side.MATRIX: VideoSide(
                self.to_sip,
                self.to_matrix,
                cname=cname,
                send=send[Side.MATRIX],
                on_wanted=_nothing,
            ),
            Side.SIP: VideoSide(
                self.to_matrix,
                self.to_sip,
                cname=cname,
                send=send[Side.SIP],
                on_wanted=on_wanted,
            ),
        }
        self._sound: Final = {Side.MATRIX: audio.matrix_rtcp, Side.SIP: audio.sip_rtcp}
        self._codecs: dict[Side, str] = {}

    @property
    def codec(self) -> str:
        """What passes, as `VP8/90000`; empty if nothing is agreed on."""
        leg = self._sides[Side.SIP].leg
        return str(leg.codec) if leg else ""

    def follow(self, matrix: LegVideo | None, sip: LegVideo | None) -> None:
        """Pass packets as the legs agreed; not at all if one has not, or they differ."""
        if matrix is None or sip is None or matrix.codec.name != sip.codec.name:
            matrix = sip = None
        legs = {Side.MATRIX: matrix, Side.SIP: sip}
        for side, leg in legs.items():
            this, other = self._sides[side], legs[side.other]
            this.follow(leg)
            this.incoming.follow(_plan(leg, other) if leg and other else CLOSED)
            if leg is not None:
                self._codecs[side] = str(leg.codec)

    def receive_rtcp(self, side: Side, compound: bytes, now: float, wall: float) -> None:
        """Take a compound packet of a side; it may be about audio."""
        self._sides[side].receive(compound, now, wall)

    def refresh(self, now: float) -> None:
        """The SIP peer wants a whole picture."""
        self.to_sip.want_picture(now)

    def look(self, now: float) -> None:
        """Ask for what is missing, where nothing comes that would remind of it."""
        self.to_sip.look(now)
        self.to_matrix.look(now)

    def report(self, now: float, wall: float) -> None:
        """Report to both sides, and tell each how much the other can take."""
        for side, this in self._sides.items():
            source = self._sides[side.other]
            if this.leg is None:
                continue
            timestamp = in_step(this.outgoing, source.reporter, self._sound[side.other], now, wall)
            this.report(now, wall, timestamp)
            source.tell_limit(this.bandwidth.limit)

    def goodbye(self, now: float, wall: float) -> None:
        """The last report to both sides."""
        for this in self._sides.values():
            this.goodbye(now, wall)

    def statistics(self) -> Statistics:
        """What was measured so far; nothing if video was never agreed on."""
        if not self._codecs:
            return {}
        result: Statistics = {"video_mode": "relay" if self.codec else "none"}
        for side, this in self._sides.items():
            values = _measured(this) | {"codec": self._codecs[side]}
            result.update({f"{side.value}_video_{key}": value for key, value in values.items()})
        return result


def _nothing() -> None:
    """Clients are asked by RTCP alone."""


def _plan(source: LegVideo, target: LegVideo) -> Plan:
    return Plan(
        kinds=source.receive,
        kind=target.payload_type,
        begins_picture=BEGINS_PICTURE[source.codec.name],
        open=source.direction.receives and target.direction.sends,
        repeats="nack" in source.feedback,
    )


def _measured(this: VideoSide) -> Statistics:
    incoming, outgoing = this.incoming, this.outgoing
    reception, emission, far_end = incoming.reception, outgoing.emission, this.reporter.far_end
    values: Statistics = {
        "packets_received": reception.packets,
        "octets_received": reception.octets,
        "packets_lost": reception.lost,
        "packets_late": reception.late,
        "packets_dropped": incoming.dropped,
        "packets_oversize": incoming.oversize,
        "frames": incoming.frames,
        "pictures": incoming.pictures,
        "pictures_asked": this.asked,
        "unrepaired": incoming.unrepaired,
        "packets_sent": emission.packets,
        "octets_sent": emission.octets,
        "packets_repeated": outgoing.repeated,
    }
    if far_end.reports:
        values["far_lost"] = far_end.lost
        values["far_jitter_ms"] = round(far_end.jitter_ms, 2)
        if far_end.round_trip_ms >= 0:
            values["round_trip_ms"] = round(far_end.round_trip_ms, 2)
    return values
