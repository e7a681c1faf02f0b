# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of listeners that were renewed, noticed by their files."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from bridge.config import SipTransport

log = structlog.get_logger(__name__)

_Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Renewed:
    """Which listeners have other files than before, and what is wrong with those of others."""

    listeners: tuple[int, ...] = ()
    """By their place in `sip.transports`."""
    problems: tuple[str, ...] = ()


class Certificates:
    """Looks after the files of listeners that show a certificate."""

    def __init__(self, transports: Sequence[SipTransport]) -> None:
        self._transports = {
            number: each
            for number, each in enumerate(transports)
            if each.protocol == "tls" and each.certificate
        }
        self._known = {number: _stamp(each) for number, each in self._transports.items()}

    def look(self) -> Renewed:
        """What has changed since the last look; files that do not fit are told until they do."""
        renewed, problems = [], []
        for number, transport in self._transports.items():
            stamp = _stamp(transport)
            if stamp == self._known[number]:
                continue
            if problem := _unfit(transport):
                problems.append(f"sip.transports[{number}]: {problem}; the former one is shown on")
                continue
            self._known[number] = stamp
            renewed.append(number)
        return Renewed(tuple(renewed), tuple(problems))


def _stamp(transport: SipTransport) -> _Stamp:
    files = (transport.certificate, transport.private_key, transport.ca_list)
    return tuple(None if file is None else _stamp_of(file) for file in files)


def _stamp_of(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _unfit(transport: SipTransport) -> str:
    """Why the files cannot be shown; empty if they can."""
    assert transport.certificate
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(transport.certificate, transport.private_key)
        if transport.ca_list:
            context.load_verify_locations(transport.ca_list)
    except (OSError, ValueError) as error:  # SSLError is an OSError.
        return f"the certificate was renewed, but it or its key cannot be used ({error})"
    return ""
