# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain RTP peer: what a SIP phone does with its media sockets, without the phone."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

from tests.simulators.waiting import until

HEADER = struct.Struct("!BBHII")
PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8, "G722": 9, "opus": 96}
EVENT = 101
EVENT_48K = 97
CLOCKS = {"PCMU": 8000, "PCMA": 8000, "G722": 8000, "opus": 48000}
RTPMAPS = {
    "PCMU": "PCMU/8000",
    "PCMA": "PCMA/8000",
    "G722": "G722/8000",
    "opus": "opus/48000/2",
}


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet, taken apart."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    extended: bool = False
    source: tuple[str, int] = ("", 0)

    @classmethod
    def read(cls, data: bytes, source: tuple[str, int] = ("", 0)) -> Self:
        """Take apart a packet without CSRCs and padding."""
        first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
        assert first & ~0x10 == 0x80, f"not a plain RTP header: {first:#x}"
        start = 12
        if first & 0x10:
            start += 4 + 4 * int.from_bytes(data[14:16], "big")
        return cls(
            payload_type=second & 0x7F,
            sequence=sequence,
            timestamp=timestamp,
            ssrc=ssrc,
            payload=data[start:],
            marker=bool(second & 0x80),
            extended=bool(first & 0x10),
            source=source,
        )

    def write(self) -> bytes:
        """The packet as it goes over the network."""
        second = self.payload_type | (0x80 if self.marker else 0)
        header = HEADER.pack(0x80, second, self.sequence, self.timestamp, self.ssrc)
        return header + self.payload


def is_rtcp(data: bytes) -> bool:
    """Whether this is RTCP (RFC 5761 4)."""
    return len(data) > 1 and 64 <= data[1] & 0x7F < 96


def as_it_is(data: bytes) -> bytes:
    """No encryption."""
    return data


@dataclass(slots=True)
class Sender:
    """Numbers the packets of one stream."""

    payload_type: int
    step: int = 160
    """Timestamp units in a packet."""
    ssrc: int = 0x1234
    sequence: int = 65_530
    timestamp: int = 4_294_960_000

    def packets(self, payloads: Iterable[bytes]) -> list[Packet]:
        """The next packets of the stream; numbers wrap early, on purpose."""
        return [self.next(payload) for payload in payloads]

    def next(self, payload: bytes, *, marker: bool = False) -> Packet:
        """The next packet."""
        packet = Packet(
            self.payload_type, self.sequence, self.timestamp, self.ssrc, payload, marker
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + self.step) & 0xFFFFFFFF
        return packet

    def long_digit(
        self, digit: str, payload_type: int, *, clock: int, seconds: float
    ) -> list[Packet]:
        """A long key press, in segments where its field overflows (RFC 4733 2.5.2.3)."""
        event = "0123456789*#ABCD".index(digit)
        step, began, packets = clock // 50, self.timestamp, list[Packet]()
        for number in range(1, round(seconds * 50) + 4):
            over = number >= round(seconds * 50)
            duration = min(step * number, round(seconds * clock)) - (began - self.timestamp)
            marker = number == 1
            if duration > 0xFFFF:
                packets.append(self._event(event, payload_type, began, 0x0A, 0xFFFF))
                began, duration = began + 0xFFFF, duration - 0xFFFF
            flags = 0x8A if over else 0x0A
            packets.append(self._event(event, payload_type, began, flags, duration, marker=marker))
        self.timestamp = (self.timestamp + round(seconds * clock) + step) & 0xFFFFFFFF
        return packets

    def _event(
        self, event: int, kind: int, began: int, flags: int, duration: int, *, marker: bool = False
    ) -> Packet:
        payload = struct.pack("!BBH", event, flags, duration)
        sequence, self.sequence = self.sequence, (self.sequence + 1) & 0xFFFF
        return Packet(kind, sequence, began & 0xFFFFFFFF, self.ssrc, payload, marker)

    def digit(self, digit: str, payload_type: int, *, clock: int = 8000) -> list[Packet]:
        """A key press of 100 ms: RFC 4733, the end three times."""
        event = "0123456789*#ABCD".index(digit)
        began = self.timestamp
        step = clock // 50
        durations = [step * n for n in range(1, 6)]
        ends = [False] * 5 + [True] * 3
        packets = []
        for number, (duration, end) in enumerate(
            zip([*durations, *durations[-1:] * 3], ends, strict=True)
        ):
            payload = struct.pack("!BBH", event, 0x8A if end else 0x0A, duration)
            packets.append(
                Packet(payload_type, self.sequence, began, self.ssrc, payload, number == 0)
            )
            self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (began + 5 * step + step) & 0xFFFFFFFF
        return packets


@dataclass(slots=True)
class Received:
    """What arrived at one end."""

    packets: list[Packet] = field(default_factory=list)
    rtcp: list[bytes] = field(default_factory=list)

    def of_type(self, payload_type: int) -> list[Packet]:
        """The packets with this payload type."""
        return [packet for packet in self.packets if packet.payload_type == payload_type]

    async def reaches(self, count: int, payload_type: int | None = None) -> list[Packet]:
        """Wait until `count` packets (of a type) are there."""

        def found() -> list[Packet]:
            if payload_type is None:
                return list(self.packets)
            return self.of_type(payload_type)

        await until(
            lambda: len(found()) >= count,
            what=f"{count} packets arrived",
            every=0.005,
        )
        return found()


def _bound(host: str) -> tuple[socket.socket, socket.socket]:
    """A free pair of ports for RTP and RTCP."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        rtp = socket.socket(family, socket.SOCK_DGRAM)
        rtp.bind((host, 0))
        rtcp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            rtcp.bind((host, rtp.getsockname()[1] + 1))
        except (OSError, OverflowError):
            rtp.close()
            rtcp.close()
            continue
        for sock in (rtp, rtcp):
            sock.setblocking(False)
        return rtp, rtcp


class RtpPeer:
    """Two sockets, and what came in on them. Sends where `aim` says."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self._rtp, self._rtcp = _bound(host)
        self.port: int = self._rtp.getsockname()[1]
        self.received = Received()
        self.on_packet: Callable[[Packet], None] | None = None
        """Called for every RTP packet, when set."""
        self.loses: Callable[[bytes], bool] = lambda _: False
        """Of which RTP packets it hears nothing; told of them as they came, encrypted or not."""
        self.target: tuple[str, int] | None = None
        self.rtcp_target: tuple[str, int] | None = None
        self.protect: Callable[[bytes], bytes] = as_it_is
        """Done to packets on their way out; the others likewise."""
        self.protect_rtcp: Callable[[bytes], bytes] = as_it_is
        self.unprotect: Callable[[bytes], bytes] = as_it_is
        self.unprotect_rtcp: Callable[[bytes], bytes] = as_it_is
        self._version = 0
        loop = asyncio.get_running_loop()
        loop.add_reader(self._rtp, self._read_rtp)
        loop.add_reader(self._rtcp, self._read_rtcp)

    def sdp(
        self,
        codecs: Iterable[str] = ("PCMU",),
        *,
        direction: str = "sendrecv",
        address: str | None = None,
        port: int | None = None,
        events: dict[int, int] | None = None,
        mux: bool = False,
        protocol: str = "RTP/AVP",
        crypto: Iterable[str] = (),
    ) -> str:
        """A description of this peer; `events` are telephone-event types and their clocks."""
        events = {EVENT: 8000} if events is None else events
        formats = {PAYLOAD_TYPES[codec]: RTPMAPS[codec] for codec in codecs}
        formats |= {number: f"telephone-event/{clock}" for number, clock in events.items()}
        self._version += 1
        host = address or self.host
        family = "IP6" if ":" in host else "IP4"
        lines = [
            "v=0",
            f"o=- 4711 {self._version} IN {family} {self.host}",
            "s=-",
            f"c=IN {family} {host}",
            "t=0 0",
            f"m=audio {port or self.port} {protocol} {' '.join(map(str, formats))}",
            *(f"a=rtpmap:{number} {name}" for number, name in formats.items()),
            *(f"a=fmtp:{number} 0-16" for number in events),
            "a=ptime:20",
            f"a={direction}",
            *(["a=rtcp-mux"] if mux else []),
            *(f"a=crypto:{line}" for line in crypto),
        ]
        return "\r\n".join(lines) + "\r\n"

    def aim(self, sdp: str) -> None:
        """Send where the far end's description says."""
        host, port = "", 0
        for line in sdp.splitlines():
            if line.startswith("c=") and not host:
                host = line.split()[2]
            elif line.startswith("m=audio"):
                port = int(line.split()[1])
        self.target = (host, port)
        self.rtcp_target = (host, port + 1)

    def send(self, *packets: Packet | bytes) -> None:
        """Send packets at once, in this order."""
        assert self.target is not None, "aim() first"
        for packet in packets:
            data = packet if isinstance(packet, bytes) else packet.write()
            self._rtp.sendto(self.protect(data), self.target)

    def send_rtcp(self, data: bytes) -> None:
        """Send a compound RTCP packet."""
        assert self.rtcp_target is not None, "aim() first"
        self._rtcp.sendto(self.protect_rtcp(data), self.rtcp_target)

    def echo(self) -> None:
        """Send everything back from now on."""
        self.on_packet = self.send

    async def play(self, sender: Sender, payloads: Iterable[bytes], *, pace: float = 0.02) -> None:
        """Send payloads in the rhythm of a phone: one every `pace` seconds."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for payload in payloads:
            self.send(sender.next(payload))
            due += pace
            await asyncio.sleep(max(0.0, due - loop.time()))

    def close(self) -> None:
        """Free the ports."""
        loop = asyncio.get_running_loop()
        for sock in (self._rtp, self._rtcp):
            loop.remove_reader(sock)
            sock.close()

    def _read_rtp(self) -> None:
        data, source = self._rtp.recvfrom(2048)
        if is_rtcp(data):
            self.received.rtcp.append(self.unprotect_rtcp(data))
            return
        if self.loses(data):
            return
        packet = Packet.read(self.unprotect(data), source)
        self.received.packets.append(packet)
        if self.on_packet is not None:
            self.on_packet(packet)

    def _read_rtcp(self) -> None:
        self.received.rtcp.append(self.unprotect_rtcp(self._rtcp.recvfrom(2048)[0]))


def phone_sender(codec: str) -> Sender:
    """A phone's stream."""
    return Sender(PAYLOAD_TYPES[codec], 960 if codec == "opus" else 160)
