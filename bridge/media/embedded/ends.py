# SPDX-License-Identifier: GPL-3.0-or-later
"""How a session describes its own ends: what stays the same in all its descriptions."""

import secrets
from ipaddress import IPv4Address, IPv6Address, ip_address

from aiortc import RTCCertificate

from bridge.call.ids import Side
from bridge.call.terms import Keypad, Srtp, Terms
from bridge.media.embedded.candidates import candidate_lines, default_address
from bridge.media.embedded.dtls import fingerprint
from bridge.media.embedded.sip_leg import SipLeg
from bridge.media.embedded.webrtc import IceConnection
from bridge.sdp.description import Crypto, Fingerprint, Setup
from bridge.sdp.ends import LocalRtp, LocalWebRtc
from bridge.sdp.sdes import KEY_LENGTHS, Encryption, crypto_line


class OwnEnds:
    """Makes up the identifiers of a session once, and puts the rest in as it is."""

    def __init__(
        self,
        *,
        public_address: IPv4Address | IPv6Address | None,
        certificate: RTCCertificate,
        ssrc: int,
        cname: str,
    ) -> None:
        self._public_address = str(public_address) if public_address is not None else None
        self._public_ip = public_address.version if public_address is not None else None
        self._fingerprint = Fingerprint(*fingerprint(certificate))
        self._ssrc = ssrc
        self._cname = cname
        self._ids = {side: secrets.randbits(61) for side in Side}
        self._stream_id, self._track_id = secrets.token_hex(16), secrets.token_hex(16)

    def rtp(self, leg: SipLeg, terms: Terms, *, answering: bool) -> LocalRtp:
        """Our end of the SIP leg, with new keys if it may be encrypted.

        RTCP is multiplexed with peers that ask for it. It is not offered: some do not know it.
        """
        return LocalRtp(
            session_id=self._ids[Side.SIP],
            address=self._seen_as(leg.address),
            port=leg.port,
            rtcp_mux=answering or leg.muxed,
            encryption=Encryption(terms.srtp.value),
            crypto=() if terms.srtp is Srtp.OFF else new_keys(),
            events=terms.keypad is not Keypad.INFO,
        )

    def _seen_as(self, address: str) -> str:
        """What peers know `address` as: an address of IPv4 says nothing about one of IPv6."""
        if self._public_address and ip_address(address).version == self._public_ip:
            return self._public_address
        return address

    def webrtc(self, ice: IceConnection, setup: Setup | None) -> LocalWebRtc:
        """Our end of the Matrix leg; `setup` is the DTLS role in force."""
        candidates = ice.local_candidates
        address, port = default_address(candidates, self._public_address)
        return LocalWebRtc(
            session_id=self._ids[Side.MATRIX],
            address=address,
            port=port,
            ice_ufrag=ice.local_username,
            ice_pwd=ice.local_password,
            candidates=tuple(candidate_lines(candidates, self._public_address)),
            fingerprints=(self._fingerprint,),
            ssrc=self._ssrc,
            cname=self._cname,
            stream_id=self._stream_id,
            track_id=self._track_id,
            setup=setup,
        )


def new_keys() -> tuple[Crypto, ...]:
    """A new key for each suite of SDES."""
    return tuple(
        crypto_line(tag, suite, secrets.token_bytes(length))
        for tag, (suite, length) in enumerate(KEY_LENGTHS.items(), start=1)
    )
