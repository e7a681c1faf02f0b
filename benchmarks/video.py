# SPDX-License-Identifier: GPL-3.0-or-later
"""Video for `benchmarks.media`: about a megabit a second each way beside each call's audio."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Final

from benchmarks.network import HOST
from bridge.media.embedded.rtp import HEADER, is_rtcp
from bridge.media.embedded.sockets import bound_socket
from bridge.media.embedded.srtp import ARRIVAL

KIND: Final = 96
PACKETS: Final = 2
"""For each packet of audio."""
_PAYLOAD: Final = b"\x10\x01" + secrets.token_bytes(1198)
_WHOLE: Final = b"\x10\x00" + _PAYLOAD[2:]
_FRAME: Final = 3000
_IN_FRAME: Final = 4
"""Packets; so there are 25 pictures a second."""
LINES: Final = (
    f"a=rtpmap:{KIND} VP8/90000",
    f"a=rtcp-fb:{KIND} nack",
    f"a=rtcp-fb:{KIND} nack pli",
    "a=sendrecv",
)


def client_lines() -> list[str]:
    """The client's section, bundled with its audio."""
    return [
        f"m=video 9 UDP/TLS/RTP/SAVPF {KIND}",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=rtcp-mux",
        "a=msid:stream picture",
        *LINES,
    ]


class Film:
    """What a client films: never anything new."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.sent = 0
        self.returned = 0
        self._send = send
        self._before = 0
        self._ssrc = secrets.randbits(32)

    def send(self) -> None:
        """The packets that go with one of audio."""
        for number in range(self.sent, self.sent + PACKETS):
            frame, place = divmod(number, _IN_FRAME)
            kind = KIND | 0x80 if place == _IN_FRAME - 1 else KIND
            header = HEADER.pack(
                0x80, kind, number & 0xFFFF, frame * _FRAME & 0xFFFFFFFF, self._ssrc
            )
            self._send(header + (_PAYLOAD if number else _WHOLE))
        self.sent += PACKETS

    def start_over(self) -> None:
        """Forget what was counted."""
        self._before, self.returned = self.sent, 0

    @property
    def missing(self) -> int:
        """Packets that have not come back."""
        return max(0, self.sent - self._before - self.returned)


class Mirror:
    """A telephone's sockets for video, which send back whatever comes."""

    def __init__(self) -> None:
        self._socket = bound_socket(HOST, 0)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._echo)

    def answer(self, offer: str) -> list[str]:
        """The telephone's section."""
        media = next(line for line in offer.splitlines() if line.startswith("m=video"))
        self._socket.connect((HOST, int(media.split()[1])))
        port = self._socket.getsockname()[1]
        return [f"m=video {port} RTP/AVP {KIND}", *LINES]

    def _echo(self) -> None:
        with contextlib.suppress(OSError):
            packet = ARRIVAL[: self._socket.recv_into(ARRIVAL)]
            if not is_rtcp(packet):
                self._socket.send(packet)

    def close(self) -> None:
        """Hang up."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
