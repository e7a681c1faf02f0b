# SPDX-License-Identifier: GPL-3.0-or-later
"""Candidates that can be used, and those that cannot."""

import pytest

from bridge.media.embedded.candidates import parse_candidate


@pytest.mark.parametrize(
    ("line", "usable"),
    [
        ("candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host", True),
        ("a=candidate:1 1 UDP 1 2001:db8::1 1 typ host", True),
        ("candidate:1 1 udp 1 192.0.2.1 65536 typ host", False),
        ("candidate:1 1 udp 1 192.0.2.1 0 typ host", False),
        ("candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active", False),
        ("candidate:1 2 udp 1 192.0.2.1 50001 typ host", False),
        ("candidate:1 1 udp 1 5a1f3c9e.local 50000 typ host", False),
        ("candidate:nonsense", False),
    ],
)
def test_candidate(line: str, usable: bool) -> None:
    assert (parse_candidate(line) is not None) is usable
