# SPDX-License-Identifier: GPL-3.0-or-later
"""A name server for the SIP stack alone, on loopback: the stack never waits for a name.

Left to itself it calls getaddrinfo, and nothing else happens until that returns. With a name server
it asks and goes on. This one knows where the servers of TLS trunks are, whose names have to stay in
the URIs because certificates are for names; what else the stack asks for, such as the host in the
Contact of somebody at the far end, it looks up on the loop.
"""

import asyncio
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import structlog

from bridge.sip.lookup import IpAddress, Lookup

log = structlog.get_logger(__name__)

LOOPBACK: Final = "127.0.0.1"
_TTL: Final = 30
"""Seconds that the stack may remember what was looked up for it."""


class Names(asyncio.DatagramProtocol):
    """Answers the SIP stack's questions. `point` may be called on any thread."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._known: dict[str, IpAddress] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        """Listen; gives the port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, 0))
        self._transport = transport
        return int(transport.get_extra_info("sockname")[1])

    def close(self) -> None:
        """Answer no more."""
        for task in self._tasks:
            task.cancel()
        if self._transport:
            self._transport.close()
            self._transport = None

    def point(self, name: str, address: IpAddress) -> None:
        """Say that this is where a name is, whatever name servers say."""
        self._known[_key(name)] = address

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A question."""
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        if not query.question or query.flags & dns.flags.QR:
            return
        task = asyncio.get_running_loop().create_task(self._answer(query, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, query: dns.message.Message, addr: tuple[str, int]) -> None:
        response = dns.message.make_response(query, recursion_available=True)
        for question in query.question:
            try:
                response.answer.extend(await self._records(question.name, question.rdtype))
            except Exception:
                # A name server that fails is not asked again for a minute: rather say too little.
                log.exception("cannot answer the SIP stack")
        if self._transport:
            self._transport.sendto(response.to_wire(), addr)

    async def _records(
        self, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> list[dns.rrset.RRset]:
        text = name.to_text(omit_final_dot=True)
        if kind == dns.rdatatype.SRV:
            services = await self._lookup.services(text)
            records = [f"{at} 0 {port} {host}." for at, (host, port) in enumerate(services)]
            return [dns.rrset.from_text(name, _TTL, "IN", "SRV", *records)] if records else []
        version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(kind)
        if version is None:
            return []
        if known := self._known.get(_key(text)):
            # It may be another one the next time.
            addresses, ttl = [known], 0
        else:
            (addresses, _), ttl = await self._lookup.addresses(text), _TTL
        records = [str(each) for each in addresses if each.version == version]
        return [dns.rrset.from_text(name, ttl, "IN", kind.name, *records)] if records else []


def _key(name: str) -> str:
    return name.rstrip(".").lower()
