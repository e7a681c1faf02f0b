# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether STUN and TURN servers answer, and what they say: for checks, outside of any call."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any, Final

from aioice import stun, turn

from bridge.errors import RemoteError
from bridge.media.embedded.ice_servers import Address

PATIENCE: Final = 4.0
"""Seconds that a server gets."""
_AGAIN: Final = 0.5
_GOODBYE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Relay:
    """What a TURN server gives."""

    address: str
    """Where it would take packets for us."""
    seen: str
    """Where it sees us."""


async def seen_at(server: Address, host: str, patience: float = PATIENCE) -> str:
    """The address that a STUN server sees `host`, one of ours, at. Raises RemoteError."""
    try:
        async with asyncio.timeout(patience):
            return await _ask(server, host)
    except (OSError, TimeoutError) as error:
        raise _silent(server, error) from error


async def relayed_at(server: dict[str, Any], patience: float = PATIENCE) -> Relay:
    """Have a TURN server (as aioice wants it) relay for us, and give that back. RemoteError."""
    gone = asyncio.get_running_loop().create_future()
    address: Address = server["turn_server"]
    try:
        async with asyncio.timeout(patience):
            transport, _ = await turn.create_turn_endpoint(
                lambda: _Receiver(gone),
                server_addr=address,
                username=server["turn_username"],
                password=server["turn_password"],
                ssl=server["turn_ssl"],
                transport=server["turn_transport"],
            )
    except stun.TransactionFailed as error:
        raise RemoteError(
            f"{_shown(address)} gives no relay: {error}",
            remedy="Are user name and password right, and does the server allow relaying?",
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise RemoteError(
            f"{_shown(address)}: the certificate is not trusted: {error.verify_message}",
            remedy="Write the name that the certificate is for, not an address. Is it the server's "
            "whole chain? An authority of your own has to be among the system's "
            "(update-ca-certificates), or in the file that SSL_CERT_FILE names.",
        ) from error
    except ssl.SSLError as error:
        raise RemoteError(
            f"{_shown(address)}: no TLS: {error.reason or error}",
            remedy="turns: wants the server's port for TLS, usually 5349; turn: is without TLS.",
        ) from error
    except (OSError, TimeoutError, stun.TransactionError) as error:
        raise _silent(address, error) from error
    relayed, seen = (transport.get_extra_info(each) for each in ("sockname", "related_address"))
    transport.close()
    await asyncio.wait([gone], timeout=_GOODBYE)
    return Relay(f"{relayed[0]}:{relayed[1]}", str(seen[0]))


def _silent(server: Address, error: Exception) -> RemoteError:
    reason = "no answer" if isinstance(error, TimeoutError | stun.TransactionError) else str(error)
    return RemoteError(
        f"{_shown(server)} does not answer: {reason}",
        remedy="Is its name right, does it run, and does a firewall let UDP (or TCP) through?",
    )


def _shown(server: Address) -> str:
    return f"{server[0]}:{server[1]}"


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, gone: "asyncio.Future[None]") -> None:
        self._gone = gone

    def connection_lost(self, error: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)


class _Binding(asyncio.DatagramProtocol):
    """Asks once more and once more; the first answer counts."""

    def __init__(self) -> None:
        self.seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.request = stun.Message(
            message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST
        )

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            message = stun.parse_message(data)
        except ValueError:
            return
        mapped = message.attributes.get("XOR-MAPPED-ADDRESS")
        same = message.transaction_id == self.request.transaction_id
        if same and mapped and not self.seen.done():
            self.seen.set_result(str(mapped[0]))

    def error_received(self, error: Exception) -> None:
        if not self.seen.done():
            self.seen.set_exception(error)


async def _ask(server: Address, host: str) -> str:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        _Binding, local_addr=(host, 0), remote_addr=server
    )
    try:
        while True:
            transport.sendto(bytes(protocol.request))
            done, _ = await asyncio.wait([protocol.seen], timeout=_AGAIN)
            if done:
                return protocol.seen.result()
    finally:
        transport.close()
