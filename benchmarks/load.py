# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls for `benchmarks.media`: clients with ICE and DTLS-SRTP, and telephones that echo.

A packet of audio each way every 20 ms. The clients are made of the bridge's own ICE, DTLS and SRTP,
which cost this side least. When a packet came is what the kernel says, however late it is read.
"""

import asyncio
import contextlib
import fcntl
import random
import secrets
import socket
import struct
import time
from functools import cache
from typing import Any, Final

from aiortc import RTCCertificate

from benchmarks.network import HOST
from benchmarks.video import KIND as VIDEO
from benchmarks.video import Film, Mirror, client_lines
from bridge.media.embedded.dtls import DtlsAssociation, fingerprint
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.ice_servers import IceServers
from bridge.media.embedded.rtp import HEADER, HEADER_SIZE, is_rtcp
from bridge.media.embedded.sip_srtp import SipSrtp
from bridge.media.embedded.sockets import bound_socket
from bridge.media.embedded.srtp import ARRIVAL, Packet, protector
from bridge.media.embedded.webrtc import IceConnection
from bridge.sdp.agreement import sip_audio
from bridge.sdp.parser import parse
from bridge.sdp.sdes import KEY_LENGTHS, Keys, crypto_line, key_of
from tests.media.sound import tone
from tests.simulators.webrtc import RTPMAPS, Remote

SUITE: Final = "AES_CM_128_HMAC_SHA1_80"
PTIME: Final = 0.02
NUMBERS: Final = {"opus": 111, "G722": 9, "PCMU": 0, "PCMA": 8}
_STAMP: Final = struct.Struct("!d")
_STAMP_AT: Final = HEADER_SIZE
_TIMESPEC: Final = struct.Struct("@ll")
_SIOCGSTAMPNS: Final = 0x8907


def arrival(sock: socket.socket) -> float:
    """When the packet that was read last came (seconds since the epoch), socket(7).

    The first time, and of what came before that, the kernel does not know.
    """
    try:
        seconds, nanoseconds = _TIMESPEC.unpack(fcntl.ioctl(sock, _SIOCGSTAMPNS, bytes(16)))
    except OSError:
        return time.time()
    return float(seconds + nanoseconds / 1e9)


class Delays:
    """What packets take from one end to the other, in seconds.

    Those that come as they were sent have the time in them. Of others it is told which frame was
    sent last: what is coded anew takes less than one more.
    """

    def __init__(self, *, stamped: bool) -> None:
        self.taken: list[float] = []
        self._stamped = stamped
        self._sent = (0.0, 0.0)

    def stamp(self, payload: bytes) -> bytes:
        """The payload to send now."""
        now = time.time()
        self._sent = (self._sent[1], now)
        return _STAMP.pack(now) + payload[_STAMP.size :] if self._stamped else payload

    def note(self, packet: bytes | memoryview, came: float) -> None:
        """A packet has come."""
        if self._stamped:
            self.taken.append(came - _STAMP.unpack_from(packet, _STAMP_AT)[0])
        else:
            before, last = self._sent
            self.taken.append(came - (last if came >= last else before))


class Client:
    """A WebRTC client of one codec, and what packets take to its telephone and back."""

    def __init__(
        self,
        codec: str,
        *,
        setup: str,
        stamped: bool,
        video: bool = False,
        controlling: bool = True,
        host: str = "127.0.0.1",
    ) -> None:
        self._host = host
        self.returned = 0
        self.sent = 0
        self.video = video
        self.film: Film | None = None
        """What goes with the audio, if anything does."""
        self.there, self.back = Delays(stamped=stamped), Delays(stamped=stamped)
        self._setup = setup
        self._kind = NUMBERS[codec]
        self._step = 960 if codec == "opus" else 160
        self._payloads = _tone(codec, 440)
        self._ssrc = secrets.randbits(32)
        self._dtls = DtlsAssociation(_CERTIFICATE)
        self._ice = IceConnection(
            controlling=controlling,
            sockets=lambda: [bound_socket(host, 0)],
            servers=IceServers((), ()),
            on_dtls=self._dtls.feed,
            on_selected=lambda ice: None,
        )

    async def offer(self) -> str:
        """The client's offer; its answer, if `setup` is that of one."""
        await self._ice.gather_candidates()
        algorithm, value = fingerprint(_CERTIFICATE)
        lines = [
            "v=0",
            f"o=- {self._ssrc} 1 IN IP4 {self._host}",
            "s=-",
            "t=0 0",
            *(["a=group:BUNDLE 0 1"] if self.video else []),
            f"m=audio 9 UDP/TLS/RTP/SAVPF {self._kind}",
            f"c=IN IP4 {self._host}",
            *(f"a=candidate:{each.to_sdp()}" for each in self._ice.local_candidates),
            f"a=ice-ufrag:{self._ice.local_username}",
            f"a=ice-pwd:{self._ice.local_password}",
            f"a=fingerprint:{algorithm} {value}",
            f"a=setup:{self._setup}",
            "a=mid:0",
            "a=sendrecv",
            "a=rtcp-mux",
            f"a=rtpmap:{self._kind} {RTPMAPS[self._kind]}",
            f"a=ssrc:{self._ssrc} cname:client",
            *(client_lines() if self.video else []),
        ]
        return "\r\n".join(lines) + "\r\n"

    async def connect(self, answer: str) -> None:
        """Go where the other side's description says."""
        remote = Remote.read(answer)
        self._ice.remote_username = remote.ufrag
        self._ice.remote_password = remote.password
        for line in remote.candidates:
            await self._ice.add_remote(line)
        await self._ice.connect()
        self._dtls.use(self._ice)
        await self._dtls.handshake(
            active=remote.setup != "active", fingerprints=remote.fingerprints
        )
        self._send = self._ice.outlet(self._dtls.outgoing, self._dtls.suite).send
        self.film = Film(self._send) if self.video else None
        # The socket that hears the gateway alone is the transport's own affair.
        transport: Any = self._ice._nominated[1].protocol.transport
        self._socket = transport._twin
        hearing = self._dtls.hearing(Ear(self._back), lambda report: None, lambda: None)
        self._ice.hear(hearing)

    def send(self) -> None:
        """The next packet."""
        number, payload = self.sent, self._payloads[self.sent % len(self._payloads)]
        header = HEADER.pack(
            0x80, self._kind, number & 0xFFFF, number * self._step & 0xFFFFFFFF, self._ssrc
        )
        self._send(header + self.there.stamp(payload))
        self.sent += 1
        if self.film is not None:
            self.film.send()

    def _back(self, packet: Packet, _: float) -> None:
        if self.film is not None and packet[1] & 0x7F == VIDEO:
            self.film.returned += 1
            return
        self.returned += 1
        self.back.note(packet, arrival(self._socket))

    def start_over(self) -> None:
        """Forget what was counted."""
        self.returned = 0
        if self.film is not None:
            self.film.start_over()
        self.there.taken.clear()
        self.back.taken.clear()

    async def close(self) -> None:
        """Say goodbye."""
        await self._dtls.close()
        await self._ice.close()


class Phone:
    """A telephone that sends back whatever it gets. With `srtp`, it encrypts (SDES)."""

    def __init__(self, codec: str, client: Client, *, srtp: bool = False) -> None:
        self._client = client
        self._kind = NUMBERS[codec]
        self._key = secrets.token_bytes(KEY_LENGTHS[SUITE]) if srtp else b""
        self._mirror = Mirror() if client.video else None
        self._srtp: SipSrtp | None = None
        self._socket = bound_socket(HOST, 0)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._echo)

    def answer(self, offer: str) -> str:
        """Answer what the gateway offers, and talk with nobody else."""
        media = next(line for line in offer.splitlines() if line.startswith("m=audio"))
        self._socket.connect((HOST, int(media.split()[1])))
        lines = [
            "v=0",
            f"o=- 1 1 IN IP4 {HOST}",
            "s=-",
            f"c=IN IP4 {HOST}",
            "t=0 0",
            f"m=audio {self._socket.getsockname()[1]} RTP/AVP {self._kind}",
            f"a=rtpmap:{self._kind} {RTPMAPS[self._kind]}",
            "a=ptime:20",
            "a=sendrecv",
        ]
        if self._key:
            theirs = next(one for one in sip_audio(parse(offer)).crypto if one.suite == SUITE)
            self._srtp = SipSrtp(Keys(SUITE, self._key, key_of(theirs) or b""))
            self._encrypt = protector(self._srtp.outgoing)
            lines.append(f"a=crypto:{crypto_line(theirs.tag, SUITE, self._key)}")
        if self._mirror is not None:
            lines += self._mirror.answer(offer)
        return "\r\n".join(lines) + "\r\n"

    def _echo(self) -> None:
        try:
            size = self._socket.recv_into(ARRIVAL)
        except OSError:
            return
        packet = ARRIVAL[:size]
        if is_rtcp(packet):
            return
        came = arrival(self._socket)
        if self._srtp is not None:
            packet = self._srtp.decrypt(size)
        self._client.there.note(packet, came)
        payload = self._client.back.stamp(bytes(packet[HEADER_SIZE:]))
        packet[HEADER_SIZE:] = payload
        with contextlib.suppress(OSError):
            self._socket.send(packet if self._srtp is None else self._encrypt(packet))

    def close(self) -> None:
        """Hang up."""
        if self._mirror is not None:
            self._mirror.close()
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()


async def drive(clients: list[Client], seconds: float, *, phases: str) -> int:
    """Let all send for so long; returns how many packets that were.

    `phases`: `ticked`, all at the same moment, or `random`, each at its own.
    """
    start = time.perf_counter() + PTIME
    offsets = [random.random() * PTIME if phases == "random" else 0.0 for _ in clients]
    order = sorted(zip(offsets, clients, strict=True), key=lambda pair: pair[0])
    ticks = round(seconds / PTIME)
    for tick in range(ticks):
        for offset, client in order:
            due = start + tick * PTIME + offset
            # Nothing is as exact as looking again and again.
            while time.perf_counter() < due:  # noqa: ASYNC110
                await asyncio.sleep(0)
            client.send()
    return ticks * len(clients)


_CERTIFICATE: Final = RTCCertificate.generateCertificate()
_tone: Final = cache(tone)
