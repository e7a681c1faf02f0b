# SPDX-License-Identifier: GPL-3.0-or-later
"""A SIP party that does what a test tells it to: it is called, and changes the call."""

import asyncio
import secrets
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from bridge.sip.messages import Message, parse, parse_name_addr
from tests.simulators.waiting import PATIENCE

_AGAIN: Final = 0.5
_PHRASES: Final = {
    180: "Ringing",
    200: "OK",
    302: "Moved Temporarily",
    488: "Not Acceptable Here",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A final response, and the description in it."""

    status: int
    sdp: str


@dataclass(frozen=True, slots=True)
class _Dialog:
    """What requests within the call say."""

    target: str
    ours: str
    theirs: str
    call_id: str


class SipParty(asyncio.DatagramProtocol):
    """One call over UDP, mostly from the callee's side. Media is the test's own affair.

    It answers re-INVITEs and UPDATEs with `description`, and BYE with 200.
    """

    def __init__(self, address: str, port: int) -> None:
        self.description = ""
        self.refuses: list[int] = []
        """Statuses with which it refuses the first calls, one after the other."""
        self.refused: list[str] = []
        """What these calls offered."""
        self.offers: list[str] = []
        """What the other side offered within the call."""
        self.hung_up = asyncio.Event()
        self._here = (address, port)
        self._tag = secrets.token_hex(4)
        self._invite: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._dialog: _Dialog | None = None
        self._acknowledged = asyncio.Event()
        self._peer: tuple[str, int] = ("", 0)
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._answers: dict[str, bytes] = {}
        self._cseq = 100
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=self._here
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._transport
        self._transport.close()

    # --- what a test has it do ----------------------------------------------------------------

    async def rings(self) -> str:
        """Wait for the call; gives its offer."""
        invite = await asyncio.wait_for(asyncio.shield(self._invite), PATIENCE)
        return invite.sdp or ""

    async def answers(self, sdp: str) -> None:
        """Answer the call, and wait until that is acknowledged."""
        self.description = sdp
        self._respond(self._invite.result(), 200, sdp)
        await asyncio.wait_for(self._acknowledged.wait(), PATIENCE)

    def points_to(self, contact: str) -> None:
        """Refuse the call with 302."""
        self._respond(self._invite.result(), 302, contact=contact)

    async def calls(self, uri: str, sdp: str) -> Reply:
        """Call somebody, and wait for whatever answer."""
        host, _, port = uri.rpartition("@")[2].partition(":")
        self._peer, self.description = (host, int(port)), sdp
        us = f"<sip:door@{self._address}>;tag={self._tag}"
        self._dialog = _Dialog(uri, us, f"<{uri}>", secrets.token_hex(8))
        reply = self._replies[f"{self._cseq} INVITE"] = asyncio.get_running_loop().create_future()
        invite = self._request("INVITE", sdp)
        async with asyncio.timeout(PATIENCE):
            while not reply.done():
                self._send(invite)
                await asyncio.wait([reply], timeout=_AGAIN)
        response = reply.result()
        there = parse_name_addr(response.first("contact")).uri
        self._dialog = replace(self._dialog, theirs=response.first("to"), target=there)
        self._send(self._request("ACK", ""))
        return Reply(response.status, response.sdp or "")

    async def takes_over(self, other: "SipParty", peer: tuple[str, int], sdp: str) -> Reply:
        """Call the other side of another party's call in its place (Replaces, RFC 3891)."""
        self._peer, self.description = peer, sdp
        replaced = other._invite.result()
        theirs = replaced.first("from").partition("tag=")[2]
        call = f"{replaced.first('call-id')};to-tag={theirs};from-tag={other._tag}"
        target = parse_name_addr(replaced.first("contact")).uri
        call_id = secrets.token_hex(8)

        def request(method: str, to: str) -> bytes:
            lines = [
                f"{method} {target} SIP/2.0",
                f"Via: SIP/2.0/UDP {self._address};branch=z9hG4bK{secrets.token_hex(6)}",
                "Max-Forwards: 70",
                f"From: {replaced.first('to')};tag={self._tag}",
                f"To: {to}",
                f"Call-ID: {call_id}",
                f"CSeq: 1 {method}",
            ]
            if method == "ACK":
                return self._written(lines, "")
            return self._written([*lines, f"Replaces: {call}", "Supported: replaces"], sdp)

        reply = self._replies["1 INVITE"] = asyncio.get_running_loop().create_future()
        invite = request("INVITE", f"<{target}>")
        async with asyncio.timeout(PATIENCE):
            while not reply.done():
                self._send(invite)
                await asyncio.wait([reply], timeout=_AGAIN)
        response = reply.result()
        self._send(request("ACK", response.first("to")))
        return Reply(response.status, response.sdp or "")

    async def asks(self, method: str, sdp: str = "", *, ack: str = "") -> Reply:
        """Send a request within the call; `ack`: what the ACK answers, if the 200 offers."""
        self._cseq += 1
        key = f"{self._cseq} {method}"
        reply = self._replies[key] = asyncio.get_running_loop().create_future()
        request = self._request(method, sdp)
        self.description = sdp or self.description
        async with asyncio.timeout(PATIENCE):
            while not reply.done():
                self._send(request)
                await asyncio.wait([reply], timeout=_AGAIN)
        response = reply.result()
        if method == "INVITE":
            self._send(self._request("ACK", ack if response.status == 200 else ""))
        return Reply(response.status, response.sdp or "")

    # --- asyncio ------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """A message came in."""
        self._peer = address
        message = parse(data.decode())
        if message.status:
            number, method = message.cseq
            waiting = self._replies.get(f"{number} {method}")
            if message.status >= 200 and waiting and not waiting.done():
                waiting.set_result(message)
            return
        known = self._answers.get(f"{message.first('via')} {message.method}")
        if known:
            self._send(known)
        else:
            self._asked(message)

    # --- inside -------------------------------------------------------------------------------

    def _asked(self, message: Message) -> None:
        is_new = "tag=" not in message.first("to")
        match message.method:
            case "INVITE" if is_new and self._dialog is None and self.refuses:
                self.refused.append(message.sdp or "")
                self._respond(message, self.refuses.pop(0))
            case "INVITE" if is_new and self._dialog is None:
                self._invite.set_result(message)
                self._dialog = _Dialog(
                    target=parse_name_addr(message.first("contact")).uri,
                    ours=f"{message.first('to')};tag={self._tag}",
                    theirs=message.first("from"),
                    call_id=message.first("call-id"),
                )
                self._respond(message, 180)
            case "ACK" if self._dialog is not None:
                self._acknowledged.set()
            case "INVITE" | "UPDATE" if not is_new:
                self.offers.append(message.sdp or "")
                self._respond(message, 200, self.description if message.sdp else "")
            case "BYE":
                self._respond(message, 200)
                self.hung_up.set()

    def _respond(self, request: Message, status: int, sdp: str = "", *, contact: str = "") -> None:
        to = request.first("to")
        lines = [
            f"SIP/2.0 {status} {_PHRASES[status]}",
            *(f"Via: {value}" for name, value in request.headers if name == "via"),
            f"From: {request.first('from')}",
            f"To: {to}" if "tag=" in to else f"To: {to};tag={self._tag}",
            f"Call-ID: {request.first('call-id')}",
            f"CSeq: {request.first('cseq')}",
        ]
        answer = self._written(lines, sdp, contact=contact)
        if status >= 200:
            self._answers[f"{request.first('via')} {request.method}"] = answer
        self._send(answer)

    def _request(self, method: str, sdp: str) -> bytes:
        assert self._dialog
        lines = [
            f"{method} {self._dialog.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._address};branch=z9hG4bK{secrets.token_hex(6)}",
            "Max-Forwards: 70",
            f"From: {self._dialog.ours}",
            f"To: {self._dialog.theirs}",
            f"Call-ID: {self._dialog.call_id}",
            f"CSeq: {self._cseq} {method}",
        ]
        return self._written(lines, sdp)

    def _written(self, lines: list[str], sdp: str, *, contact: str = "") -> bytes:
        more = ["Content-Type: application/sdp"] if sdp else []
        there = f"Contact: <{contact or f'sip:party@{self._address}'}>"
        head = [*lines, there, "Allow: INVITE, ACK, BYE, CANCEL, UPDATE", *more]
        return "\r\n".join((*head, f"Content-Length: {len(sdp)}", "", sdp)).encode()

    @property
    def _address(self) -> str:
        return f"{self._here[0]}:{self._here[1]}"

    def _send(self, data: bytes) -> None:
        assert self._transport
        self._transport.sendto(data, self._peer)
