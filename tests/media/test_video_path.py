# SPDX-License-Identifier: GPL-3.0-or-later
"""One direction of a call's video, packet by packet, without sockets."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.media.embedded.video.gaps import LEAST_PAUSE, MOST, PATIENCE, TRIES
from bridge.media.embedded.video.history import SIZE
from bridge.media.embedded.video.path import MAX_PACKET, Plan, VideoPath
from bridge.media.embedded.video.pictures import vp8_begins_picture
from bridge.media.embedded.video.wish import LEAST
from bridge.media.embedded.video.wish import TRIES as WISHES
from tests.simulators.rtp import Packet, Sender

KEY, DELTA = b"\x10\x00key", b"\x10\x01delta"
FRAME = 3000


class Line:
    """A path whose output is kept, and a clock that is moved by hand."""

    def __init__(self, *, repeats: bool = True, is_open: bool = True) -> None:
        self.out: list[Packet] = []
        self.asked: list[float] = []
        self.missed: list[list[int]] = []
        self.now = 100.0
        self.path = VideoPath()
        self.path.emission.passed(0, 0, sequence=65533, timestamp=0, now=0.0)
        self.path.lead(lambda data: self.out.append(Packet.read(bytes(data))))
        self.path.ask_picture = self.asked.append
        self.path.ask_again = self.missed.append
        self.follow(repeats=repeats, is_open=is_open)

    def follow(self, *, repeats: bool = True, is_open: bool = True) -> None:
        """Pass payload type 96 or 98 as 102."""
        self.path.follow(
            Plan(
                kinds=frozenset({96, 98}),
                kind=102,
                begins_picture=vp8_begins_picture,
                open=is_open,
                repeats=repeats,
            )
        )

    def take(self, *packets: Packet | bytes, step: float = 0.033) -> None:
        """Feed packets, `step` seconds apart."""
        for packet in packets:
            data = packet if isinstance(packet, bytes) else packet.write()
            self.path.receive(memoryview(bytearray(data)), self.now)
            self.now += step

    def wait(self, seconds: float) -> None:
        """Nothing comes; the clock is looked at."""
        for _ in range(round(seconds / 0.01)):
            self.now += 0.01
            self.path.look(self.now)


def stream(count: int, *, first: int = 0, **fields: int) -> list[Packet]:
    """Frames of one packet each, the first of them whole."""
    sender = Sender(96, FRAME, sequence=first, **fields)
    return sender.packets([KEY, *[DELTA + bytes([number & 255]) for number in range(1, count)]])


def numbers(packets: Iterable[Packet], first: int = 65534) -> list[int]:
    """Sequence numbers, from 0 on."""
    return [(packet.sequence - first) & 0xFFFF for packet in packets]


def padded(packet: Packet) -> bytes:
    """The same without payload, but with padding: what clients probe the network with."""
    data = packet.write()
    return bytes([data[0] | 0x20]) + data[1:12] + bytes(7) + b"\x08"


# --- passing ------------------------------------------------------------------------------------


def test_packets_leave_under_a_header_of_ours() -> None:
    line = Line()
    sender = Sender(98, FRAME, sequence=7)
    line.take(sender.next(KEY), sender.next(DELTA, marker=True))
    assert [(p.payload, p.marker) for p in line.out] == [(KEY, False), (DELTA, True)]
    assert numbers(line.out) == [0, 1]
    assert {(p.payload_type, p.ssrc) for p in line.out} == {(102, line.path.emission.ssrc)}
    assert (line.out[1].timestamp - line.out[0].timestamp) & 0xFFFFFFFF == FRAME
    assert (line.path.frames, line.path.pictures) == (2, 1)
    assert not line.asked


def test_nothing_passes_before_there_is_a_way_or_a_plan() -> None:
    line = Line(is_open=False)
    line.take(*stream(3))
    line.follow()
    line.path.lead(None)
    line.take(*stream(3, first=3))
    assert not line.out
    assert line.path.dropped == 6
    assert line.path.reception.packets == 6


def test_extensions_and_contributors_are_left_out() -> None:
    line = Line()
    data = stream(1)[0].write()
    extension = b"\xbe\xde\x00\x01\x10\xff\x00\x00"
    line.take(bytes([data[0] | 0x11]) + data[1:12] + b"who?" + extension + data[12:])
    assert line.out[0].payload == KEY
    assert not line.out[0].extended


def test_another_payload_type_is_dropped_without_a_gap() -> None:
    line = Line()
    packets = stream(4)
    stray = Packet(97, packets[1].sequence, packets[1].timestamp, packets[1].ssrc, b"rtx")
    line.take(packets[0], stray, packets[2], packets[3])
    assert numbers(line.out) == [0, 1, 2]
    assert line.path.dropped == 1


def test_what_no_frame_of_the_network_holds_is_dropped_and_counted() -> None:
    line = Line()
    packets = stream(3)
    large = Packet(96, 1, packets[1].timestamp, packets[1].ssrc, bytes(MAX_PACKET - 11))
    full = Packet(96, 2, packets[2].timestamp, packets[2].ssrc, bytes(MAX_PACKET - 12))
    line.take(packets[0], large, full)
    assert (line.path.oversize, line.path.dropped) == (1, 0)
    assert numbers(line.out) == [0, 2]  # The picture is broken, and its receiver is to know.


def test_probes_are_left_out_and_what_is_late_still_finds_its_place() -> None:
    line = Line()
    packets = stream(12)
    late = packets[4]
    line.take(
        packets[0],
        padded(packets[1]),
        padded(packets[2]),
        packets[3],
        packets[5],
        padded(packets[6]),
        packets[7],
        late,
        packets[8],
        packets[1],  # A probe's number with something in it: nobody knows where that belongs.
    )
    sent = {
        packet.payload: number for packet, number in zip(line.out, numbers(line.out), strict=True)
    }
    assert [sent[packets[n].payload] for n in (0, 3, 4, 5, 7, 8)] == [0, 1, 2, 3, 4, 5]


def test_what_comes_twice_leaves_once() -> None:
    line = Line()
    packets = stream(4)
    line.take(*packets[:3], packets[2], packets[1], packets[3])
    assert numbers(line.out) == [0, 1, 2, 3]
    assert line.path.reception.late == 2


def test_another_source_goes_on_without_a_gap_and_is_asked_for_a_picture() -> None:
    line = Line()
    line.take(*stream(3))
    line.wait(1.0)
    line.take(*Sender(96, FRAME, ssrc=9, sequence=500).packets([DELTA] * 2))
    assert numbers(line.out) == [0, 1, 2, 3, 4]
    assert len(line.asked) == 1
    elapsed = (line.out[3].timestamp - line.out[2].timestamp) & 0xFFFFFFFF
    assert elapsed == pytest.approx(90_000, abs=5000)


def test_hold_leaves_no_gap_and_ends_with_a_picture() -> None:
    line = Line()
    packets = stream(9)
    line.take(*packets[:3])
    line.follow(is_open=False)
    line.take(*packets[3:6])
    assert not line.asked
    line.follow()
    line.take(*packets[6:])
    assert numbers(line.out) == [0, 1, 2, 3, 4, 5]
    assert len(line.asked) == 1


def test_numbers_wrap() -> None:
    line = Line()
    line.take(*stream(700, first=65_200), step=0.001)
    assert numbers(line.out) == list(range(700))
    assert not line.missed
    assert line.path.reception.lost == 0


def test_one_stray_number_changes_nothing() -> None:
    line = Line()
    packets = stream(5)
    stray = Packet(96, 30_000, packets[2].timestamp, packets[2].ssrc, DELTA)
    line.take(*packets[:3], stray, *packets[3:])
    assert numbers(line.out) == [0, 1, 2, 3, 4]


# --- loss on the way to us ------------------------------------------------------------------------


def test_what_is_missing_is_asked_for_at_once_and_fills_its_place() -> None:
    line = Line()
    packets = stream(6)
    line.take(packets[0], packets[3], step=0.001)
    assert line.missed == [[1, 2]]
    line.take(packets[1], packets[2], packets[4], step=0.001)
    line.wait(1.0)
    assert line.missed == [[1, 2]]
    assert numbers(line.out) == [0, 3, 1, 2, 4]
    assert not line.asked
    assert line.path.reception.lost == 0


def test_it_is_asked_for_again_and_then_given_up_for_a_picture() -> None:
    line = Line()
    packets = stream(3)
    line.take(packets[0], packets[2], step=0.001)
    line.wait(LEAST_PAUSE * (TRIES + 2))
    assert line.missed == [[1]] * TRIES
    assert line.path.unrepaired == 1
    assert len(line.asked) == 1


def test_a_longer_way_makes_more_patient() -> None:
    line = Line()
    line.path.expect_round_trip(0.4)
    packets = stream(3)
    line.take(packets[0], packets[2], step=0.001)
    line.wait(1.0)
    assert line.missed == [[1]] * 3
    assert not line.asked


def test_who_repeats_nothing_is_asked_for_a_picture_after_a_while() -> None:
    line = Line(repeats=False)
    packets = stream(8)
    line.take(packets[0], packets[2], packets[1], packets[4], step=0.001)
    assert not line.asked
    line.wait(PATIENCE + 0.02)
    assert not line.missed
    assert line.path.unrepaired == 1
    assert len(line.asked) == 1


def test_too_many_are_not_asked_for() -> None:
    line = Line()
    packets = stream(MOST + 20)
    line.take(packets[0], packets[-1], step=0.001)
    assert not line.missed
    assert line.path.unrepaired == MOST + 18
    assert len(line.asked) == 1


# --- whole pictures -----------------------------------------------------------------------------


def test_a_picture_is_asked_for_at_the_start_until_it_comes() -> None:
    line = Line()
    sender = Sender(96, FRAME)
    line.take(sender.next(DELTA), step=0.0)
    assert line.asked == [100.0]
    line.wait(3.5)
    assert line.asked == pytest.approx([100.0, 101.0, 103.0], abs=0.02)
    line.take(sender.next(KEY))
    line.wait(20)
    assert len(line.asked) == 3


def test_who_never_sends_one_is_left_alone() -> None:
    line = Line()
    line.take(*Sender(96, FRAME).packets([DELTA] * 5))
    line.wait(200)
    assert len(line.asked) == WISHES


def test_receivers_are_served_but_not_too_often() -> None:
    line = Line()
    line.take(*stream(2), step=0.0)
    for _ in range(10):
        line.path.want_picture(line.now)
        line.wait(0.05)
    assert len(line.asked) == 1
    line.take(*stream(2, first=2), step=0.0)  # It has come; the next wish waits its turn.
    line.path.want_picture(line.now)
    assert len(line.asked) == 1
    line.wait(LEAST)
    assert len(line.asked) == 2


def test_nobody_is_asked_while_on_hold() -> None:
    line = Line()
    line.take(*stream(2))
    line.follow(is_open=False)
    line.path.want_picture(line.now)
    line.path.repeat([65534], line.now)
    line.wait(5)
    assert not line.asked
    assert len(line.out) == 2


# --- loss on the way from us ----------------------------------------------------------------------


def test_what_the_receiver_misses_is_sent_again_as_it_was() -> None:
    line = Line()
    line.take(*stream(5))
    line.path.repeat([65535, 1], line.now)
    assert line.out[5:] == [line.out[1], line.out[3]]
    assert line.path.repeated == 2
    assert line.path.emission.packets == 5
    assert not line.asked


def test_what_is_not_there_any_more_needs_a_picture() -> None:
    line = Line()
    line.take(*stream(SIZE + 3), step=0.001)
    line.path.repeat([0], line.now)
    assert line.path.repeated == 0
    assert len(line.asked) == 1


def test_what_we_miss_ourselves_is_waited_for() -> None:
    line = Line()
    packets = stream(4)
    line.take(packets[0], packets[2], step=0.001)
    line.path.repeat([65535], line.now)
    assert not line.asked
    line.take(packets[1], step=0.001)
    line.path.repeat([65535], line.now)
    assert line.out[-1].payload == packets[1].payload
    assert line.path.repeated == 1


def test_a_flood_of_wishes_costs_no_more_than_the_history_holds() -> None:
    line = Line()
    line.take(*stream(2))
    line.path.repeat([65534] * 5000, line.now)
    assert line.path.repeated == SIZE


# --- whatever comes -----------------------------------------------------------------------------

odd = st.builds(
    lambda first, second, sequence, timestamp, ssrc, rest: (
        bytes((first, second))
        + sequence.to_bytes(2, "big")
        + timestamp.to_bytes(4, "big")
        + ssrc.to_bytes(4, "big")
        + rest
    ),
    st.sampled_from([0x80, 0x80, 0x80, 0x90, 0xA0, 0x8F, 0xBF]),
    st.sampled_from([96, 96, 98, 0xE0, 97, 0]),
    st.integers(0, 40) | st.integers(0, 0xFFFF),
    st.integers(0, 9000) | st.integers(0, 0xFFFFFFFF),
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from([KEY, DELTA, b"", b"\x90", bytes(1500)]) | st.binary(max_size=30),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(odd, st.floats(0, 1)), max_size=30), st.booleans())
def test_no_packet_is_too_odd(packets: list[tuple[bytes, float]], repeats: bool) -> None:
    line = Line(repeats=repeats)
    for packet, later in packets:
        line.take(packet, step=later)
        line.path.repeat([packet[3], 65534], line.now)
        line.path.look(line.now)
    path = line.path
    assert path.reception.packets == len(packets)
    assert len(line.out) == path.emission.packets + path.repeated
    assert {(each.payload_type, each.ssrc) for each in line.out} <= {(102, path.emission.ssrc)}


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_disorder_and_loss_leave_every_packet_its_place(data: st.DataObject) -> None:
    """Whatever is lost, late or a probe: the output in order is the input in order."""
    packets = stream(40)
    probes = data.draw(st.sets(st.integers(1, 39), max_size=10))
    lost = data.draw(st.sets(st.integers(1, 39), max_size=10)) - probes
    delays = data.draw(st.lists(st.integers(0, 4), min_size=40, max_size=40))
    order = sorted(
        (n for n in range(40) if n not in lost),
        key=lambda n: (n if n in probes or not n else n + delays[n], n),
    )
    line = Line()
    line.take(*(padded(packets[n]) if n in probes else packets[n] for n in order), step=0.001)
    payloads = {packet.payload: n for n, packet in enumerate(packets)}
    sent = sorted(zip(numbers(line.out), (payloads[p.payload] for p in line.out), strict=True))
    assert len({number for number, _ in sent}) == len(sent)
    assert [n for _, n in sent] == sorted(n for _, n in sent)


def test_what_may_have_been_sent_already_is_not() -> None:
    line = Line()
    packets = stream(SIZE + 20)
    line.take(*packets[:9], *packets[10:], step=0.001)
    sent = len(line.out)
    line.take(packets[9], packets[12])
    assert len(line.out) == sent
