# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority of our own, and a certificate of it, for localhost and ::1 usually."""

import datetime
import ssl
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM."""

    authority: Path
    chain: Path
    key: Path

    @classmethod
    def make(cls, directory: Path, name: str = "localhost") -> "Certificates":
        """Write new ones for a name, good for an hour."""
        ca_key = ec.generate_private_key(ec.SECP256R1())
        key = ec.generate_private_key(ec.SECP256R1())
        ca_name = _named("authority.test")
        authority = (
            _begun(ca_name, ca_name, ca_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(ca_key, SHA256())
        )
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if name == "localhost":
            names.append(x509.IPAddress(IPv6Address("::1")))
        certificate = (
            _begun(_named(name), ca_name, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(ca_key, SHA256())
        )
        files = cls(directory / "authority.pem", directory / "chain.pem", directory / "key.pem")
        files.authority.write_bytes(authority.public_bytes(Encoding.PEM))
        files.chain.write_bytes(certificate.public_bytes(Encoding.PEM))
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files

    def server_context(self) -> ssl.SSLContext:
        """For a server named localhost."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts only the authority."""
        return ssl.create_default_context(cafile=self.authority)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )
