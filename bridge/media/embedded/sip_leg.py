# SPDX-License-Identifier: GPL-3.0-or-later
"""The SIP side of a session: a pair of UDP sockets, and whom they listen to."""

import contextlib
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from bridge.errors import SdpError
from bridge.media.embedded.flow import Ear, Flow
from bridge.media.embedded.rtp import HEADER, HEADER_SIZE, is_rtcp, is_rtp
from bridge.media.embedded.sip_srtp import UNREADABLE, SipSrtp
from bridge.media.embedded.sockets import connected_twin
from bridge.media.embedded.srtp import ARRIVAL, NOWHERE, PACKETS, Outlet, Packet
from bridge.media.packets import unwatch, watch
from bridge.sdp.sdes import Keys

MAX_PACKET = 1400
"""Bytes; with SRTP's trailer and IPv6 it still fits an Ethernet frame."""
PROBATION = 5
"""Packets in sequence from an address that was not signalled before it counts as the peer's."""
BLIND = 50
"""Packets in a row that cannot be decrypted before that is told."""

OnRtcp = Callable[[bytes], None]


class SipLeg:
    """RTP with one peer, plain or encrypted.

    Only the signalled address is heard. A peer behind NAT sends from another one: it is taken on
    once, after a few packets in sequence, if nothing has come from the signalled address; then
    it stays (until signalling names a new one). Everybody else is a stranger, as is who has not
    the key where there is one.
    """

    def __init__(
        self,
        rtp: socket.socket,
        rtcp: socket.socket,
        ear: Ear,
        on_rtcp: OnRtcp,
        on_blind: Callable[[], None] = lambda: None,
        *,
        most: int = MAX_PACKET,
        repeats: bool = False,
    ) -> None:
        """`on_blind`: nothing that comes can be decrypted. `most`: bytes that a packet may have.

        `repeats`: packets may be sent again, on either side, for who missed them.
        """
        self.address: str = rtp.getsockname()[0]
        self.port: int = rtp.getsockname()[1]
        self.strangers = 0
        """Packets dropped for where they came from."""
        self.malformed = 0
        """Packets of the peer's that are neither RTP nor RTCP."""
        self.oversize = 0
        """Packets of the peer's that are too large."""
        self.latched = False
        """Whether the peer sends from another address than it signalled."""
        self.undecipherable = 0
        """Packets of the peer's under a wrong key, or repeated."""
        self.srtp: SipSrtp | None = None
        """What encrypts the audio, if it is."""
        self._take: Callable[[Packet, float], None] = self._take_plain
        self._blind = 0
        self._on_blind = on_blind
        self._most = most
        self._repeats = repeats
        self._rtp = rtp
        self._rtcp = rtcp
        self._twin: socket.socket | None = None
        self._flow: Flow | None = None
        self.outlet = Outlet(NOWHERE.transmit)
        """Where the peer is sent what it is to hear."""
        self._ear = ear
        self._on_rtcp = on_rtcp
        self._signalled: tuple[Any, ...] | None = None
        self._left: set[tuple[Any, ...]] = set()
        """Where the peer really was before it named other addresses."""
        self._peer: tuple[Any, ...] | None = None
        self._rtcp_peer: tuple[Any, ...] | None = None
        self._rtcp_signalled: tuple[Any, ...] | None = None
        self.muxed = False
        """Whether RTCP shares RTP's port, as signalled."""
        self._locked = False
        self._suspect: tuple[tuple[Any, ...], int, int] | None = None
        self._suspected = 0
        watch(rtp, self._rtp_readable)
        watch(rtcp, self._rtcp_readable)

    def aim(self, address: tuple[str, int], rtcp: tuple[str, int], *, muxed: bool) -> None:
        """Talk with the peer where its description says. Raises SdpError."""
        if address[1] == 0 or address[0] in {"0.0.0.0", "::"}:
            return  # On hold the old way (RFC 3264 8.4): it comes back, or names another address.
        signalled = self._socket_address(address)
        # Above the highest port there is none for RTCP.
        rtcp_peer = signalled if muxed else self._socket_address(rtcp) if rtcp[1] < 65536 else None
        if (signalled, muxed) == (self._signalled, self.muxed):
            return
        self.muxed = muxed
        self._rtcp_peer = self._rtcp_signalled = rtcp_peer
        if signalled == self._signalled:
            return
        # What it left may go on for a while, before the new one begins: that is no NAT.
        if self._signalled is not None and not self.latched:
            self._left.add(self._signalled)
        self._left.discard(signalled)
        self._signalled = signalled
        self._locked = self.latched = False
        self._suspect = None
        self._turn_to(signalled)

    def secure(self, keys: Keys | None) -> None:
        """Encrypt with these keys from now on, and hear nothing else; None: plain RTP."""
        if keys is None:
            self.srtp = None
            self._take = self._take_plain
        elif self.srtp is None:
            self.srtp = SipSrtp(keys, repeats=self._repeats)
            self._take = self._take_encrypted
        elif self.srtp.keys != keys:
            self.srtp.renew(keys)
            self._blind = 0
        else:
            return
        srtp = self.srtp
        self.outlet.seal(srtp.outgoing if srtp else None, srtp.keys.suite if srtp else "")
        self._listen()

    def _socket_address(self, address: tuple[str, int]) -> tuple[Any, ...]:
        host, port = address
        try:
            parsed = ip_address(host)
        except ValueError:
            raise SdpError(f"The SIP peer wants audio at {host!r}: not an IP address") from None
        if (parsed.version == 6) != (self._rtp.family == socket.AF_INET6):
            raise SdpError(
                f"The SIP peer wants audio at {host}, of another address family than ours",
                remedy="Set media.listen to an address of that family.",
            )
        # As recvfrom() writes it: packets are compared with this.
        return (str(parsed), port, 0, 0) if parsed.version == 6 else (str(parsed), port)

    def _turn_to(self, peer: tuple[Any, ...]) -> None:
        """Send to `peer`, and hear it on a socket of its own."""
        self._peer = peer
        self._drop_twin()
        try:
            twin = self._twin = connected_twin(self._rtp, peer)
        except OSError:  # No way there at present: there may be one later.
            self.outlet.transmit = lambda packet: self._rtp.sendto(packet, peer)
            return
        self.outlet.transmit = twin.send
        self._listen()

    def _drop_twin(self) -> None:
        twin, self._twin = self._twin, None
        if twin is not None:
            self._turn_away(twin)
            twin.close()

    def _turn_away(self, twin: socket.socket) -> None:
        flow, self._flow = self._flow, None
        if flow is not None:
            unwatch(twin)
            flow.stop()

    def tell(self, ear: Ear) -> None:
        """Give what comes to somebody else from now on."""
        self._ear = ear
        self._listen()

    def _listen(self) -> None:
        """Hear the peer on its socket, with the keys that there are."""
        twin, srtp = self._twin, self.srtp
        if twin is None:
            return
        self._turn_away(twin)
        session = srtp.incoming if srtp else None
        readable = srtp is None or session is not None
        flow = self._flow = Flow(
            twin.recv_into,
            lambda size, now: self._take(PACKETS[size], now),
            session=session,
            suite=srtp.keys.suite if srtp else "",
            most=self._most if readable else 0,
            forged=self._count_undecipherable,
        )
        self._ear.adopt(flow)
        watch(twin, flow.readable)

    def send_rtcp(self, packet: bytes) -> None:
        """Send a compound RTCP packet where the peer wants it."""
        if self._rtcp_peer is not None:
            sock = self._rtp if self.muxed else self._rtcp
            with contextlib.suppress(OSError, *UNREADABLE):
                sent = packet if self.srtp is None else self.srtp.encrypt_rtcp(packet)
                sock.sendto(sent, self._rtcp_peer)

    def close(self) -> None:
        """Stop reading and free the ports."""
        self._drop_twin()
        self.outlet.transmit = NOWHERE.transmit
        for sock in (self._rtp, self._rtcp):
            if sock.fileno() >= 0:
                unwatch(sock)
                sock.close()

    def _rtp_readable(self, now: float) -> None:
        """What did not come from the peer, or came before it was known."""
        try:
            size, source = self._rtp.recvfrom_into(ARRIVAL)
        except OSError:
            return
        packet = ARRIVAL[:size]
        if source == self._peer:
            self._take(packet, now)
        elif self.srtp is not None:
            self._take_stranger(packet, source, self.srtp, now)
        elif self._admit(packet, source):
            self._take(packet, now)

    def _take_plain(self, packet: Packet, now: float) -> None:
        size = len(packet)
        if size < 8 or size > self._most or packet[0] >> 6 != 2:
            self._count_unfit(size)
            return
        if 64 <= packet[1] & 0x7F < 96:  # RFC 5761 4
            self._on_rtcp(bytes(packet))
        elif size >= HEADER_SIZE:
            self._locked = True
            self._ear.receive(packet, now)
        else:
            self.malformed += 1

    def _take_encrypted(self, packet: Packet, now: float) -> None:
        size = len(packet)
        srtp = self.srtp
        if srtp is None or size < HEADER_SIZE or size > self._most or packet[0] >> 6 != 2:
            self._count_unfit(size)
            return
        if 64 <= packet[1] & 0x7F < 96:
            self._take_rtcp(bytes(packet))
            return
        try:
            packet = srtp.decrypt(size)
        except UNREADABLE:
            self._count_undecipherable()
            return
        self._blind = 0
        self._locked = True
        if self._flow is not None and self._flow.session is not srtp.incoming:
            self._listen()
        self._ear.receive(packet, now)

    def _count_unfit(self, size: int) -> None:
        if size > self._most:
            self.oversize += 1
        else:
            self.malformed += 1

    def _take_stranger(
        self, packet: Packet, source: tuple[Any, ...], srtp: SipSrtp, now: float
    ) -> None:
        """Who has the key may be the peer behind a NAT; who has not, cannot."""
        if self._signalled is None:
            return
        if not self._locked and is_rtp(packet) and len(packet) <= self._most:
            with contextlib.suppress(*UNREADABLE):
                packet = srtp.decrypt(len(packet))
                if self._admit(packet, source):
                    self._ear.receive(packet, now)
                return
        self.strangers += 1

    def _take_rtcp(self, packet: bytes) -> None:
        if self.srtp is not None:
            try:
                packet = self.srtp.decrypt_rtcp(packet)
            except UNREADABLE:
                self.undecipherable += 1
                return
        self._on_rtcp(packet)

    def _count_undecipherable(self) -> None:
        self.undecipherable += 1
        self._blind += 1
        if self._blind == BLIND:
            self._on_blind()

    def _admit(self, packet: Packet, source: tuple[Any, ...]) -> bool:
        """Judge a packet from an address other than the peer's."""
        if self._signalled is None:
            return False
        if self._locked or source in self._left or not is_rtp(packet):
            self.strangers += 1
            return False
        _, _, sequence, _, ssrc = HEADER.unpack_from(packet)
        expected = self._suspect == (source, ssrc, sequence)
        self._suspect = (source, ssrc, (sequence + 1) & 0xFFFF)
        self._suspected = self._suspected + 1 if expected else 1
        if self._suspected < PROBATION:
            return False
        self._turn_to(source)
        self._locked = self.latched = True
        if self.muxed:
            self._rtcp_peer = source
        elif self._rtcp_peer == self._rtcp_signalled and source[1] < 65535:
            # What was signalled is behind the NAT; this is next door, until RTCP says where.
            self._rtcp_peer = (source[0], source[1] + 1, *source[2:])
        return True

    def _rtcp_readable(self, _: float) -> None:
        try:
            packet, source = self._rtcp.recvfrom(2048)
        except OSError:
            return
        if self._peer is None or source[0] != self._peer[0]:
            self.strangers += self._peer is not None
            return
        if not self.muxed:
            self._rtcp_peer = source  # Symmetric RTCP (RFC 4961 4).
        if is_rtcp(packet) and len(packet) <= MAX_PACKET:
            self._take_rtcp(packet)
