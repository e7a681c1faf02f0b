# SPDX-License-Identifier: GPL-3.0-or-later
"""A PBX in one process, over UDP: many telephones, each call step by step as it is told.

It repeats what is not answered, and can fall silent, or answer with what is no SIP at all.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Final

from bridge.sip.messages import Message, parse, parse_uri, tag_of
from reliability.dialog import ALLOW, GIVE_UP, Describe, Dialog, written

_T1: Final = 0.5
_T2: Final = 4.0
_PHRASES: Final = {
    180: "Ringing",
    200: "OK",
    202: "Accepted",
    404: "Not Found",
    481: "Call Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    501: "Not Implemented",
    603: "Decline",
}


class Exchange(asyncio.DatagramProtocol):
    """All telephones behind one address, which is a trunk of the bridge's."""

    def __init__(self, host: str, port: int, bridge: str) -> None:
        """`bridge`: `host:port` that it listens at."""
        self.here = f"{host}:{port}"
        self.bridge = bridge
        self.silent = False
        """Nothing is heard, and nothing is said."""
        self.garbled: Callable[[], bytes] | None = None
        """What is said instead of everything that should be."""
        self.unexpected: list[str] = []
        """Numbers that were called although nobody waited for that."""
        self.dialogs: dict[str, Dialog] = {}
        self._host, self._port = host, port
        self._awaited: dict[str, asyncio.Future[Dialog]] = {}
        self._describes: dict[str, Describe] = {}
        self._unheard: set[str] = set()
        """Calls of which something was not understood: by now, they may have been given up."""
        self._asked: dict[tuple[str, str], asyncio.Future[Message]] = {}
        self._answered: dict[tuple[str, str], bytes] = {}
        self._acks: dict[tuple[str, int], bytes] = {}
        self._unacknowledged: set[tuple[str, int]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self._host, self._port)
        )

    async def stop(self) -> None:
        """Stop, without a goodbye to anybody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport:
            self._transport.close()

    def dialog(self, user: str, describe: Describe) -> Dialog:
        """A call from a telephone here, which is still to be placed."""
        found = Dialog(self, f"{secrets.token_hex(10)}@pbx", user, describe, peer="")
        self.dialogs[found.call_id] = found
        return found

    def expect(self, user: str, describe: Describe) -> asyncio.Future[Dialog]:
        """The next call to a number, when it comes."""
        found: asyncio.Future[Dialog] = asyncio.get_running_loop().create_future()
        self._awaited[user], self._describes[user] = found, describe
        return found

    def forget(self, dialog: Dialog) -> None:
        """A call is over. What comes late about it is answered for a while."""
        asyncio.get_running_loop().call_later(GIVE_UP, self._drop, dialog.call_id)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Do something meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def live(self) -> list[Dialog]:
        """Calls that are not over."""
        return [each for each in self.dialogs.values() if not each.ended.is_set()]

    # --- out ------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send to the bridge."""
        if self._transport is None or self.silent:
            return
        host, _, port = self.bridge.partition(":")
        self._transport.sendto(self.garbled() if self.garbled else data, (host, int(port)))

    async def ask(
        self, key: str, dialog: Dialog, data: bytes, *, within: float | None
    ) -> Message | None:
        """Send a request until it has a final response; None if there is none in time.

        `within` is None for an INVITE, which may ring for long once it was answered by anything.
        """
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[dialog.call_id, key] = reply
        pause, waited = _T1, 0.0
        try:
            while not reply.done() and waited < GIVE_UP:
                self.send(data)
                await asyncio.wait([reply], timeout=pause)
                if within is None and dialog.rang.is_set():
                    break
                waited, pause = waited + pause, min(2 * pause, _T2)
            if within is None and dialog.rang.is_set():
                return await reply
            return reply.result() if reply.done() else None
        finally:
            self._asked.pop((dialog.call_id, key), None)

    def respond(
        self, request: Message, status: int, *, tag: str, sdp: str = "", user: str = "pbx"
    ) -> None:
        """Answer a request, and keep the answer for when it is repeated."""
        to = request.first("to")
        headers = [
            *(("Via", value) for name, value in request.headers if name == "via"),
            *(("Record-Route", v) for name, v in request.headers if name == "record-route"),
            ("From", request.first("from")),
            ("To", to if tag_of(to) else f"{to};tag={tag}"),
            ("Call-ID", request.first("call-id")),
            ("CSeq", request.first("cseq")),
            ("Contact", f"<sip:{user}@{self.here}>"),
            ("Allow", ALLOW),
            *([("Content-Type", "application/sdp")] if sdp else []),
        ]
        data = written(f"SIP/2.0 {status} {_PHRASES[status]}", headers, sdp)
        if status >= 200:
            self._answered[_transaction(request)] = data
            asyncio.get_running_loop().call_later(
                GIVE_UP, self._answered.pop, _transaction(request), None
            )
        self.send(data)
        if status == 200 and request.method == "INVITE":
            key = (request.first("call-id"), request.cseq[0])
            self._unacknowledged.add(key)
            self.spawn(self._until_acknowledged(key, data))

    def acknowledge(self, dialog: Dialog, ack: bytes) -> None:
        """ACK a 200, now and whenever it is repeated."""
        self._acks[dialog.call_id, parse(ack.decode()).cseq[0]] = ack
        self.send(ack)

    async def _until_acknowledged(self, key: tuple[str, int], data: bytes) -> None:
        pause, waited = _T1, 0.0
        while waited < GIVE_UP:
            await asyncio.sleep(pause)
            if key not in self._unacknowledged:
                return
            self.send(data)
            waited, pause = waited + pause, min(2 * pause, _T2)
        self._unacknowledged.discard(key)

    # --- in ---------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """A message came in."""
        message = parse(data.decode(errors="replace"))
        if self.silent or self.garbled is not None:
            self._unheard.add(message.first("call-id"))
        if self.silent:
            return
        if self.garbled is not None:
            self.send(b"")
        elif message.status:
            self._response(message)
        else:
            self._request(message)

    def _response(self, message: Message) -> None:
        call_id, (number, method) = message.first("call-id"), message.cseq
        dialog = self.dialogs.get(call_id)
        if dialog is not None and 100 <= message.status < 200 and method == "INVITE":
            dialog.rang.set()
        waiting = self._asked.get((call_id, f"{number} {method}"))
        if message.status >= 200 and waiting is not None and not waiting.done():
            waiting.set_result(message)
        elif message.status == 200 and method == "INVITE" and (call_id, number) in self._acks:
            self.send(self._acks[call_id, number])

    def _request(self, message: Message) -> None:
        call_id = message.first("call-id")
        if message.method == "ACK":
            self._unacknowledged.discard((call_id, message.cseq[0]))
            return
        known = self._answered.get(_transaction(message))
        dialog = self.dialogs.get(call_id)
        if known is not None:
            self.send(known)
        elif dialog is not None:
            repeated = message.method == "INVITE" and not tag_of(message.first("to"))
            if not repeated:
                dialog.request(message)
        elif message.method == "INVITE":
            self._invited(message)
        else:
            self.respond(message, 200 if message.method == "OPTIONS" else 481, tag="none")

    def _invited(self, invite: Message) -> None:
        user = parse_uri(invite.request_uri).user
        waiting = self._awaited.pop(user, None)
        if waiting is None or waiting.done():
            if invite.first("call-id") not in self._unheard:
                self.unexpected.append(user)
            self.respond(invite, 404, tag=secrets.token_hex(4))
            return
        describe, peer = self._describes.pop(user), invite.first("from")
        dialog = Dialog(self, invite.first("call-id"), user, describe, peer=peer)
        dialog.invited(invite)
        self.dialogs[dialog.call_id] = dialog
        waiting.set_result(dialog)

    def _drop(self, call_id: str) -> None:
        self.dialogs.pop(call_id, None)
        for key in [key for key in self._acks if key[0] == call_id]:
            del self._acks[key]


def _transaction(request: Message) -> tuple[str, str]:
    return request.first("via"), request.method
