# SPDX-License-Identifier: GPL-3.0-or-later
"""What the template of media workers hears of the process that they work for."""

import socket
from collections.abc import Iterator

import pytest

from bridge.media.workers.__main__ import wanted


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Of the main process, and of the template."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def test_a_socket_to_serve_comes_along(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    with socket.socket() as served:
        socket.send_fds(ours, [b"worker"], [served.fileno()])
        (copy,) = wanted(theirs)
    socket.close(copy)


@pytest.mark.parametrize("unread", [False, True])
def test_it_is_over_when_the_other_end_is_closed(
    ends: tuple[socket.socket, socket.socket], unread: bool
) -> None:
    """Also before somebody has read that a worker died."""
    ours, theirs = ends
    if unread:
        theirs.send(b"1 9")
    ours.close()
    assert wanted(theirs) == []
