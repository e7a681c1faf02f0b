# SPDX-License-Identifier: GPL-3.0-or-later
"""ICE candidates (RFC 8839 5.1) as they are written: theirs read, ours announced."""

from collections.abc import Sequence
from itertools import pairwise

from aioice import Candidate


def parse_candidate(line: str) -> Candidate | None:
    """A candidate as SDP or trickle write it; None for one that cannot be used."""
    text = line.strip().removeprefix("a=").removeprefix("candidate:")
    try:
        candidate = Candidate.from_sdp(text)
    except ValueError:
        return None
    if candidate.transport.lower() != "udp" or candidate.component != 1:
        return None
    if not 0 < candidate.port < 65536:
        return None
    if candidate.host.endswith(".local"):
        return None
    return candidate


def candidate_ufrag(line: str) -> str | None:
    """The `ufrag` extension that clients add to trickled candidates, if it is there."""
    words = line.split()
    for name, value in pairwise(words):
        if name == "ufrag":
            return value
    return None


def candidate_lines(candidates: Sequence[Candidate], public_address: str | None) -> list[str]:
    """Our candidates as after `a=candidate:`; host ones with the public address if there is one."""
    lines = []
    for candidate in candidates:
        text = candidate.to_sdp()
        if public_address and candidate.type == "host":
            text = text.replace(f" {candidate.host} ", f" {public_address} ", 1)
        lines.append(text)
    return lines


def default_address(candidates: Sequence[Candidate], public_address: str | None) -> tuple[str, int]:
    """Address and port for the `c=` and `m=` lines: the candidate most likely to work."""
    order = {"relay": 0, "srflx": 1, "host": 2}
    best = min(candidates, key=lambda c: (order.get(c.type, 3), ":" in c.host))
    if best.type == "host" and public_address:
        return public_address, best.port
    return best.host, best.port
