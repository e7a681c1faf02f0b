# SPDX-License-Identifier: GPL-3.0-or-later
"""A WebRTC client without media engine: ICE, DTLS-SRTP and bare packets.

Its descriptions have the shape of Chromium's. Built on aiortc's transports, which the bridge uses
in another way: real clients are for the end-to-end tests.
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from aioice import Candidate
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceTransport,
)
from aiortc.rtcicetransport import candidate_from_aioice, candidate_to_aioice

from tests.simulators.rtp import Packet, Received, Sender

RTPMAPS = {
    111: "opus/48000/2",
    63: "red/48000/2",
    9: "G722/8000",
    0: "PCMU/8000",
    8: "PCMA/8000",
    13: "CN/8000",
    101: "telephone-event/8000",
    110: "telephone-event/48000",
    126: "telephone-event/8000",
}
CHROMIUM = (111, 63, 9, 0, 8, 13, 110, 126)
PAYLOAD_TYPES = {"opus": 111, "G722": 9, "PCMU": 0, "PCMA": 8}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Remote:
    """What the far end's description says of its transport."""

    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    candidates: tuple[str, ...]
    formats: tuple[int, ...]
    direction: str

    @classmethod
    def read(cls, sdp: str) -> "Remote":
        """Read the audio section of a description with one section that counts."""
        values: dict[str, list[str]] = {}
        formats: tuple[int, ...] = ()
        direction = ""
        for line in sdp.splitlines():
            name, _, value = line[2:].partition(":")
            if line.startswith("m=audio"):
                formats = tuple(map(int, line.split()[3:]))
            elif line.startswith("a="):
                values.setdefault(name, []).append(value)
                if name in {"sendrecv", "sendonly", "recvonly", "inactive"}:
                    direction = name
        return cls(
            ufrag=values["ice-ufrag"][0],
            password=values["ice-pwd"][0],
            fingerprints=tuple(
                (algorithm, value)
                for algorithm, value in (line.split() for line in values["fingerprint"])
            ),
            setup=values["setup"][0],
            candidates=tuple(values.get("candidate", [])),
            formats=formats,
            direction=direction,
        )


class _Wire:
    """Lets one DTLS association live over several ICE transports, as browsers do."""

    def __init__(self) -> None:
        self.ice: RTCIceTransport | None = None
        self.role = "controlling"
        self.loses: Callable[[bytes], bool] = lambda _: False
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._pumps: list[asyncio.Task[None]] = []

    def use(self, ice: RTCIceTransport) -> None:
        """Send through this one, and listen to it as well."""
        self.ice = ice
        self._pumps.append(asyncio.create_task(self._pump(ice)))

    async def _pump(self, ice: RTCIceTransport) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                data = await ice._recv()
                if not self.loses(data):
                    self._received.put_nowait(data)

    async def _recv(self) -> bytes:
        data = await self._received.get()
        if data is None:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        assert self.ice is not None
        await self.ice._send(data)

    async def close(self) -> None:
        """Stop listening."""
        self._received.put_nowait(None)
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)


class _Dtls(RTCDtlsTransport):
    """Hands packets over before aiortc looks at them."""

    on_rtp: Callable[[bytes], None]
    on_rtcp: Callable[[bytes], None]

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self.on_rtp(data)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self.on_rtcp(data)


class WebRtcPeer:
    """One end of a call, as a browser tab is one."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.received = Received()
        self.on_packet: Callable[[Packet], None] | None = None
        """Called for every RTP packet, when set."""
        self.ssrc = secrets.randbits(32)
        self._host = host
        self._id = next(_numbers)
        self._version = 1
        self._certificate = RTCCertificate.generateCertificate()
        self._wire = _Wire()
        self._dtls = self._association()
        self._gatherer: RTCIceGatherer | None = None
        self._ice: RTCIceTransport | None = None
        self._controlling = True
        self._handshaken = False
        self._old: list[RTCIceTransport] = []

    def _association(self) -> _Dtls:
        dtls = _Dtls(cast(RTCIceTransport, self._wire), [self._certificate])
        dtls.on_rtp = self._rtp
        dtls.on_rtcp = self.received.rtcp.append
        return dtls

    # --- descriptions ---------------------------------------------------------------------------

    async def gather(self) -> None:
        """A new generation of ICE, with candidates on `host` only."""
        if self._ice is not None:
            self._old.append(self._ice)
        gatherer = RTCIceGatherer(iceServers=[])
        connection = gatherer._connection
        connection.ice_controlling = self._controlling
        original = connection.get_component_candidates

        async def here(component: int, addresses: list[str], wait: int = 5) -> list[Candidate]:
            return await original(component, [self._host], wait)

        cast(Any, connection).get_component_candidates = here
        await gatherer.gather()
        self._gatherer = gatherer
        self._ice = RTCIceTransport(gatherer)

    @property
    def ufrag(self) -> str:
        """Our ICE user name fragment."""
        assert self._gatherer is not None
        return self._gatherer.getLocalParameters().usernameFragment or ""

    def candidates(self) -> list[str]:
        """Our candidates as a browser trickles them."""
        assert self._gatherer is not None
        return [
            f"candidate:{candidate_to_aioice(c).to_sdp()} generation 0 ufrag {self.ufrag}"
            " network-id 1 network-cost 50"
            for c in self._gatherer.getLocalCandidates()
        ]

    async def offer(
        self,
        formats: Iterable[int] = CHROMIUM,
        *,
        direction: str = "sendrecv",
        trickle: bool = False,
        restart: bool = False,
        video: bool = False,
    ) -> str:
        """An offer, the first or a later one. `trickle`: without candidates."""
        if self._gatherer is None or restart:
            await self.gather()
        return self._describe(formats, direction, "actpass", trickle=trickle, video=video)

    async def answer(
        self,
        offer: str,
        *,
        knows: Iterable[int] = CHROMIUM,
        direction: str = "sendrecv",
        trickle: bool = False,
        setup: str = "active",
    ) -> str:
        """An answer with those of the offered formats that we know; connects in the background."""
        remote = Remote.read(offer)
        if self._gatherer is None:
            self._controlling = False
            await self.gather()
        known = set(knows)
        formats = [number for number in remote.formats if number in known]
        return self._describe(formats, direction, setup, trickle=trickle)

    def _describe(
        self,
        formats: Iterable[int],
        direction: str,
        setup: str,
        *,
        trickle: bool,
        video: bool = False,
    ) -> str:
        assert self._gatherer is not None
        numbers = tuple(formats)
        parameters = self._gatherer.getLocalParameters()
        print_ = next(
            f for f in self._dtls.getLocalParameters().fingerprints if f.algorithm == "sha-256"
        )
        transport = [
            f"a=ice-ufrag:{parameters.usernameFragment}",
            f"a=ice-pwd:{parameters.password}",
            "a=ice-options:trickle",
            f"a=fingerprint:sha-256 {print_.value}",
            f"a=setup:{setup}",
        ]
        candidates = [] if trickle else [f"a={line}" for line in self.candidates()]
        self._version += 1
        lines = [
            "v=0",
            f"o=- {self._id} {self._version} IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE 0{' 1' if video else ''}",
            "a=msid-semantic: WMS stream",
            f"m=audio 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}",
            "c=IN IP4 0.0.0.0",
            "a=rtcp:9 IN IP4 0.0.0.0",
            *candidates,
            *transport,
            "a=mid:0",
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            f"a={direction}",
            "a=msid:stream track",
            "a=rtcp-mux",
            *(f"a=rtpmap:{number} {RTPMAPS[number]}" for number in numbers),
            *(["a=fmtp:111 minptime=10;usedtx=1;useinbandfec=1"] if 111 in numbers else []),
            f"a=ssrc:{self.ssrc} cname:client",
        ]
        if video:
            lines += [
                "m=video 9 UDP/TLS/RTP/SAVPF 96",
                "c=IN IP4 0.0.0.0",
                *transport,
                "a=mid:1",
                "a=sendrecv",
                "a=rtcp-mux",
                "a=rtpmap:96 VP8/90000",
            ]
        return "\r\n".join(lines) + "\r\n"

    # --- transport ------------------------------------------------------------------------------

    async def connect(self, remote_sdp: str, *, role: str | None = None) -> None:
        """ICE with the far end, and DTLS if there are no keys yet.

        `role`: `client` or `server` of DTLS; None: what the far end's setup leaves.
        """
        remote = Remote.read(remote_sdp)
        ice = self._ice
        assert ice is not None
        for line in remote.candidates:
            await ice.addRemoteCandidate(candidate_from_aioice(Candidate.from_sdp(line)))
        await ice.addRemoteCandidate(None)
        await ice.start(RTCIceParameters(usernameFragment=remote.ufrag, password=remote.password))
        if ice.state != "completed":
            raise ConnectionError("the client's ICE failed")
        self._wire.use(ice)
        if self._handshaken:
            return
        self._dtls._set_role(role or ("server" if remote.setup == "active" else "client"))
        await self._dtls.start(
            RTCDtlsParameters([RTCDtlsFingerprint(a, v) for a, v in remote.fingerprints])
        )
        if self._dtls.state != "connected":
            raise ConnectionError("the client's DTLS failed")
        self._handshaken = True

    async def drop_old_transports(self) -> None:
        """Close what an ICE restart has replaced."""
        for ice in self._old:
            await ice.stop()
        self._old.clear()

    def sender(self, codec: str) -> Sender:
        """A stream of packets of a codec."""
        step = 960 if codec == "opus" else 160
        return Sender(PAYLOAD_TYPES[codec], step, ssrc=self.ssrc)

    async def send(self, *packets: Packet | bytes, extended: bool = False) -> None:
        """Encrypt and send packets at once; `extended` with a header extension, as browsers do."""
        for packet in packets:
            data = packet if isinstance(packet, bytes) else packet.write()
            if extended:
                extension = b"\xbe\xde\x00\x01\x10\xff\x00\x00"
                data = bytes([data[0] | 0x10]) + data[1:12] + extension + data[12:]
            await self._dtls._send_rtp(data)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes past DTLS."""
        await self._wire._send(data)

    def _rtp(self, data: bytes) -> None:
        packet = Packet.read(data)
        self.received.packets.append(packet)
        if self.on_packet is not None:
            self.on_packet(packet)

    def lose(self, loses: Callable[[bytes], bool]) -> None:
        """Do not hear what this says so of; it is told of every packet as it came, encrypted."""
        self._wire.loses = loses

    async def vanish(self) -> None:
        """Stop without a goodbye, as a phone that loses its network."""
        ice = self._ice
        assert ice is not None
        await ice.stop()

    async def close(self) -> None:
        """Say goodbye and free everything."""
        task = self._dtls._task
        with contextlib.suppress(ConnectionError):
            await self._dtls.stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        await self._wire.close()
        await self.drop_old_transports()
        if self._ice is not None:
            await self._ice.stop()
            if self._ice.state == "new" or self._gatherer is not None:
                await self._ice._connection.close()
