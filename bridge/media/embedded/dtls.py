# SPDX-License-Identifier: GPL-3.0-or-later
"""DTLS-SRTP: the only module that knows aiortc from the inside.

What is used of its inside is held by tests: a release that moves it fails there and not in a call.
"""

import asyncio
import contextlib
import datetime
from collections.abc import Callable, Sequence
from typing import cast

from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport
from pylibsrtp import Session

from bridge.media.embedded.flow import Ear
from bridge.media.embedded.srtp import protected_listener
from bridge.media.embedded.webrtc import Hearing, IceConnection


class DtlsError(Exception):
    """The DTLS handshake failed: no common profile, or a certificate that was not announced."""


class CertificateSource:
    """The process's DTLS certificate: made once, and again shortly before it expires."""

    def __init__(self) -> None:
        self._certificate: RTCCertificate | None = None

    def get(self) -> RTCCertificate:
        """The certificate to use for a new session."""
        certificate = self._certificate
        if certificate is None or certificate.expires < _tomorrow():
            certificate = self._certificate = RTCCertificate.generateCertificate()
        return certificate


def _tomorrow() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(days=1)


def fingerprint(certificate: RTCCertificate) -> tuple[str, str]:
    """Hash function and value of the certificate's fingerprint (RFC 8122)."""
    for entry in certificate.getFingerprints():
        if entry.algorithm == "sha-256":
            return entry.algorithm, entry.value
    raise LookupError("no SHA-256 fingerprint")


_SUITES = {"SRTP_AES128_CM_SHA1_80": "AES_CM_128_HMAC_SHA1_80"}


class _Channel:
    """What RTCDtlsTransport wants of an RTCIceTransport; outlives ICE restarts."""

    role = "controlled"

    def __init__(self) -> None:
        self.ice: IceConnection | None = None
        self.received: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=64)

    def feed(self, data: bytes) -> None:
        """Queue a DTLS record; a flood of them is cut off."""
        with contextlib.suppress(asyncio.QueueFull):
            self.received.put_nowait(data)

    async def _recv(self) -> bytes:
        data = await self.received.get()
        if data is None:
            raise ConnectionError("closed")
        return data

    async def _send(self, data: bytes) -> None:
        if self.ice is not None:
            await self.ice.send(data)


class DtlsAssociation:
    """One DTLS association and the SRTP keys that come out of it (RFC 5764).

    It stays when ICE restarts (RFC 8842 4): only a new fingerprint makes a new one.
    """

    def __init__(self, certificate: RTCCertificate) -> None:
        self.certificate = certificate
        self._channel = _Channel()
        self.feed = self._channel.feed
        self.established = False
        """Whether there are keys."""
        self._dtls = RTCDtlsTransport(cast(RTCIceTransport, self._channel), [certificate])

    def use(self, ice: IceConnection) -> None:
        """Send through `ice` from now on."""
        self._channel.ice = ice

    async def handshake(self, *, active: bool, fingerprints: Sequence[tuple[str, str]]) -> None:
        """Agree on keys with the holder of one of `fingerprints`. Raises DtlsError."""
        self._dtls._set_role("client" if active else "server")
        expected = [RTCDtlsFingerprint(algorithm, value) for algorithm, value in fingerprints]
        await self._dtls.start(RTCDtlsParameters(fingerprints=expected))
        if self._dtls.state != "connected":
            raise DtlsError("the DTLS handshake failed: keys or certificate do not match")
        self.established = True

    @property
    def suite(self) -> str:
        """SRTP's suite, by the name that SDES has for it (RFC 4568, RFC 7714); only with keys."""
        assert self._dtls._ssl is not None
        profile = self._dtls._ssl.get_selected_srtp_profile().decode()
        return _SUITES.get(profile, profile.removeprefix("SRTP_"))

    @property
    def outgoing(self) -> Session:
        """Encrypts what we send; only with keys."""
        return self._dtls._tx_srtp

    def hearing(
        self, ear: Ear, on_rtcp: Callable[[bytes], None], forged: Callable[[], None]
    ) -> Hearing:
        """Decrypts packets of either kind and passes them on, with nothing in between."""
        session = self._dtls._rx_srtp
        take = protected_listener(session, ear.receive, on_rtcp, forged)
        return Hearing(take=take, ear=ear, session=session, suite=self.suite, forged=forged)

    @property
    def protect_rtcp(self) -> Callable[[bytes], bytes]:
        """Encrypts a compound RTCP packet."""
        return self._dtls._tx_srtp.protect_rtcp

    async def close(self) -> None:
        """Say goodbye and stop."""
        task = self._dtls._task
        with contextlib.suppress(ConnectionError):
            await self._dtls.stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        self._dtls.remove_all_listeners()
