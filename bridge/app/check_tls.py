# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of certificates: our own files, and those that servers show."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from bridge.app.verdicts import Doubt
from bridge.config import Sip, Trunk
from bridge.errors import ConfigurationError, RemoteError
from bridge.sip.lookup import Target
from bridge.sip.trunks import Route

_SOON: Final = timedelta(days=14)
_PATIENCE: Final = 5.0


def own_certificate(certificate: Path, key: Path) -> str:
    """The files fit together and last. Raises ConfigurationError, Doubt."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        # SSLError is an OSError.
        raise ConfigurationError(
            f"certificate or private key cannot be used: {error}",
            remedy="Both must be PEM files, and the key that of the first certificate.",
        ) from error
    return _lasting(parsed, "certificate")


def authorities(file: Path) -> ssl.SSLContext:
    """What trusts the authorities in a file. Raises ConfigurationError."""
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"no certificate authorities can be read from {file}: {error}",
            remedy="It must be a PEM file.",
        ) from error


async def shown_certificate(target: Target, route: Route, sip: Sip) -> str:
    """A trunk's server speaks TLS, and its certificate is valid as the trunk wants it.

    Raises ConfigurationError, RemoteError, Doubt.
    """
    trunk = route.trunk
    context = _trusting(trunk, sip)
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(
                str(target.address), target.port, ssl=context, server_hostname=route.tls_name
            )
    except ssl.SSLCertVerificationError as error:
        raise RemoteError(
            f"{target}: the server's certificate is not trusted: {error.verify_message}",
            remedy="Look at the trunk's server and tls.server_name (the name that it has to be "
            "for), and at tls.ca_list (who has to have issued it).",
        ) from error
    except (OSError, TimeoutError) as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise RemoteError(
            f"{target}: no TLS: {reason}", remedy="Look at the trunk's server and its port."
        ) from error
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    return _lasting(x509.load_der_x509_certificate(shown), f"{route.tls_name}'s certificate")


def _trusting(trunk: Trunk, sip: Sip) -> ssl.SSLContext:
    listener = next((each for each in sip.transports if each.protocol == "tls"), None)
    file = trunk.tls.ca_list or (listener.ca_list if listener else None)
    context = authorities(file) if file else ssl.create_default_context()
    verify = trunk.tls.verify
    if verify is None:
        verify = listener is None or listener.verify
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if trunk.tls.certificate and trunk.tls.private_key:
        context.load_cert_chain(trunk.tls.certificate, trunk.tls.private_key)
    return context


def _lasting(certificate: x509.Certificate, whose: str) -> str:
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if left < timedelta():
        raise ConfigurationError(f"the {whose} expired on {until}", remedy="Renew it.")
    if left < _SOON:
        raise Doubt(f"the {whose} expires on {until}", remedy="Renew it.")
    return f"{whose} good until {until}"
