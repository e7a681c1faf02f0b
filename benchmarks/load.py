# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls for `benchmarks.media`: clients with ICE and DTLS-SRTP, and telephones that echo.

A packet of audio each way every 20 ms. The clients are made of the bridge's own ICE, DTLS and SRTP,
which cost this side least.
"""

import asyncio
import random
import secrets
import struct
import time
from functools import cache
from typing import Final

from aiortc import RTCCertificate

from bridge.media.embedded.ice_servers import IceServers
from bridge.media.embedded.rtp import HEADER, HEADER_SIZE, is_rtcp
from bridge.media.embedded.sip_srtp import SipSrtp
from bridge.media.embedded.sockets import bound_socket
from bridge.media.embedded.srtp import ARRIVAL
from bridge.media.embedded.webrtc import DtlsAssociation, IceConnection, fingerprint
from bridge.sdp.agreement import sip_audio
from bridge.sdp.parser import parse
from bridge.sdp.sdes import KEY_LENGTHS, Keys, crypto_line, key_of
from tests.media.sound import tone
from tests.simulators.webrtc import RTPMAPS, Remote

HOST: Final = "127.0.0.1"
SUITE: Final = "AES_CM_128_HMAC_SHA1_80"
PTIME: Final = 0.02
NUMBERS: Final = {"opus": 111, "G722": 9, "PCMU": 0, "PCMA": 8}
_STAMP: Final = struct.Struct("!d")
_STAMP_AT: Final = HEADER_SIZE


class Client:
    """A WebRTC client of one codec that knows when what it sent came back."""

    def __init__(self, codec: str, *, setup: str, stamped: bool, controlling: bool = True) -> None:
        self.returned = 0
        self.round_trips: list[float] = []
        self.sent = 0
        self._setup = setup
        self._stamped = stamped
        self._kind = NUMBERS[codec]
        self._step = 960 if codec == "opus" else 160
        self._payloads = _tone(codec, 440)
        self._ssrc = secrets.randbits(32)
        self._dtls = DtlsAssociation(_CERTIFICATE)
        self._ice = IceConnection(
            controlling=controlling,
            sockets=lambda: [bound_socket(HOST, 0)],
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
            f"o=- {self._ssrc} 1 IN IP4 {HOST}",
            "s=-",
            "t=0 0",
            f"m=audio 9 UDP/TLS/RTP/SAVPF {self._kind}",
            f"c=IN IP4 {HOST}",
            *(f"a=candidate:{each.to_sdp()}" for each in self._ice.local_candidates),
            f"a=ice-ufrag:{self._ice.local_username}",
            f"a=ice-pwd:{self._ice.local_password}",
            f"a=fingerprint:{algorithm} {value}",
            f"a=setup:{self._setup}",
            "a=mid:0",
            "a=sendrecv",
            "a=rtcp-mux",
            f"a=rtpmap:{self._kind} {RTPMAPS[self._kind]}",
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
        self._send = self._ice.media_sender(self._dtls.protect)
        self._unprotect = self._dtls.unprotect
        self._ice.on_media = self._back

    def send(self) -> None:
        """The next packet, with the time in it if it comes back as it is."""
        number, payload = self.sent, self._payloads[self.sent % len(self._payloads)]
        header = HEADER.pack(
            0x80, self._kind, number & 0xFFFF, number * self._step & 0xFFFFFFFF, self._ssrc
        )
        if self._stamped:
            payload = _STAMP.pack(time.perf_counter()) + payload[_STAMP.size :]
        self._send(header + payload)
        self.sent += 1

    def _back(self, size: int, _: float) -> None:
        if 64 <= ARRIVAL[1] & 0x7F < 96:
            return  # RTCP
        packet = self._unprotect(size)
        self.returned += 1
        if self._stamped:
            then = _STAMP.unpack_from(packet, _STAMP_AT)[0]
            self.round_trips.append(time.perf_counter() - then)

    def start_over(self) -> None:
        """Forget what was counted."""
        self.returned = 0
        self.round_trips.clear()

    async def close(self) -> None:
        """Say goodbye."""
        await self._dtls.close()
        await self._ice.close()


class Phone:
    """A telephone that sends back whatever it gets. With `srtp`, it encrypts (SDES)."""

    def __init__(self, codec: str, *, srtp: bool = False) -> None:
        self._kind = NUMBERS[codec]
        self._key = secrets.token_bytes(KEY_LENGTHS[SUITE]) if srtp else b""
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
            lines.append(f"a=crypto:{crypto_line(theirs.tag, SUITE, self._key)}")
        return "\r\n".join(lines) + "\r\n"

    def _echo(self) -> None:
        try:
            size = self._socket.recv_into(ARRIVAL)
            if self._srtp is None:
                self._socket.send(ARRIVAL[:size])
            elif not is_rtcp(ARRIVAL[:size]):
                self._socket.send(self._srtp.encrypt(self._srtp.decrypt(size)))
        except OSError:
            return

    def close(self) -> None:
        """Hang up."""
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
