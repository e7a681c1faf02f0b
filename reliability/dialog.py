# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of a telephone's: as much SIP (RFC 3261) as the calls of this suite need."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Final, Protocol

from bridge.sip.messages import Message, parse_name_addr

GIVE_UP: Final = 32.0
"""Seconds (64*T1) after which a request is not repeated any more."""
ALLOW: Final = "INVITE, ACK, BYE, CANCEL, UPDATE, REFER, NOTIFY, INFO, OPTIONS"
_MIRRORED: Final = {"sendonly": "recvonly", "recvonly": "sendonly"}

Describe = Callable[[str], str]
"""The description of an end, for a direction such as `sendrecv`."""


def branch() -> str:
    """A new one (RFC 3261 section 8.1.1.7)."""
    return f"z9hG4bK{secrets.token_hex(8)}"


def direction_of(sdp: str) -> str:
    """The direction of a description."""
    found = [line[2:].strip() for line in sdp.splitlines() if line.startswith("a=")]
    return next((each for each in found if each in (*_MIRRORED, "inactive")), "sendrecv")


def written(start: str, headers: list[tuple[str, str]], body: str = "") -> bytes:
    """A message as it goes over the network."""
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", body)).encode()


class Wire(Protocol):
    """What carries the messages of dialogs."""

    here: str
    """`host:port` of the telephones."""
    bridge: str
    """`host:port` of the other side."""

    def send(self, data: bytes) -> None:
        """Send once."""

    async def ask(
        self, key: str, dialog: "Dialog", data: bytes, *, within: float | None
    ) -> Message | None:
        """Send a request until it has a final response, and give that."""

    def respond(
        self, request: Message, status: int, *, tag: str, sdp: str = "", user: str = "pbx"
    ) -> None:
        """Answer a request."""

    def acknowledge(self, dialog: "Dialog", ack: bytes) -> None:
        """ACK a 200, now and whenever it is repeated."""

    def forget(self, dialog: "Dialog") -> None:
        """A call is over."""

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Do something meanwhile."""


class Dialog:
    """One call, from the telephone's side."""

    def __init__(
        self, exchange: Wire, call_id: str, user: str, describe: Describe, *, peer: str
    ) -> None:
        """`peer`: what goes into To (of a call from here) or came in From."""
        self.call_id = call_id
        self.user = user
        """The number of the telephone."""
        self.describe = describe
        self.peer = peer
        self.tag = secrets.token_hex(6)
        self.target = ""
        self.status = 0
        """The final one of the INVITE; 0 as long as there is none."""
        self.retry_after = ""
        self.remote_sdp = ""
        self.replaces = ""
        """Which dialog this one is to replace."""
        self.ended_by = ""
        """`us` or `them`."""
        self.rang = asyncio.Event()
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()
        self.redescribed: Callable[[], None] = lambda: None
        """Told when the other side described itself anew."""
        self.referred: list[str] = []
        """Where the other side asked us to call."""
        self.told: list[str] = []
        """What NOTIFY said of a transfer: `SIP/2.0 180 Ringing`."""
        self._exchange = exchange
        self._cseq = secrets.randbelow(1000) + 1
        self._invite: Message | None = None
        self._own_branch = branch()

    @property
    def incoming(self) -> bool:
        """Whether the other side called."""
        return self._invite is not None

    # --- what a telephone does ------------------------------------------------------------------

    async def place(self, dials: str) -> int:
        """Call; the final status."""
        self.target = f"sip:{dials}@{self._exchange.bridge}"
        self.peer = f"<{self.target}>"
        reply = await self._request(
            "INVITE", self.describe("sendrecv"), own_branch=self._own_branch, within=None
        )
        if reply is None:
            self._over("us")
            return self.status
        self.status = reply.status
        self.retry_after = reply.first("retry-after")
        if reply.status >= 300:
            self._over("them")
            return reply.status
        self.answered.set()
        self._learn(reply)
        self._exchange.acknowledge(self, self._ack())
        return reply.status

    async def cancel(self) -> None:
        """Give up a call that is not answered yet."""
        data = self._written("CANCEL", self._own_branch, cseq=self._cseq)
        await self._exchange.ask(f"{self._cseq} CANCEL", self, data, within=GIVE_UP)

    def ring(self) -> None:
        """It rings here."""
        self._respond(180)

    def answer(self) -> None:
        """Take the call that rings here."""
        self.status = 200
        self._respond(200, self.describe("sendrecv"))
        self.answered.set()
        self.redescribed()

    def refuse(self, status: int) -> None:
        """Do not take it."""
        self.status = status
        self._respond(status)
        self._over("us")

    async def hang_up(self) -> int:
        """End the call; what BYE was answered, 0 for nothing."""
        self._over("us")
        reply = await self._request("BYE")
        return reply.status if reply else 0

    async def redescribe(self, direction: str) -> int:
        """re-INVITE, to hold the call or to take it back."""
        reply = await self._request("INVITE", self.describe(direction))
        if reply is not None and reply.status == 200:
            self._learn(reply)
            self._exchange.acknowledge(self, self._ack())
        return reply.status if reply else 0

    async def refer(self, target: str) -> int:
        """Ask the other side to call somebody else."""
        more = [("Refer-To", f"<{target}>"), ("Referred-By", f"<sip:{self.user}@pbx.test>")]
        reply = await self._request("REFER", more=more)
        return reply.status if reply else 0

    # --- what comes -----------------------------------------------------------------------------

    def invited(self, invite: Message) -> None:
        """The call begins, from the other side."""
        self._invite = invite
        self.target = parse_name_addr(invite.first("contact")).uri
        self.remote_sdp = invite.sdp or ""
        self.replaces = invite.first("replaces")

    def request(self, message: Message) -> None:
        """A request within the call."""
        match message.method:
            case "CANCEL":
                self._exchange.respond(message, 200, tag=self.tag)
                if self._invite is not None and not self.status:
                    self.refuse(487)
                    self.ended_by = "them"
            case "BYE":
                self._exchange.respond(message, 200, tag=self.tag)
                self._over("them")
            case "INVITE" | "UPDATE":
                self._changed(message)
            case "REFER":
                self._exchange.respond(message, 202, tag=self.tag)
                self._is_referred(message)
            case "NOTIFY":
                self.told.append(message.body.partition("\r\n")[0].strip())
                self._exchange.respond(message, 200, tag=self.tag)
            case "INFO" | "OPTIONS":
                self._exchange.respond(message, 200, tag=self.tag)
            case _:
                self._exchange.respond(message, 501, tag=self.tag)

    def _changed(self, message: Message) -> None:
        if self.ended.is_set():
            self._exchange.respond(message, 481, tag=self.tag)
            return
        self.remote_sdp = message.sdp or self.remote_sdp
        direction = direction_of(message.sdp or "")
        self._exchange.respond(
            message, 200, tag=self.tag, sdp=self.describe(_MIRRORED.get(direction, direction))
        )
        self.redescribed()

    def _is_referred(self, message: Message) -> None:
        self.referred.append(parse_name_addr(message.first("refer-to")).uri)
        self._exchange.spawn(self._tell_of_transfer())

    async def _tell_of_transfer(self) -> None:
        """As a telephone that calls whom it was pointed to, and reaches them."""
        for state, said in (("active;expires=60", "100 Trying"), ("terminated", "200 OK")):
            more = [
                ("Event", "refer"),
                ("Subscription-State", state),
                ("Content-Type", "message/sipfrag;version=2.0"),
            ]
            await self._request("NOTIFY", f"SIP/2.0 {said}\r\n", more=more)

    def _learn(self, reply: Message) -> None:
        self.peer = reply.first("to")
        self.target = parse_name_addr(reply.first("contact")).uri or self.target
        self.remote_sdp = reply.sdp or self.remote_sdp
        self.redescribed()

    def _over(self, by: str) -> None:
        if not self.ended.is_set():
            self.ended_by = by
            self.ended.set()
            self._exchange.forget(self)

    # --- messages -------------------------------------------------------------------------------

    async def _request(
        self,
        method: str,
        body: str = "",
        *,
        more: list[tuple[str, str]] | None = None,
        own_branch: str = "",
        within: float | None = GIVE_UP,
    ) -> Message | None:
        self._cseq += 1
        own_branch, cseq = own_branch or branch(), self._cseq
        data = self._written(method, own_branch, body, more, cseq=cseq)
        reply = await self._exchange.ask(f"{cseq} {method}", self, data, within=within)
        if reply is not None and method == "INVITE" and reply.status >= 300:
            self.peer = reply.first("to") if not self.answered.is_set() else self.peer
            self._exchange.send(self._written("ACK", own_branch, cseq=cseq))
        return reply

    def _written(
        self,
        method: str,
        own_branch: str,
        body: str = "",
        more: list[tuple[str, str]] | None = None,
        *,
        cseq: int,
    ) -> bytes:
        headers = [
            ("Via", f"SIP/2.0/UDP {self._exchange.here};branch={own_branch}"),
            ("Max-Forwards", "70"),
            ("From", self._us()),
            ("To", self.peer),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<sip:{self.user}@{self._exchange.here}>"),
            ("Allow", ALLOW),
            *(more or []),
        ]
        if body.startswith("v=0"):
            headers.append(("Content-Type", "application/sdp"))
        return written(f"{method} {self.target} SIP/2.0", headers, body)

    def _us(self) -> str:
        if self._invite is not None:
            return f"{self._invite.first('to')};tag={self.tag}"
        return f"<sip:{self.user}@{self._exchange.here}>;tag={self.tag}"

    def _ack(self) -> bytes:
        return self._written("ACK", branch(), cseq=self._cseq)

    def _respond(self, status: int, sdp: str = "") -> None:
        assert self._invite is not None
        self._exchange.respond(self._invite, status, tag=self.tag, sdp=sdp, user=self.user)
