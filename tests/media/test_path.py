# SPDX-License-Identifier: GPL-3.0-or-later
"""One direction of a call, packet by packet, without sockets."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.media.embedded.path import Path, Plan
from bridge.media.embedded.rtp import Emission, Reception
from bridge.media.embedded.srtp import Outlet
from bridge.media.embedded.transcoder import Transcoder
from tests.simulators.rtp import Packet, Sender


class Line:
    """A path whose output is kept, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.out: list[Packet] = []
        self.now = 100.0
        self.switched: list[int] = []
        self.path = Path(
            Reception(8000),
            Emission(ssrc=7, sequence=65533, timestamp=0xFFFFFF00, clock=8000),
            self.switch,
        )
        self.path.lead(Outlet(lambda data: self.out.append(Packet.read(bytes(data)))))

    def switch(self, kind: int) -> bool:
        """Another codec came: nothing is done about it."""
        self.switched.append(kind)
        return False

    def follow(self, plan: Plan) -> None:
        """Pass packets by a plan without transcoding."""
        self.path.follow(plan, _none)

    def take(self, *packets: Packet, step: float = 0.02) -> None:
        """Feed packets, `step` seconds apart."""
        for packet in packets:
            self.path.receive(memoryview(bytearray(packet.write())), self.now)
            self.now += step


def _none() -> Transcoder:
    raise AssertionError("nothing to transcode")


@pytest.fixture
def line() -> Iterator[Line]:
    """A line that relays payload type 0 as 8, and events 101 as 126."""
    line = Line()
    line.follow(PLAN)
    yield line
    line.path.close()


PLAN = Plan(
    audio_in=frozenset({0}),
    audio_out=8,
    clock_in=8000,
    clock_out=8000,
    event_in={101: 8000},
    event_out=126,
)


def closed(plan: Plan) -> Plan:
    """The same, on hold."""
    return Plan(
        audio_in=plan.audio_in,
        audio_out=plan.audio_out,
        clock_in=plan.clock_in,
        clock_out=plan.clock_out,
        event_in=plan.event_in,
        event_out=plan.event_out,
        open=False,
    )


def test_nothing_passes_before_a_plan() -> None:
    line = Line()
    line.take(*Sender(0).packets([b"x"] * 3))
    assert not line.out
    assert line.path.dropped == 3
    assert line.path.reception.packets == 3


def test_payload_type_and_numbers_are_replaced(line: Line) -> None:
    line.take(*Sender(0, sequence=10, timestamp=5).packets([b"a", b"b", b"c"]))
    assert [packet.payload for packet in line.out] == [b"a", b"b", b"c"]
    assert [packet.sequence for packet in line.out] == [65534, 65535, 0]
    assert [packet.timestamp for packet in line.out] == [0xFFFFFF00, 0xFFFFFFA0, 0x40]
    assert {(packet.payload_type, packet.ssrc) for packet in line.out} == {(8, 7)}


def test_gaps_and_disorder_are_kept(line: Line) -> None:
    packets = Sender(0).packets(bytes([number]) for number in range(6))
    line.take(packets[0], packets[2], packets[1], packets[5])
    first = line.out[0].sequence
    assert [(p.sequence - first) & 0xFFFF for p in line.out] == [0, 2, 1, 5]
    assert [p.payload[0] for p in line.out] == [0, 2, 1, 5]


def test_silence_of_the_sender_stays_in_the_timestamps(line: Line) -> None:
    sender = Sender(0, timestamp=5)
    line.take(sender.next(b"a"))
    sender.timestamp += 16_000
    line.now += 2
    line.take(sender.next(b"b", marker=True))
    assert (line.out[1].timestamp - line.out[0].timestamp) & 0xFFFFFFFF == 16_160
    assert line.out[1].marker


def test_another_source_goes_on_without_a_gap(line: Line) -> None:
    line.take(*Sender(0, ssrc=1).packets([b"a"] * 2))
    line.now += 1.0
    line.take(*Sender(0, ssrc=2, sequence=9, timestamp=9).packets([b"b"] * 2))
    sequences = [packet.sequence for packet in line.out]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(4)]
    assert line.out[2].marker
    assert (line.out[2].timestamp - line.out[1].timestamp) & 0xFFFFFFFF == 8160


def test_stray_number_does_not_take_the_sequence_along(line: Line) -> None:
    sender = Sender(0)
    packets = sender.packets([b"a"] * 6)
    stray = Sender(0, sequence=20_000).next(b"b")
    line.take(*packets[:3], stray, *packets[3:])
    first = line.out[0].sequence
    assert [(p.sequence - first) & 0xFFFF for p in line.out] == [0, 1, 2, 3, 4, 5]
    assert line.path.dropped == 1


def test_comfort_noise_is_a_pause_and_no_loss(line: Line) -> None:
    sender, noise = Sender(0, timestamp=5), Sender(13)
    line.take(*sender.packets([b"a"] * 2))
    for _ in range(2):
        noise.sequence, noise.timestamp = sender.sequence, sender.timestamp
        line.take(noise.next(b"n"))
        sender.sequence, sender.timestamp = noise.sequence, sender.timestamp + 8000
    line.now += 2
    line.take(sender.next(b"b", marker=True))
    assert [packet.payload for packet in line.out] == [b"a", b"a", b"b"]
    assert (line.out[2].sequence - line.out[1].sequence) & 0xFFFF == 1
    assert (line.out[2].timestamp - line.out[1].timestamp) & 0xFFFFFFFF == 16_160
    assert line.path.dropped == 2


def test_hold_leaves_no_hole_in_the_sequence(line: Line) -> None:
    sender = Sender(0)
    line.take(*sender.packets([b"a"] * 2))
    line.follow(closed(PLAN))
    line.take(*sender.packets([b"b"] * 100))
    line.follow(PLAN)
    line.take(*sender.packets([b"c"] * 2))
    assert [packet.payload for packet in line.out] == [b"a", b"a", b"c", b"c"]
    sequences = [packet.sequence for packet in line.out]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(4)]
    assert (line.out[2].timestamp - line.out[1].timestamp) & 0xFFFFFFFF == pytest.approx(
        101 * 160, abs=2
    )
    assert line.path.dropped == 100


def test_the_same_plan_again_changes_nothing(line: Line) -> None:
    sender = Sender(0)
    line.take(sender.next(b"a"))
    line.follow(PLAN)
    line.take(sender.next(b"b"))
    assert not line.out[1].marker


def test_before_there_is_a_way_packets_are_dropped_and_not_counted_as_sent(line: Line) -> None:
    line.path.lead(None)
    sender = Sender(0)
    line.take(*sender.packets([b"a"] * 5))
    line.path.lead(Outlet(lambda data: line.out.append(Packet.read(bytes(data)))))
    line.take(*sender.packets([b"b"] * 2))
    assert [packet.payload for packet in line.out] == [b"b"] * 2
    assert line.out[0].marker
    assert (line.path.dropped, line.path.emission.packets) == (5, 2)
    assert line.path.emission.first_at == pytest.approx(100.1)


def test_another_codec_has_to_insist(line: Line) -> None:
    line.take(Sender(8).next(b"x"), Sender(13).next(b"x"), *Sender(8).packets([b"x"] * 3))
    assert line.switched == [8]


def test_events_of_both_clocks_end_in_the_one_agreed() -> None:
    line = Line()
    line.follow(
        Plan(
            audio_in=frozenset({111}),
            audio_out=96,
            clock_in=48000,
            clock_out=48000,
            event_in={110: 48000, 126: 8000},
            event_out=97,
            event_clock_out=48000,
        )
    )
    sender = Sender(111, 960)
    line.take(sender.next(b"a"))
    line.take(*sender.digit("1", 110, clock=48000))
    line.take(*sender.digit("2", 126, clock=8000))
    ends = [int.from_bytes(p.payload[2:], "big") for p in line.out if p.payload[1:2] == b"\x8a"]
    assert ends == [4800] * 6
    assert line.path.events == 2


def test_a_duration_that_does_not_fit_the_other_clock_is_cut() -> None:
    line = Line()
    line.follow(
        Plan(
            audio_in=frozenset({0}),
            audio_out=0,
            clock_in=8000,
            clock_out=8000,
            event_in={101: 8000},
            event_out=110,
            event_clock_out=48000,
        )
    )
    line.take(Packet(101, 1, 1, 1, b"\x05\x0a\xff\xff"))
    assert line.out[0].payload == b"\x05\x0a\xff\xff"


def test_a_straggler_of_an_event_that_is_over_is_dropped(line: Line) -> None:
    sender = Sender(0)
    first, second = sender.digit("1", 101), sender.digit("2", 101)
    line.take(*first[:-1], *second[:3], first[-1], *second[3:])
    assert [packet.payload[0] for packet in line.out] == [1] * 7 + [2] * 8
    assert line.path.events == 2


def test_events_are_dropped_where_the_other_side_knows_none() -> None:
    line = Line()
    line.follow(
        Plan(
            audio_in=frozenset({0}),
            audio_out=0,
            clock_in=8000,
            clock_out=8000,
            event_in={101: 8000},
        )
    )
    line.take(*Sender(0).digit("1", 101))
    assert not line.out
    assert line.path.dropped == 8


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x01\x0a\x00"])
def test_events_that_are_cut_short_are_dropped(line: Line, payload: bytes) -> None:
    line.take(Packet(101, 1, 1, 1, payload))
    assert not line.out


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 101, 13]),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.integers(0, 3),
            st.binary(max_size=20),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_whatever_comes_the_stream_out_is_one(
    events: list[tuple[int, int, int, int, bytes, bool]],
) -> None:
    """One source, payload types that were agreed, and never more packets than came in."""
    line = Line()
    for number, (kind, sequence, timestamp, ssrc, payload, is_open) in enumerate(events):
        if number % 7 == 0:
            line.follow(PLAN if is_open else closed(PLAN))
        line.take(Packet(kind, sequence, timestamp, ssrc, payload))
    assert len(line.out) + line.path.dropped == len(events)
    assert {packet.ssrc for packet in line.out} <= {7}
    assert {packet.payload_type for packet in line.out} <= {8, 126}
