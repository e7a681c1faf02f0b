# SPDX-License-Identifier: GPL-3.0-or-later
"""A telephone exchange for many accounts, which sipp's scenarios are too stiff for."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import cast

from bridge.sip.messages import Message, parse, parse_name_addr, parse_uri
from tests.sip.phone import description


class Exchange(asyncio.DatagramProtocol):
    """Registers everybody, is busy for everybody, and calls whom it is told to.

    `expires`: seconds that registrations last. `states`: what it says of one subscription after the
    other, as the value of Subscription-State; none left: it has none to give (489).
    """

    def __init__(self, *, expires: int = 300, states: Sequence[str] = ()) -> None:
        self.subscribed = 0
        """How often somebody subscribed to a mailbox."""
        self._expires = expires
        self._states = list(states)
        self.contacts: dict[str, str] = {}
        self.invites: list[Message] = []
        self.answers: list[Message] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        message = parse(data.decode())
        user = parse_uri(parse_name_addr(message.first("from")).uri).user
        match message.method:
            case "REGISTER":
                contact = message.first("contact")
                left = message.first("expires") == "0"
                self.contacts.pop(user, None)
                if not left:
                    self.contacts[user] = parse_name_addr(contact).uri
                self._answer(
                    message, "200 OK", source, "" if left else f"{contact};expires={self._expires}"
                )
            case "INVITE":
                self.invites.append(message)
                self._answer(message, "486 Busy Here", source)
            case "SUBSCRIBE" if message.first("expires") != "0":
                self.subscribed += 1
                self._subscribe(message, source)
            case "":
                self.answers.append(message)

    def call(self, user: str) -> None:
        """Call an account where it has registered."""
        uri, sdp = self.contacts[user], description()
        at = parse_uri(uri)
        head = (
            f"INVITE {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{secrets.token_hex(8)}\r\n"
            f"From: <sip:caller@mx.test>;tag=x\r\nTo: <sip:{user}@mx.test>\r\n"
            f"Call-ID: {secrets.token_hex(8)}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:caller@127.0.0.1:{self.port}>\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n"
        )
        self._transport.sendto((head + sdp).encode(), (at.host, at.port or 5060))

    def _subscribe(self, request: Message, source: tuple[str, int]) -> None:
        contact = f"<sip:mailbox@127.0.0.1:{self.port}>"
        if not self._states:
            self._answer(request, "489 Bad Event", source)
            return
        self._answer(request, "200 OK", source, contact)
        body = f"Messages-Waiting: yes\r\nVoice-Message: {self.subscribed}/0\r\n"
        head = (
            f"NOTIFY {parse_name_addr(request.first('contact')).uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{secrets.token_hex(8)}\r\n"
            f"From: {request.first('to')};tag=y\r\nTo: {request.first('from')}\r\n"
            f"Call-ID: {request.first('call-id')}\r\nCSeq: 1 NOTIFY\r\nMax-Forwards: 70\r\n"
            f"Contact: {contact}\r\nEvent: message-summary\r\n"
            f"Subscription-State: {self._states.pop(0)}\r\n"
            "Content-Type: application/simple-message-summary\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._transport.sendto((head + body).encode(), source)

    def _answer(
        self, request: Message, status: str, source: tuple[str, int], contact: str = ""
    ) -> None:
        lines = [f"SIP/2.0 {status}"]
        wanted = ("via", "from", "call-id", "cseq")
        lines += [f"{name}: {value}" for name, value in request.headers if name in wanted]
        lines.append(f"To: {request.first('to')};tag=y")
        lines += [f"Contact: {contact}"] if contact else []
        lines += ["Expires: 3600"] if request.method == "SUBSCRIBE" else []
        self._transport.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), source)
