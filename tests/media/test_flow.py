# SPDX-License-Identifier: GPL-3.0-or-later
"""What is passed on from socket to socket, beside a path that sees every packet."""

import errno
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Session

from bridge.media.embedded.flow import Flow
from bridge.media.embedded.path import Path, Plan
from bridge.media.embedded.rtp import Emission, Reception
from bridge.media.embedded.srtp import (
    ARRIVAL,
    PACKETS,
    Outlet,
    receiver,
    sender,
    unprotector,
)
from bridge.media.embedded.srtp import Packet as Lying
from bridge.media.embedded.transcoder import Transcoder
from bridge.sdp.sdes import KEY_LENGTHS
from tests.media.desk import Desk
from tests.simulators.rtp import Packet, RtpPeer, Sender
from tests.simulators.webrtc import WebRtcPeer

PLAN = Plan(
    audio_in=frozenset({0, 98}),
    audio_out=8,
    clock_in=8000,
    clock_out=8000,
    event_in={101: 8000},
    event_out=126,
)
PAYLOAD = b"audio" * 32
SUITES = ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM"]


def _none() -> Transcoder:
    raise AssertionError("nothing to transcode")


class Line:
    """A path that sees every packet, and what comes out of it."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.emission = Emission(ssrc=7, sequence=65_533, timestamp=0xFFFFFF00, clock=8000)
        self.path = Path(Reception(8000), self.emission)
        self.path.follow(PLAN, _none)
        self.path.lead(Outlet(self._keep))

    def _keep(self, packet: bytes | Lying) -> None:
        self.out.append(bytes(packet))

    def take(self, packet: bytes, now: float) -> None:
        """A packet came."""
        self.path.receive(memoryview(bytearray(packet)), now)

    def books(self) -> list[object]:
        """All that was counted."""
        reception, emission = self.path.reception, self.emission
        return [
            (reception.packets, reception.octets, reception.run, reception.late, reception.lost),
            (reception.ssrc, reception.extended_highest, reception.first_at),
            pytest.approx(reception.jitter, abs=1e-3),
            pytest.approx(reception.transit or 0.0, abs=1e-3),
            (emission.packets, emission.octets, emission.sequence, emission.timestamp),
            (emission.sent_at, emission.first_at),
            (self.path.dropped, self.path.events),
        ]


class Flowing(Line):
    """The same, but that what can be is passed on before the path sees it."""

    def __init__(
        self, session: Session | None = None, suite: str = "", most: int = len(ARRIVAL) - 200
    ) -> None:
        super().__init__()
        self.arriving: list[bytes] = []
        self.seen = 0
        """Packets that went the long way."""
        self.forged = 0
        self._decrypt = unprotector(session) if session else PACKETS.__getitem__
        self.flow = Flow(
            self._receive,
            self._otherwise,
            session=session,
            suite=suite,
            most=most,
            forged=self._count_forged,
        )
        self.path.ear.adopt(self.flow)

    def _receive(self, buffer: Lying) -> int:
        if not self.arriving:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        packet = self.arriving.pop(0)
        buffer[: len(packet)] = packet
        return len(packet)

    def _otherwise(self, size: int, now: float) -> None:
        self.seen += 1
        self.path.receive(self._decrypt(size), now)

    def _count_forged(self) -> None:
        self.forged += 1

    def take(self, packet: bytes, now: float) -> None:
        """A packet came."""
        self.arriving.append(packet)
        self.flow.readable(now)


def test_all_but_the_first_packet_passes_unseen() -> None:
    line = Flowing()
    for number, packet in enumerate(Sender(0).packets([PAYLOAD] * 5)):
        line.take(packet.write(), 100 + number / 50)
    out = [Packet.read(each) for each in line.out]
    assert [(each.sequence, each.payload_type, each.ssrc) for each in out] == [
        (65_534, 8, 7), (65_535, 8, 7), (0, 8, 7), (1, 8, 7), (2, 8, 7)
    ]  # fmt: skip
    assert line.seen == 1


def test_a_sequence_number_that_wraps_is_seen() -> None:
    line = Flowing()
    for number, packet in enumerate(Sender(0, sequence=65_534).packets([PAYLOAD] * 4)):
        line.take(packet.write(), 100 + number / 50)
    assert line.seen == 2
    assert line.path.reception.extended_highest == 0x10001
    assert line.path.reception.lost == 0


@pytest.mark.parametrize("first", [65_534, 65_535])
def test_another_kind_after_the_last_number_is_seen(first: int) -> None:
    line = Flowing()
    source = Sender(0, sequence=first)
    for packet in source.packets([PAYLOAD] * (65_536 - first)):
        line.take(packet.write(), 100.0)
    line.take(replace(source.next(PAYLOAD), payload_type=1).write(), 100.02)
    assert (line.seen, line.path.dropped, len(line.out)) == (2, 1, 65_536 - first)


# --- whatever comes, nothing is otherwise than without it ------------------------------------

_Steps = list[tuple[str, int]]


def _play(line: Line, steps: _Steps) -> None:
    source, now, before = Sender(0), 100.0, [Sender(0, ssrc=5).next(PAYLOAD)]
    for name, number in steps:
        now += 0.02 + number / 10_000
        size = number % 7 * 20
        packet = source.next(PAYLOAD[:size] or PAYLOAD, marker=name == "marker")
        match name:
            case "lost":
                continue
            case "late":
                packet = before[-1 - number % min(4, len(before))]
            case "stray":
                packet = replace(packet, sequence=(packet.sequence + 20_000) & 0xFFFF)
            case "silent":
                source.timestamp = (source.timestamp + 160 * number) & 0xFFFFFFFF
            case "other":
                source = Sender(0, ssrc=number, sequence=number * 600, timestamp=number << 24)
            case "renumbered":
                packet = replace(packet, payload_type=98)
            case "unknown":
                packet = replace(packet, payload_type=13)
            case "event":
                packet = replace(packet, payload_type=101, payload=bytes([5, 10, 0, 160]))
            case "empty":
                packet = replace(packet, payload=b"")
            case "hold":
                line.path.follow(replace(PLAN, open=False), _none)
            case "resume":
                line.path.follow(PLAN, _none)
            case "key":
                began = line.path.begin_key(now)
                line.path.send_key(began, bytes([1, 138, 0, 160]), marker=True, now=now)
            case "occupied":
                line.path.occupy(occupied=number % 2 == 1)
            case "restart":
                line.path.restart()
        before.append(packet)
        data = packet.write()
        if name == "extended":
            data = bytes([0x90]) + data[1:12] + bytes([0xBE, 0xDE, 0, 0]) + data[12:]
        line.take(data, now)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("next"), st.integers(0, 40)),
        st.tuples(
            st.sampled_from(
                "lost late stray silent other renumbered unknown event empty marker hold resume "
                "key occupied restart extended".split()
            ),
            st.integers(0, 100),
        ),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(_STEPS)
def test_what_comes_out_and_what_is_counted_is_the_same(steps: _Steps) -> None:
    slow, fast = Line(), Flowing()
    _play(slow, steps)
    _play(fast, steps)
    assert fast.out == slow.out
    assert fast.books() == slow.books()


def test_what_is_counted_is_told_while_it_goes_on() -> None:
    line = Flowing()
    source = Sender(0, sequence=1, timestamp=0)
    for number in range(1, 10):
        line.take(source.next(PAYLOAD).write(), 100 + number / 50)
        assert line.emission.packets == line.path.reception.packets == number
        assert line.emission.octets == line.path.reception.octets == number * len(PAYLOAD)
        assert line.emission.timestamp_at(100 + number / 50) == line.emission.timestamp
    assert line.seen == 1


# --- what must not be passed on unseen -----------------------------------------------------------


@pytest.mark.parametrize("size", [12, 4])
def test_what_is_too_short_for_a_packet_is_seen(size: int) -> None:
    line = Flowing()
    source = Sender(0)
    line.take(source.next(PAYLOAD).write(), 100.0)
    line.arriving.append(source.next(PAYLOAD).write()[:size])
    line.flow._otherwise = lambda size, now: None
    line.flow.readable(100.02)
    assert len(line.out) == 1


def test_what_is_too_long_is_seen() -> None:
    line = Flowing(most=100)
    for number, packet in enumerate(Sender(0).packets([b"short", b"short", b"long" * 30])):
        line.take(packet.write(), 100 + number / 50)
    assert line.seen == 2


def test_a_path_has_one_flow_and_leaves_the_one_before() -> None:
    line = Flowing()
    source = Sender(0)
    for number, packet in enumerate(source.packets([PAYLOAD] * 3)):
        line.take(packet.write(), 100 + number / 50)
    before, seen = line.flow, line.seen
    line.flow = Flow(line._receive, line._otherwise, most=1400, forged=line._count_forged)
    line.path.ear.adopt(line.flow)
    line.arriving.append(source.next(PAYLOAD).write())
    before.readable(101.0)  # The peer may go on there for a while.
    assert line.seen == seen + 1
    line.take(source.next(PAYLOAD).write(), 101.02)
    assert line.seen == seen + 1
    assert line.emission.packets == 5


def test_nothing_to_read_is_nothing() -> None:
    line = Flowing()
    line.flow.readable(100.0)
    assert (line.seen, line.out) == (0, [])


def test_what_the_network_does_not_take_is_counted() -> None:
    line = Flowing()

    def refuse(_: bytes | Lying) -> None:
        raise OSError(errno.ENETUNREACH, "no way")

    outlet = Outlet(refuse)
    line.path.lead(outlet)
    for number, packet in enumerate(Sender(0).packets([PAYLOAD] * 3)):
        line.take(packet.write(), 100 + number / 50)
    assert (outlet.unsent, line.seen) == (3, 1)


# --- encrypted -----------------------------------------------------------------------------------


def _sessions(suite: str) -> tuple[Session, Session]:
    key = bytes(range(KEY_LENGTHS[suite]))
    return sender(suite, key), receiver(suite, key)


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_encrypted_is_decrypted_and_encrypted_anew(suite: str) -> None:
    phone, ours = _sessions(suite)
    we, client = _sessions(suite)
    line = Flowing(ours, suite)
    line.path.lead(Outlet(line._keep, we, suite))
    packets = Sender(0, sequence=5).packets([b"%d" % number * 80 for number in range(6)])
    for number, packet in enumerate(packets):
        line.take(phone.protect(packet.write()), 100 + number / 50)
    heard = [Packet.read(client.unprotect(each)) for each in line.out]
    assert [each.payload for each in heard] == [each.payload for each in packets]
    assert line.seen == 1
    assert line.books()[0] == (6, 480, 6, 0, 0)


@pytest.mark.parametrize("suite", SUITES)
def test_a_packet_of_padding_alone_is_seen(suite: str) -> None:
    phone, ours = _sessions(suite)
    line = Flowing(ours, suite)
    source = Sender(0, sequence=5)
    for payload in (PAYLOAD, b"", PAYLOAD):
        line.take(phone.protect(source.next(payload).write()), 100.0)
    assert (len(line.out), line.path.dropped, line.seen) == (2, 1, 3)


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_forged_is_told_and_the_next_packet_is_seen(suite: str) -> None:
    phone, ours = _sessions(suite)
    stranger = sender(suite, bytes(KEY_LENGTHS[suite]))
    line = Flowing(ours, suite)
    source = Sender(0, sequence=5)
    for number, packet in enumerate(source.packets([PAYLOAD] * 3)):
        line.take(phone.protect(packet.write()), 100 + number / 50)
    following = source.next(PAYLOAD).write()
    line.take(stranger.protect(following), 100.06)
    assert (line.forged, line.seen, len(line.out)) == (1, 1, 3)
    line.take(phone.protect(following), 100.06)
    assert (line.forged, line.seen, len(line.out)) == (1, 2, 4)
    line.take(phone.protect(source.next(PAYLOAD).write()), 100.08)
    assert (line.seen, len(line.out)) == (2, 5)


def test_what_is_too_old_to_be_encrypted_is_counted() -> None:
    we, _ = _sessions("AEAD_AES_128_GCM")
    line = Flowing()
    line.path.lead(outlet := Outlet(line._keep, we, "AEAD_AES_128_GCM"))
    source = Sender(0, sequence=5)
    line.take(source.next(PAYLOAD).write(), 100.0)
    # Somebody has used the number that the next one will get.
    taken = Packet(8, line.emission.sequence + 1 & 0xFFFF, 0, 7, PAYLOAD)
    we.protect(taken.write())
    line.take(source.next(PAYLOAD).write(), 100.02)
    assert (outlet.unsent, len(line.out), line.seen) == (1, 1, 1)


# --- whole calls ---------------------------------------------------------------------------------


async def test_in_a_call_all_but_the_first_packet_each_way_passes_unseen(
    long_way: list[int], desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone, ("PCMU",))
    says, phone_says = client.sender("PCMU"), Sender(0, sequence=9)
    says.sequence = 9
    for count in (20, 40):
        await client.send(*says.packets([b"c" * 160] * 20))
        phone.send(*phone_says.packets([b"p" * 160] * 20))
        await phone.received.reaches(count)
        await client.received.reaches(count)
    assert len(long_way) == 2
    statistics = await desk.hang_up()
    for side in ("matrix", "sip"):
        assert statistics[f"{side}_packets_received"] == 40
        assert statistics[f"{side}_octets_sent"] == 40 * 160
