# SPDX-License-Identifier: GPL-3.0-or-later
"""Homeservers that speak with each other: TLS between loopback addresses, and a CA of their own.

A server that is named by address and port is reached there, without DNS and well-known files
(Server-Server API, "Resolving server names", step 1).
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PORT = 8448


@dataclass(frozen=True, slots=True)
class Federated:
    """A homeserver's place among others: its address, and files that prove it."""

    address: str
    certificate: Path
    key: Path
    authority: Path
    others: Sequence[str]
    """Names of the servers that it may speak with."""

    @property
    def name(self) -> str:
        """Its server name."""
        return f"{self.address}:{PORT}"


def federate(directory: Path, *addresses: str) -> list[Federated]:
    """Certificates for homeservers at `addresses` that trust each other."""
    directory.mkdir(parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    ca = _builder(subject, subject, authority_key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    authority = directory / "authority.pem"
    authority.write_bytes(_pem(ca.sign(authority_key, hashes.SHA256())))
    names = [f"{address}:{PORT}" for address in addresses]
    servers = []
    for address in addresses:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        leaf = _builder(name, subject, key.public_key()).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
        )
        certificate, key_file = directory / f"{address}.pem", directory / f"{address}.key"
        certificate.write_bytes(_pem(leaf.sign(authority_key, hashes.SHA256())))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        servers.append(Federated(address, certificate, key_file, authority, names))
    return servers


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
