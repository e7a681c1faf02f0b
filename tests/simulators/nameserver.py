# SPDX-License-Identifier: GPL-3.0-or-later
"""A name server on loopback, whose records a test changes as it goes."""

import asyncio

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer(asyncio.DatagramProtocol):
    """Knows what `say` told it; `asked` is what it was asked, as `(name, type)`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.silent = False
        """Whether it leaves questions without an answer."""
        self._records: dict[tuple[str, str], tuple[int, tuple[str, ...]]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> "NameServer":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport
        self._transport.close()

    @property
    def address(self) -> str:
        """`address:port`."""
        assert self._transport
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def say(self, name: str, kind: str, *records: str, ttl: int = 300) -> None:
        """From now on, these are the records of a type that a name has; none: it has none."""
        self._records[name.lower(), kind] = (ttl, records)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A question."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent or self._transport is None:
            return
        response = dns.message.make_response(query, recursion_available=True)
        ttl, records = self._records.get((name, kind), (0, ()))
        if records:
            response.answer.append(dns.rrset.from_text(question.name, ttl, "IN", kind, *records))
        elif name not in {known for known, _ in self._records}:
            response.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(response.to_wire(), addr)
