# SPDX-License-Identifier: GPL-3.0-or-later
"""A SIP party over UDP that answers what a test tells it to."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Self

from bridge.sip.messages import Message, parse
from tests.sip.phone import LOCALHOST

_COPIED: Final = ("via", "from", "call-id", "cseq")

Answer = tuple[int, Sequence[str]]
"""Status, and header lines besides those that every response has."""


class UdpPeer(asyncio.DatagramProtocol):
    """Answers each request with what `answer` makes of it; None: with nothing.

    `seen_from`: what it says in Via it was sent from; empty: nothing.
    """

    def __init__(self, answer: Callable[[Message], Answer | None], seen_from: str = "") -> None:
        self.answer = answer
        self.requests: list[Message] = []
        self.packets: list[bytes] = []
        """What was no message: keep-alives."""
        self.port = 0
        self._seen_from = seen_from
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(LOCALHOST, 0)
        )
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A request, or a keep-alive."""
        if not data.strip(b"\r\n\0"):
            self.packets.append(data)
            return
        request = parse(data.decode())
        self.requests.append(request)
        answer = self.answer(request)
        if answer is None or self._transport is None:
            return
        status, more = answer
        copied = {name: request.first(name) for name in _COPIED}
        if self._seen_from:
            host, _, port = self._seen_from.partition(":")
            copied["via"] = copied["via"].replace(";rport", f";rport={port};received={host}")
        lines = [
            f"SIP/2.0 {status} Whatever",
            *(f"{name}: {value}" for name, value in copied.items()),
            f"To: {request.first('to')};tag=1",
            *more,
        ]
        self._transport.sendto("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode(), addr)

    def methods(self) -> list[str]:
        """Of the requests so far."""
        return [request.method for request in self.requests]


def granted(request: Message, seconds: int = 300) -> Answer:
    """The 200 to a REGISTER."""
    if request.first("expires") == "0":
        return 200, ()
    return 200, (f"Contact: {request.first('contact')};expires={seconds}",)
