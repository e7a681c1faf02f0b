# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends dialogs that a crash left behind, by hand, before the stack takes the port.

The stack cannot do it, since it cannot be told of a dialog that it did not make. Sent from the same
port, so that a peer that checks the source, or the NAT before it, sees nothing new.
"""

import asyncio
import secrets
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from bridge.call.ids import TrunkName
from bridge.config import Sip, SipTransport, Trunk
from bridge.records import CallRecord
from bridge.sip.dialog_state import CSEQ_GAP, DialogState
from bridge.sip.digest import parse_challenge, reply
from bridge.sip.early import EarlyState
from bridge.sip.lookup import split_host_port
from bridge.sip.messages import Message, parse
from bridge.sip.trunks import Route

log = structlog.get_logger(__name__)

_T1: Final = 0.5
_T2: Final = 4.0
_PATIENCE: Final = 4.0
"""Seconds for one BYE. RFC 3261 would wait 64*T1; the process wants to start."""
_SILENCE: Final = 408
_REFUSED: Final = 503
_TRIES: Final = 2
"""One without, one with credentials."""


Left = DialogState | EarlyState
"""A dialog, or a call that only rang."""


@dataclass(frozen=True, slots=True)
class Bye:
    """A BYE within a dialog, with a branch of its own (RFC 3261 section 12.2.1.1)."""

    dialog: DialogState
    via: str
    branch: str
    cseq: int
    user_agent: str
    authorization: str = ""

    def __str__(self) -> str:
        dialog = self.dialog
        lines = [
            f"BYE {dialog.target} SIP/2.0",
            f"Via: SIP/2.0/{dialog.transport.upper()} {self.via};rport;branch={self.branch}",
            "Max-Forwards: 70",
            *(f"Route: {route}" for route in dialog.routes),
            f"From: {dialog.local}",
            f"To: {dialog.remote}",
            f"Call-ID: {dialog.call_id}",
            f"CSeq: {self.cseq} BYE",
            *([self.authorization] if self.authorization else []),
            "Reason: Q.850;cause=41",
            f"User-Agent: {self.user_agent}",
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""])


class Wire(Protocol):
    """Carries a request to a peer and its responses back."""

    reliable: bool

    def send(self, text: str) -> None:
        """Send a request."""

    def close(self) -> None:
        """Stop listening for responses."""


class Responses:
    """Final responses by the branch of the request that they answer."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], asyncio.Future[Message]] = {}

    def expect(self, branch: str, method: str = "BYE") -> "asyncio.Future[Message]":
        """The final response to the request with that branch; or the ACK to one of ours."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[branch, method] = future
        return future

    def received(self, text: str) -> None:
        """Take a message from the wire."""
        message = parse(text)
        if message.status < 200 and message.method != "ACK":
            return
        via = message.first("via")
        for (branch, method), future in self._waiting.items():
            fits = f"branch={branch}" in via and message.cseq[1] == method
            if fits and not future.done():
                future.set_result(message)


async def end_dialogs(
    records: Iterable[CallRecord], sip: Sip, routes: Mapping[TrunkName, Route]
) -> None:
    """End every dialog in the records, all at once; what fails is logged.

    BYE for those that were up; CANCEL, or a refusal, for what only rang.
    """
    dialogs = [(record, dialog) for record in records for dialog in _dialogs_of(record)]
    if not dialogs:
        return
    responses = Responses()
    sockets = await _open_sockets(sip, responses, [dialog for _, dialog in dialogs])
    try:
        await asyncio.gather(
            *(_end(record, dialog, sip, routes, responses, sockets) for record, dialog in dialogs)
        )
    finally:
        for transport in sockets.values():
            transport.close()


def _dialogs_of(record: CallRecord) -> Iterator[Left]:
    for text in (record.sip_dialog or "").splitlines():
        try:
            yield EarlyState.from_json(text) or DialogState.from_json(text)
        except ValueError:
            log.warning("dialog of a lost call cannot be read", call=record.call)


async def _end(
    record: CallRecord,
    dialog: Left,
    sip: Sip,
    routes: Mapping[TrunkName, Route],
    responses: Responses,
    sockets: Mapping[int, asyncio.DatagramTransport],
) -> None:
    listener = _listener(sip, dialog)
    if listener is None:
        log.warning("no transport left to end a lost call by", call=record.call)
        return
    try:
        via = _via(listener, dialog.peer)
        wire = await _connect(dialog, listener, responses, sockets)
    except OSError as error:
        log.warning("cannot reach the peer of a lost call", call=record.call, error=str(error))
        return
    try:
        if isinstance(dialog, EarlyState):
            status = await _stop_ringing(dialog, wire, responses, sip.user_agent)
        else:
            route = routes.get(TrunkName(dialog.trunk))
            status = await _say_bye(dialog, wire, responses, route, via, sip.user_agent)
    finally:
        wire.close()
    log.info("ended the SIP leg of a lost call", call=record.call, status=status)


async def _stop_ringing(
    early: EarlyState, wire: Wire, responses: Responses, user_agent: str
) -> int:
    """The final status; 408 if nobody said a word."""
    if not early.is_ours:
        acknowledged = responses.expect(early.branch, "ACK")
        heard = await _exchange(early.refusal(), wire, acknowledged)
        return _REFUSED if heard else _SILENCE
    ended = responses.expect(early.branch, "INVITE")
    cancelled = responses.expect(early.branch, "CANCEL")
    answer = await _exchange(early.cancel(user_agent), wire, cancelled)
    if answer is None or answer.status >= 300:
        return answer.status if answer else _SILENCE
    with suppress(TimeoutError):
        final = await asyncio.wait_for(ended, _PATIENCE)
        if final.status >= 300:
            wire.send(early.acknowledgement(final))
        return final.status
    return _SILENCE


async def _say_bye(
    dialog: DialogState,
    wire: Wire,
    responses: Responses,
    route: Route | None,
    via: str,
    user_agent: str,
) -> int:
    """The final status, 408 if there was none. 481 is as good as 200: the dialog is gone."""
    authorization = ""
    status = _SILENCE
    for turn in range(_TRIES):
        branch = f"z9hG4bK{secrets.token_hex(12)}"
        bye = Bye(dialog, via, branch, dialog.cseq + CSEQ_GAP + turn, user_agent, authorization)
        response = await _exchange(str(bye), wire, responses.expect(branch))
        if response is None:
            return status
        status = response.status
        authorization = _credentials(response, route, dialog.target)
        if not authorization:
            break
    return status


async def _exchange(text: str, wire: Wire, response: "asyncio.Future[Message]") -> Message | None:
    """Send, and send again over UDP (RFC 3261 section 17.1.2.2), until the final response."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    pause = _T1
    while (left := end - loop.time()) > 0:
        wire.send(text)
        wait = left if wire.reliable else min(pause, left)
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(response), wait)
        pause = min(pause * 2, _T2)
    return None


def _credentials(response: Message, route: Route | None, uri: str) -> str:
    """The header that answers a challenge; empty if it is none, or cannot be answered."""
    headers = {
        401: ("www-authenticate", "Authorization"),
        407: ("proxy-authenticate", "Proxy-Authorization"),
    }
    if response.status not in headers or route is None or not route.trunk.username:
        return ""
    asked, answered = headers[response.status]
    challenges = (parse_challenge(value) for key, value in response.headers if key == asked)
    challenge = next(filter(None, challenges), None)
    if challenge is None:
        return ""
    trunk: Trunk = route.trunk
    value = reply(
        challenge,
        username=trunk.auth_username or trunk.username,
        password=trunk.password.get_secret_value(),
        method="BYE",
        uri=uri,
        cnonce=secrets.token_hex(8),
    )
    return f"{answered}: {value}"


# --- wires ----------------------------------------------------------------------------------


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, responses: Responses) -> None:
        self._responses = responses

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._responses.received(data.decode(errors="replace"))


class _Udp:
    reliable = False

    def __init__(self, transport: asyncio.DatagramTransport, peer: tuple[str, int]) -> None:
        self._transport = transport
        self._peer = peer

    def send(self, text: str) -> None:
        self._transport.sendto(text.encode(), self._peer)

    def close(self) -> None:
        """The socket is shared, and closed with the last of them."""


class _Stream:
    reliable = True

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, responses: Responses
    ) -> None:
        self._writer = writer
        self._task = asyncio.create_task(self._read(reader, responses))

    def send(self, text: str) -> None:
        self._writer.write(text.encode())

    def close(self) -> None:
        self._task.cancel()
        self._writer.close()

    async def _read(self, reader: asyncio.StreamReader, responses: Responses) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                # Responses to BYE have no body.
                head = await reader.readuntil(b"\r\n\r\n")
                responses.received(head.decode(errors="replace").lstrip("\r\n"))


async def _open_sockets(
    sip: Sip, responses: Responses, dialogs: Iterable[Left]
) -> dict[int, asyncio.DatagramTransport]:
    """A socket for each version of IP that has UDP peers."""
    sockets: dict[int, asyncio.DatagramTransport] = {}
    for dialog in dialogs:
        listener = _listener(sip, dialog)
        if dialog.transport == "udp" and listener and listener.listen.version not in sockets:
            transport = await _open_socket(listener, responses)
            if transport:
                sockets[listener.listen.version] = transport
    return sockets


async def _open_socket(
    listener: SipTransport, responses: Responses
) -> asyncio.DatagramTransport | None:
    loop = asyncio.get_running_loop()
    local = (str(listener.listen), listener.port)
    for address in (local, (local[0], 0)):
        with suppress(OSError):
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(responses), local_addr=address
            )
            return transport
    return None


async def _connect(
    dialog: Left,
    listener: SipTransport,
    responses: Responses,
    sockets: Mapping[int, asyncio.DatagramTransport],
) -> Wire:
    host, port = split_host_port(dialog.peer)
    if dialog.transport == "udp":
        transport = sockets.get(listener.listen.version)
        if transport is None:
            raise OSError("no UDP socket")
        return _Udp(transport, (host, port or 5060))
    context = _tls(listener) if dialog.transport == "tls" else None
    connection = asyncio.open_connection(host, port or 5060, ssl=context)
    return _Stream(*await asyncio.wait_for(connection, _PATIENCE), responses)


def _tls(listener: SipTransport) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=listener.ca_list)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The peer is named by the address that it sent from, which no certificate carries.
    context.check_hostname = False
    if not listener.verify:
        context.verify_mode = ssl.CERT_NONE
    if listener.certificate and listener.private_key:
        context.load_cert_chain(listener.certificate, listener.private_key)
    return context


def _listener(sip: Sip, dialog: Left) -> SipTransport | None:
    """The listener that the dialog's messages came by, or one like it."""
    version = 6 if ":" in split_host_port(dialog.peer)[0] else 4
    fitting = (t for t in sip.transports if t.protocol == dialog.transport)
    return next((t for t in fitting if t.listen.version == version), None)


def _via(listener: SipTransport, peer: str) -> str:
    host = listener.public_address or str(listener.listen)
    if listener.listen.is_unspecified and not listener.public_address:
        host = _own_address_towards(peer)
    return f"[{host}]:{listener.port}" if ":" in host else f"{host}:{listener.port}"


def _own_address_towards(peer: str) -> str:
    host, port = split_host_port(peer)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port or 5060))  # Sends nothing: asks for the route.
        return str(probe.getsockname()[0])
