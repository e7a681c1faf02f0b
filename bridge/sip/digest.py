# SPDX-License-Identifier: GPL-3.0-or-later
"""Digest authentication (RFC 7616, RFC 8760): the reply to a challenge."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

_HASHES: Final = {"md5": "md5", "sha-256": "sha256", "sha-512-256": "sha512_256"}
_PARAM: Final = re.compile(r'(?<!\w)(\w++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s,]++))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """What WWW-Authenticate or Proxy-Authenticate asks for."""

    realm: str
    nonce: str
    algorithm: str
    qop: bool
    """Whether `auth` is among the qualities of protection."""
    opaque: str


def parse_challenge(value: str) -> Challenge | None:
    """None if this is not a digest that we can answer."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        return None
    params = {match[1].lower(): match[2] or match[3] or "" for match in _PARAM.finditer(rest)}
    algorithm = params.get("algorithm", "MD5")
    if algorithm.lower() not in _HASHES or "nonce" not in params:
        return None
    offered = [quality.strip().lower() for quality in params.get("qop", "").split(",")]
    if offered != [""] and "auth" not in offered:
        return None
    return Challenge(
        params.get("realm", ""),
        params["nonce"],
        algorithm,
        "auth" in offered,
        params.get("opaque", ""),
    )


def reply(
    challenge: Challenge, *, username: str, password: str, method: str, uri: str, cnonce: str
) -> str:
    """The value of Authorization or Proxy-Authorization for a first request with this nonce."""

    def digest(text: str) -> str:
        return hashlib.new(_HASHES[challenge.algorithm.lower()], text.encode()).hexdigest()

    secret = digest(f"{username}:{challenge.realm}:{password}")
    request = digest(f"{method}:{uri}")
    count = "00000001"
    middle = f"{challenge.nonce}:{count}:{cnonce}:auth" if challenge.qop else challenge.nonce
    fields = {
        "username": f'"{username}"',
        "realm": f'"{challenge.realm}"',
        "nonce": f'"{challenge.nonce}"',
        "uri": f'"{uri}"',
        "response": f'"{digest(f"{secret}:{middle}:{request}")}"',
        "algorithm": challenge.algorithm,
    }
    if challenge.qop:
        fields |= {"qop": "auth", "nc": count, "cnonce": f'"{cnonce}"'}
    if challenge.opaque:
        fields["opaque"] = f'"{challenge.opaque}"'
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items())
