# SPDX-License-Identifier: GPL-3.0-or-later
"""The packets of a session: a path each way, RTCP on both sides, and what they measured.

`Statistics` of a session are flat, so that a record can keep them. For `S` in `matrix`, `sip`:

- `mode`: `relay`, `transcode`, or `none` when nothing was agreed
- `S_codec`: like `opus/48000/2`
- `S_packets_received`, `S_octets_received` (payload), `S_packets_lost`, `S_packets_late` (or
  repeated), `S_packets_dropped` (on hold, of a payload type not agreed, or
  before there was a way to the other side), `S_jitter_ms`
- `S_packets_sent`, `S_octets_sent` (payload)
- `S_reports`, `S_far_lost`, `S_far_jitter_ms`, `S_round_trip_ms`: what the far end of that side
  reported by RTCP of what it got from us; only if it did
- `S_events`: telephone-events (key presses) that came from that side and were passed on
- `S_audio_after_s`: seconds from the answer until the first packet was sent to that side
- `connect_s`: seconds from the answer until ICE and DTLS were up
- `S_srtp`: the suite that the audio of that side is encrypted with; only if it is
- `S_undecipherable`: packets with a wrong key, or repeated
- `S_malformed`: packets that are nothing that belongs there, and RTCP and STUN that is garbled
- `matrix_pair`: the ICE candidates in use last, ours and the client's
- `sip_unsent`: packets that the network stack refused
- `S_mos`, `S_mos_least`, `S_silence`, `S_silent_s`: what the call makes of what `watch` tells
- `sip_strangers`: packets from addresses that have no part in the call
- `sip_latched`: 1 if the SIP peer sends from another address than it signalled (NAT)
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from bridge.call.ids import Side
from bridge.media.embedded.codecs import BITRATE
from bridge.media.embedded.path import NO_TYPE, OnEvent, Path, Plan
from bridge.media.embedded.rtcp import FarEnd, Reporter
from bridge.media.embedded.rtp import Emission, Reception
from bridge.media.embedded.transcoder import make_transcoder
from bridge.sdp.agreement import LegMedia
from bridge.sdp.codecs import AUDIO_CODECS, TELEPHONE_EVENTS, Codec

Statistics = dict[str, int | float | str]


def _emission() -> Emission:
    # Sequence numbers start low enough for SRTP's rollover counter (RFC 3711 3.3.1).
    return Emission(
        ssrc=secrets.randbits(32),
        sequence=secrets.randbits(15),
        timestamp=secrets.randbits(32),
        clock=8000,
    )


class Streams:
    """Both directions of a session."""

    def __init__(
        self,
        cname: str,
        on_change: Callable[[], None],
        on_event: OnEvent,
        opus_bitrate: int = BITRATE,
    ) -> None:
        """`on_change` is called when `mode` may have changed without `follow`.

        `on_event` is told of the client's telephone-events that SIP does not take. `opus_bitrate`:
        bits per second of Opus that is made here.
        """
        switch = partial(self._switch, Side.MATRIX)
        self.to_sip = Path(Reception(8000), _emission(), switch, on_event)
        self.to_matrix = Path(Reception(8000), _emission(), partial(self._switch, Side.SIP))
        self.matrix_rtcp = Reporter(self.to_matrix.emission, self.to_sip.reception, cname)
        self.sip_rtcp = Reporter(self.to_sip.emission, self.to_matrix.reception, cname)
        self.codecs: dict[Side, Codec] = {}
        """What we send to each side, once that is agreed."""
        self._legs: dict[Side, LegMedia] = {}
        self._on_change = on_change
        self.opus_bitrate = opus_bitrate

    @property
    def mode(self) -> str:
        """How packets pass: `relay`, `transcode`, or `none`."""
        if not self._legs:
            return "none"
        transcoding = self.to_sip.transcoding or self.to_matrix.transcoding
        return "transcode" if transcoding else "relay"

    def follow(self, matrix: LegMedia, sip: LegMedia) -> None:
        """Pass packets as the legs agreed."""
        self.codecs = {Side.MATRIX: matrix.codec, Side.SIP: sip.codec}
        self._legs = {Side.MATRIX: matrix, Side.SIP: sip}
        self._follow(self.to_sip, matrix, sip)
        self._follow(self.to_matrix, sip, matrix)

    def _switch(self, source: Side, kind: int) -> bool:
        """A side sends another codec of those that were agreed on: take it as it comes."""
        leg = self._legs.get(source)
        codec = leg.receive.get(kind) if leg else None
        if leg is None or codec is None or codec not in AUDIO_CODECS:
            return False
        path = self.to_sip if source is Side.MATRIX else self.to_matrix
        self._follow(path, replace(leg, codec=codec), self._legs[source.other])
        self._on_change()
        return True

    def _follow(self, path: Path, source: LegMedia, target: LegMedia) -> None:
        key = (source.codec, target.codec, target.ptime, target.parameters)
        number, event = target.event_payload_type, target.event
        path.follow(
            Plan(
                audio_in=frozenset(n for n, c in source.receive.items() if c == source.codec),
                audio_out=target.payload_type,
                clock_in=source.codec.clock,
                clock_out=target.codec.clock,
                event_in={n: c.clock for n, c in source.receive.items() if c in TELEPHONE_EVENTS},
                event_out=NO_TYPE if number is None else number,
                event_clock_out=event.clock if event else 8000,
                open=source.direction.receives and target.direction.sends,
                transcoding=None if source.codec == target.codec else key,
            ),
            lambda: make_transcoder(source, target, self.opus_bitrate),
        )

    @property
    def legs(self) -> Mapping[Side, LegMedia]:
        """What was agreed with each side."""
        return self._legs

    def path_to(self, side: Side) -> Path:
        """By which that side hears."""
        return self.to_sip if side is Side.SIP else self.to_matrix

    def wants(self, side: Side) -> bool:
        """Whether it was agreed that audio comes from a side: it does not on hold."""
        leg = self._legs.get(side)
        return leg is not None and leg.direction.receives

    def tick(self, now: float) -> None:
        """To be called about every 20 ms while `mode` is `transcode`."""
        self.to_sip.expect_loss(self.sip_rtcp.far_end.losing)
        self.to_matrix.expect_loss(self.matrix_rtcp.far_end.losing)
        self.to_sip.tick(now)
        self.to_matrix.tick(now)

    def close(self) -> None:
        """Free the transcoders."""
        self.to_sip.close()
        self.to_matrix.close()

    def statistics(self, answered_at: float) -> Statistics:
        """What was measured so far; `answered_at` is monotonic, 0.0 if there was no answer."""
        result: Statistics = {"mode": self.mode}
        for side, incoming, outgoing, reporter in (
            (Side.MATRIX, self.to_sip, self.to_matrix, self.matrix_rtcp),
            (Side.SIP, self.to_matrix, self.to_sip, self.sip_rtcp),
        ):
            values: Statistics = {
                **_received(incoming),
                **_sent(outgoing, answered_at),
                **_reported(reporter.far_end),
            }
            if side in self.codecs:
                values["codec"] = str(self.codecs[side])
            result.update({f"{side.value}_{key}": value for key, value in values.items()})
        return result


def _received(path: Path) -> Statistics:
    reception = path.reception
    return {
        "packets_received": reception.packets,
        "octets_received": reception.octets,
        "packets_lost": reception.lost,
        "packets_late": reception.late,
        "packets_dropped": path.dropped,
        "jitter_ms": round(reception.jitter_ms, 2),
        "events": path.events,
    }


def _sent(path: Path, answered_at: float) -> Statistics:
    emission = path.emission
    values: Statistics = {
        "packets_sent": emission.packets,
        "octets_sent": emission.octets,
    }
    if emission.first_at and answered_at:
        values["audio_after_s"] = round(max(0.0, emission.first_at - answered_at), 3)
    return values


def _reported(far_end: FarEnd) -> Statistics:
    if not far_end.reports:
        return {}
    values: Statistics = {
        "reports": far_end.reports,
        "far_lost": far_end.lost,
        "far_jitter_ms": round(far_end.jitter_ms, 2),
    }
    if far_end.round_trip_ms >= 0:
        values["round_trip_ms"] = round(far_end.round_trip_ms, 2)
    return values
