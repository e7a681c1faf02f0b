# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets of one codec in, packets of another out: sound, order, loss, pauses and time."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pesq import pesq

from bridge.media.embedded.codecs import (
    Decoder,
    make_decoder,
    make_encoder,
    packet_time_for,
    rate_for,
)
from bridge.media.embedded.transcoder import Frame, Transcoder, make_transcoder
from bridge.sdp.agreement import LegMedia
from bridge.sdp.codecs import AUDIO_CODECS, G722, OPUS, PCMA, PCMU, Codec
from bridge.sdp.description import MediaDirection
from tests.simulators.audio import Tone, find_tone, sine, speechlike

PAIRS = [(a, b) for a in AUDIO_CODECS for b in AUDIO_CODECS if a != b]
START = 0xFFFFFFF0
"""Timestamps that soon wrap."""
FIRST = 65533
"""Sequence numbers that soon wrap."""


def leg(codec: Codec, ptime: int = 20, parameters: str = "") -> LegMedia:
    """A leg that agreed on a codec."""
    return LegMedia(
        codec=codec,
        payload_type=96,
        receive={96: codec},
        event=None,
        event_payload_type=None,
        ptime=ptime,
        parameters=parameters,
        direction=MediaDirection.SENDRECV,
        address=("192.0.2.1", 4000),
        rtcp_address=("192.0.2.1", 4001),
        rtcp_mux=False,
    )


@dataclass(frozen=True)
class Packet:
    """What the source sends."""

    sequence: int
    timestamp: int
    payload: bytes


@cache
def tone(rate: int) -> "array[int]":
    """A little more than a second of it."""
    return sine(440, 1.2, rate)


@cache
def packets(codec: Codec, other: Codec, *, ptime: int = 20) -> tuple[Packet, ...]:
    """A tone as the source sends it to one that has another codec."""
    return said(codec, other, tone(rate_for(codec, other)), ptime=ptime)


def said(
    codec: Codec, other: Codec, samples: "array[int]", *, ptime: int = 20
) -> tuple[Packet, ...]:
    """Samples as the source sends them."""
    rate = rate_for(codec, other)
    encoder = make_encoder(codec, rate, ptime, "useinbandfec=1")
    encoder.expect_loss(5)
    size = rate * ptime // 1000
    return tuple(
        Packet(
            (FIRST + n) & 0xFFFF,
            (START + n * codec.clock * ptime // 1000) & 0xFFFFFFFF,
            encoder.encode(samples[n * size : (n + 1) * size].tobytes()),
        )
        for n in range(len(samples) // size)
    )


@dataclass
class Listener:
    """Receives frames, checks them, and hears what they say."""

    source: Codec
    target: Codec
    ptime: int = 20
    frames: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.transcoder = make_transcoder(leg(self.source), leg(self.target, self.ptime))
        self.rate = rate_for(self.target, self.source)
        self.decoder: Decoder = make_decoder(self.target, self.rate)
        self.step = self.target.clock * packet_time_for(self.target, self.ptime) // 1000
        self.heard: array[int] = array("h")

    def take(self, packets: Iterable[Packet]) -> list[Frame]:
        """Push packets; return the frames that came of them."""
        made: list[Frame] = []
        for packet in packets:
            made += self.transcoder.push(packet.sequence, packet.timestamp, packet.payload)
        return self.hear(made)

    def tick(self, now: float) -> list[Frame]:
        """Let time pass."""
        return self.hear(self.transcoder.tick(now))

    def hear(self, made: list[Frame]) -> list[Frame]:
        """Note frames."""
        for frame in made:
            self.heard.frombytes(self.decoder.decode(frame.payload))
        self.frames += made
        return made

    @property
    def gaps(self) -> list[int]:
        """Steps of the timestamps, in frames, where they are not one."""
        times = [frame.timestamp for frame in self.frames]
        steps = [((after - before) & 0xFFFFFFFF) / self.step for before, after in pairwise(times)]
        return [round(step) for step in steps if step != 1]

    @property
    def tone(self) -> Tone:
        """The tone heard last."""
        return find_tone(self.heard, self.rate)

    @property
    def markers(self) -> list[int]:
        """Where talk begins."""
        return [n for n, frame in enumerate(self.frames) if frame.marker]


# --- sound ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_tone_passes(source: Codec, target: Codec) -> None:
    listener = Listener(source, target)
    sent = packets(source, target)
    listener.take(sent)
    # A resampler holds a few samples back.
    assert len(listener.frames) in (len(sent), len(sent) - 1)
    assert listener.frames[0].timestamp == 0
    assert listener.gaps == []
    assert listener.markers == [0]
    assert listener.tone.is_near(440)
    assert listener.tone.purity > 0.95
    assert listener.tone.rms == pytest.approx(0.3 / 2**0.5, rel=0.1)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize(("came", "wanted"), [(10, 20), (20, 30), (30, 20), (60, 20), (20, 60)])
def test_packet_times_may_differ(source: Codec, target: Codec, came: int, wanted: int) -> None:
    came = packet_time_for(source, came)
    listener = Listener(source, target, ptime=wanted)
    sent = packets(source, target, ptime=came)
    listener.take(sent)
    total = len(sent) * came
    assert total - 2 * wanted < len(listener.heard) * 1000 // listener.rate <= total
    assert listener.gaps == []
    assert listener.tone.is_near(440)


@pytest.mark.parametrize(
    ("source", "target", "least"),
    [(OPUS, PCMU, 3.0), (PCMA, OPUS, 2.8), (OPUS, G722, 3.0), (G722, OPUS, 2.8), (G722, PCMA, 3.0)],
)
def test_speech_stays_speech(source: Codec, target: Codec, least: float) -> None:
    """PESQ (ITU-T P.862) goes from 1 (bad) to 4.5."""
    listener = Listener(source, target)
    rate = rate_for(source, target)
    voice = speechlike(4, rate)
    listener.take(said(source, target, voice))
    spoken = np.array(voice)[:: rate // 8000]
    heard = np.array(listener.heard)[:: listener.rate // 8000]
    assert pesq(8000, spoken, heard, "nb") > least


def test_the_receivers_wishes_reach_the_encoder() -> None:
    voice = speechlike(1, 8000)
    sent = said(PCMU, OPUS, voice)

    def size(parameters: str) -> int:
        transcoder = make_transcoder(leg(PCMU), leg(OPUS, 20, parameters))
        frames = (transcoder.push(p.sequence, p.timestamp, p.payload) for p in sent)
        return sum(len(frame.payload) for made in frames for frame in made)

    assert size("maxaveragebitrate=8000") < size("") * 0.7


def test_redundancy_follows_what_the_receiver_reports() -> None:
    sent = said(PCMU, OPUS, speechlike(1, 8000))

    def made(*losses: int) -> list[bytes]:
        transcoder = make_transcoder(leg(PCMU), leg(OPUS, 20, "useinbandfec=1"))
        for percent in losses:
            transcoder.expect_loss(percent)
        frames = (transcoder.push(p.sequence, p.timestamp, p.payload) for p in sent)
        return [frame.payload for made in frames for frame in made]

    assert made() == made(0) == made(10, 0) != made(10)


# --- order and loss -------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_neighbours_that_changed_places(source: Codec, target: Codec) -> None:
    sent = packets(source, target)
    ordered, swapped = Listener(source, target), Listener(source, target)
    ordered.take(sent)
    swapped.take([*sent[:10], sent[11], sent[10], *sent[12:]])
    assert swapped.frames == ordered.frames
    assert swapped.transcoder.concealed == 0


def test_what_is_in_order_leaves_at_once() -> None:
    listener = Listener(OPUS, PCMU)
    assert all(len(listener.take([packet])) == 1 for packet in packets(OPUS, PCMU))


def test_duplicates_and_stragglers_do_nothing() -> None:
    sent = packets(PCMA, PCMU)
    once, often = Listener(PCMA, PCMU), Listener(PCMA, PCMU)
    once.take(sent)
    often.take([sent[0], sent[0], *sent[1:12], sent[5], sent[13], sent[13], *sent[12:], sent[40]])
    assert often.frames == once.frames


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("lost", [1, 2, 5])
def test_loss_is_made_up(source: Codec, target: Codec, lost: int) -> None:
    listener = Listener(source, target)
    sent = packets(source, target)
    before = listener.take(sent[:20])
    assert listener.take(sent[20 + lost : 21 + lost]) == []
    burst = listener.take(sent[21 + lost : 22 + lost])
    assert len(burst) == lost + 2
    listener.take(sent[22 + lost :])
    assert len(listener.frames) in (len(sent), len(sent) - 1)
    assert len(before) in (20, 19)
    assert listener.gaps == []
    assert listener.markers == [0]
    assert listener.transcoder.concealed == 20 * lost


@pytest.mark.parametrize("source", [PCMU, G722])
def test_one_lost_packet_is_hardly_heard(source: Codec) -> None:
    listener = Listener(source, PCMA)
    sent = packets(source, PCMA)
    listener.take([*sent[:45], *sent[46:]])
    assert listener.tone.is_near(440)
    assert listener.tone.rms == pytest.approx(0.3 / 2**0.5, rel=0.12)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_long_loss_is_a_gap_in_time(source: Codec, target: Codec) -> None:
    listener = Listener(source, target)
    sent = packets(source, target)
    listener.take([*sent[:20], *sent[40:]])
    assert listener.transcoder.concealed == 0
    assert listener.gaps in ([21], [20])
    assert len(listener.markers) == 2
    assert listener.tone.is_near(440)


def test_two_gaps_at_once() -> None:
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)
    listener.take([*sent[:10], sent[11], sent[13], *sent[14:20]])
    assert len(listener.frames) == 20
    assert listener.transcoder.concealed == 40


def test_a_packet_that_cannot_be_decoded() -> None:
    listener = Listener(OPUS, PCMA)
    sent = packets(OPUS, PCMA)
    bad = Packet(sent[10].sequence, sent[10].timestamp, b"\xff\xff")
    listener.take([*sent[:10], bad, *sent[11:]])
    assert listener.transcoder.undecodable == 1
    assert len(listener.frames) == len(sent) - 1
    assert listener.gaps == [2]
    assert listener.tone.is_near(440)


def test_an_empty_packet_is_no_sound() -> None:
    listener = Listener(G722, OPUS)
    sent = packets(G722, OPUS)
    listener.take([*sent[:10], Packet(sent[10].sequence, sent[10].timestamp, b""), *sent[11:]])
    assert listener.transcoder.undecodable == 0
    assert listener.tone.is_near(440)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 59), st.booleans()), max_size=120),
    st.sampled_from([(PCMU, PCMA), (OPUS, PCMU), (PCMA, G722)]),
)
def test_time_never_goes_back(order: list[tuple[int, bool]], pair: tuple[Codec, Codec]) -> None:
    """Whatever is lost, repeated or out of order, and whenever time passes."""
    sent = packets(*pair)
    listener = Listener(*pair)
    now = 0.0
    for number, pass_time in order:
        listener.take([sent[number]])
        if pass_time:
            now += 0.05
            listener.tick(now)
    times = [frame.timestamp for frame in listener.frames]
    for before, after in pairwise(times):
        assert after - before >= listener.step
    assert all(
        frame.marker == (n == 0 or frame.timestamp - times[n - 1] > listener.step)
        for n, frame in enumerate(listener.frames)
    )


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_packets_that_come_later_are_waited_for(depth: int) -> None:
    """The first one that comes too late is lost; the next one is not."""
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)
    for start in (0, 20, 40):
        late = sent[start + 5]
        listener.take([*sent[start : start + 5], *sent[start + 6 : start + 6 + depth], late])
        listener.take(sent[start + 6 + depth : start + 20])
        assert listener.transcoder.concealed == 20
    assert len(listener.frames) == len(sent)
    assert listener.gaps == []


def test_packets_that_come_too_late_are_not_waited_for() -> None:
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)
    for start in (0, 20):
        listener.take([*sent[start : start + 5], *sent[start + 6 : start + 14]])
        assert len(listener.frames) == start + 14
        listener.take([sent[start + 5], *sent[start + 14 : start + 20]])
    assert listener.transcoder.concealed == 40


def test_where_nothing_comes_late_any_more_less_is_waited_for() -> None:
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)

    def lose(number: int, comes_after: int) -> list[Frame]:
        """How much leaves before the packet comes after all."""
        start = number * 60
        again = [
            Packet(p.sequence + start & 0xFFFF, p.timestamp + start * 160 & 0xFFFFFFFF, p.payload)
            for p in sent
        ]
        made = listener.take([*again[:5], *again[6 : 6 + comes_after]])
        listener.take([again[5], *again[6 + comes_after :]])
        return made

    assert len(lose(0, 2)) == 8
    assert len(lose(1, 2)) == 5
    for number in range(2, 28):
        listener.take(
            Packet(
                p.sequence + number * 60 & 0xFFFF,
                p.timestamp + number * 9600 & 0xFFFFFFFF,
                p.payload,
            )
            for p in sent
        )
    assert len(lose(28, 2)) == 8


# --- other packets of the same source -------------------------------------------------------


def test_events_are_not_lost_sound() -> None:
    listener = Listener(PCMU, OPUS)
    sent = packets(PCMU, OPUS)
    listener.take(sent[:10])
    for packet in sent[10:20]:
        assert listener.hear(listener.transcoder.skip(packet.sequence)) == []
    listener.take(sent[20:])
    assert listener.transcoder.concealed == 0
    assert listener.gaps == [11]
    assert listener.markers == [0, 10]


def test_events_between_packets_of_sound() -> None:
    """Senders that go on with sound during an event."""
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)
    for n, packet in enumerate(sent[:20]):
        number = FIRST + 2 * n
        listener.take([Packet(number & 0xFFFF, packet.timestamp, packet.payload)])
        listener.hear(listener.transcoder.skip((number + 1) & 0xFFFF))
    assert len(listener.frames) == 20
    assert listener.gaps == []
    assert listener.transcoder.concealed == 0


def test_an_event_before_any_sound() -> None:
    listener = Listener(PCMU, PCMA)
    assert listener.transcoder.skip(7) == []
    assert listener.tick(1.0) == []
    assert len(listener.take(packets(PCMU, PCMA))) == 60


# --- pauses ---------------------------------------------------------------------------------


def run(listener: Listener, start: float, seconds: float) -> list[Frame]:
    """Let time pass without packets, in ticks of 20 ms."""
    made: list[Frame] = []
    for n in range(round(seconds / 0.02)):
        made += listener.tick(start + 0.02 * n)
    return made


def test_a_pause_that_nobody_fills_is_a_gap() -> None:
    listener = Listener(OPUS, PCMU)
    sent = packets(OPUS, PCMU)
    later = [Packet(p.sequence, (p.timestamp + 48000) & 0xFFFFFFFF, p.payload) for p in sent[20:]]
    listener.take([*sent[:20], *later])
    assert len(listener.frames) == len(sent)
    assert listener.gaps == [51]
    assert listener.markers == [0, 20]


def test_a_sender_that_falls_silent_is_replaced_by_silence() -> None:
    listener = Listener(PCMU, PCMA)
    listener.take(packets(PCMU, PCMA)[:20])
    assert run(listener, 10.0, 0.2) == []
    rest = run(listener, 10.2, 1.0)
    assert 48 <= len(rest) <= 51
    assert rest[0].marker
    assert not any(frame.marker for frame in rest[1:])
    assert set(rest[-1].payload) == {0xD5}
    # The receiver's clock goes on with ours: a frame for every tick, none for what went by.
    assert rest[-1].timestamp / 8000 == pytest.approx(0.4 + 1.18 - 0.04, abs=0.03)


def test_the_end_of_silence_joins_on() -> None:
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)
    listener.take(sent[:20])
    run(listener, 10.0, 1.02)
    later = [Packet(p.sequence, (p.timestamp + 8000) & 0xFFFFFFFF, p.payload) for p in sent[20:]]
    listener.take(later)
    assert all(gap <= 10 for gap in listener.gaps)
    assert listener.frames[-1].timestamp == 8000 + 59 * 160
    assert listener.tone.is_near(440)


def test_a_sender_that_uses_dtx() -> None:
    """libopus says by a packet of at most two octets that it will pause."""
    listener = Listener(OPUS, PCMU)
    sent = packets(OPUS, PCMU)
    listener.take(sent[:20])
    dtx = Packet(sent[20].sequence, sent[20].timestamp, sent[0].payload[:1])
    assert len(listener.take([dtx])) == 1
    rest = run(listener, 5.0, 0.4)
    assert 17 <= len(rest) <= 19
    assert listener.gaps == []
    refreshed = Packet(
        sent[21].sequence, (sent[20].timestamp + 20 * 960) & 0xFFFFFFFF, sent[21].payload
    )
    listener.take([refreshed])
    assert listener.gaps == []
    assert listener.markers == [0]
    assert len(listener.frames) == 41


def test_rest_stops_when_the_sender_is_back() -> None:
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)
    now = 0.0
    for packet in sent:
        assert len(listener.take([packet])) == 1
        assert listener.tick(now) == []
        assert listener.tick(now + 0.01) == []
        now += 0.02


def test_packets_later_than_their_rest_move_time_on_until_the_next_pause() -> None:
    """A network that stalls for half a second and then delivers everything."""
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)
    listener.take(sent[:10])
    run(listener, 0.0, 0.5)
    filled = len(listener.frames)
    listener.take(sent[10:50])
    assert len(listener.frames) == filled + 40
    late = listener.frames[-1].timestamp - 49 * 160
    assert late > 160 * 15
    paused = [Packet(p.sequence, (p.timestamp + 8000) & 0xFFFFFFFF, p.payload) for p in sent[50:]]
    listener.take(paused)
    assert listener.frames[-1].timestamp == 8000 + 59 * 160


def test_a_late_tick_leaves_time_out() -> None:
    listener = Listener(PCMU, PCMA)
    listener.take(packets(PCMU, PCMA)[:10])
    assert listener.tick(0.0) == []
    assert len(listener.tick(60.0)) == 1
    assert len(listener.tick(60.02)) == 1
    assert listener.frames[-1].timestamp / 8000 == pytest.approx(60.2, abs=0.06)


def test_the_last_packets_before_a_pause_do_not_wait_for_its_end() -> None:
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)
    listener.take([*sent[:10], sent[11]])
    assert len(listener.frames) == 10
    assert listener.tick(0.0) == []
    assert listener.tick(0.02) == []
    assert len(listener.tick(0.04)) == 2
    assert listener.transcoder.concealed == 20


def test_part_of_a_frame_is_filled_up_before_a_pause() -> None:
    listener = Listener(PCMU, PCMA, ptime=30)
    sent = packets(PCMU, PCMA)
    listener.take(sent[:10])
    assert len(listener.frames) == 6
    later = [Packet(p.sequence, (p.timestamp + 4000) & 0xFFFFFFFF, p.payload) for p in sent[10:13]]
    listener.take(later)
    assert [frame.timestamp for frame in listener.frames[5:]] == [1200, 1440, 5600, 5840]
    assert listener.markers == [0, 7]
    # 20 ms of the tone, which fades out, then silence.
    assert max(map(abs, listener.heard[6 * 240 + 156 : 6 * 240 + 160])) < 1200
    assert set(listener.frames[6].payload[160:]) == {0xD5}
    assert set(listener.frames[6].payload[:160]) != {0xD5}


def test_a_pause_shorter_than_the_missing_part_of_a_frame() -> None:
    listener = Listener(PCMU, PCMA, ptime=60)
    sent = packets(PCMU, PCMA)
    listener.take(sent[:1])
    later = [Packet(p.sequence, (p.timestamp + 160) & 0xFFFFFFFF, p.payload) for p in sent[1:9]]
    listener.take(later)
    assert [frame.timestamp for frame in listener.frames] == [0, 480, 960]
    assert listener.markers == [0]


# --- starting anew --------------------------------------------------------------------------


def test_another_source_joins_on() -> None:
    listener = Listener(OPUS, PCMA)
    sent = packets(OPUS, PCMA)
    listener.take(sent[:20])
    listener.transcoder.restart()
    listener.take(
        [Packet(p.sequence + 9000 & 0xFFFF, p.timestamp ^ 1 << 31, p.payload) for p in sent]
    )
    assert listener.gaps == []
    assert listener.markers == [0, 20]
    assert len(listener.frames) == 80


def steepest(samples: "array[int]") -> int:
    """The greatest step between two samples."""
    return max(abs(after - before) for before, after in pairwise(samples))


@pytest.mark.parametrize("source", [PCMU, G722, OPUS])
def test_another_source_joins_on_without_a_click(source: Codec) -> None:
    """Transfer: the tone that comes is in another place of its wave than the one that ends."""
    expected = steepest(sine(440, 0.1, 8000))
    for cut in range(0, 18, 3):
        listener = Listener(source, PCMA)
        listener.take(packets(source, PCMA)[:20])
        rate = rate_for(source, PCMA)
        other = said(source, PCMA, tone(rate)[cut * rate // 8000 :])
        listener.transcoder.restart()
        listener.take(other[:20])
        # A tone that turns round within 5 ms is steeper, too.
        assert steepest(listener.heard) < 2.5 * expected


@pytest.mark.parametrize("source", [PCMU, G722, OPUS])
def test_sound_comes_back_without_a_click(source: Codec) -> None:
    """Resume, or the first packet after the codec changed: in the middle of a wave."""
    sent = packets(source, PCMA)
    for first in (1, 4, 6):
        listener = Listener(source, PCMA)
        listener.take([*sent[first:10], *sent[41:50]])
        assert len(listener.markers) == 2
        for begins in listener.markers:
            first_samples = listener.heard[begins * 160 : begins * 160 + 4]
            assert max(map(abs, first_samples)) < 1500


def test_a_source_that_jumps_in_numbers_and_time() -> None:
    listener = Listener(PCMU, PCMA)
    sent = packets(PCMU, PCMA)
    moved = [
        Packet(p.sequence + 20000 & 0xFFFF, (p.timestamp + (1 << 30)) & 0xFFFFFFFF, p.payload)
        for p in sent
    ]
    listener.take([*sent[:10], sent[11], *moved])
    assert len(listener.frames) == 12 + len(moved)
    assert listener.gaps == []


def test_closing_forgets() -> None:
    listener = Listener(PCMU, PCMA, ptime=30)
    sent = packets(PCMU, PCMA)
    listener.take([*sent[:1], sent[2]])
    listener.transcoder.close()
    assert listener.tick(5.0) == []
    assert listener.take(sent[10:11]) == []


def test_codecs_can_be_given() -> None:
    transcoder = Transcoder(PCMU, make_decoder(PCMU, 8000), PCMA, make_encoder(PCMA, 8000, 10), 10)
    frames = transcoder.push(1, 1, bytes(160))
    assert [frame.timestamp for frame in frames] == [0, 80]
    # It fades in for 5 ms.
    assert frames[0].payload[40:] == bytes([0x2A] * 40)
    assert frames == [Frame(frames[0].payload, 0, True), Frame(bytes([0x2A] * 80), 80, False)]
