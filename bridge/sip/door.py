# SPDX-License-Identifier: GPL-3.0-or-later
"""Who comes in: trunks and accounts, as often as they may; strangers do not. SIP thread only."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from bridge.call.causes import Cause
from bridge.call.ids import TrunkName
from bridge.sip.buckets import Buckets
from bridge.sip.messages import parse
from bridge.sip.repeats import Repeats
from bridge.sip.served import NOT_UNDERSTOOD, TAKEN, overcharged, unserved
from bridge.sip.sieve import Arrived, Fate, Refuse
from bridge.sip.strangers import Reason, Strangers
from bridge.sip.trunks import Peers, network_of

_CALL_ID: Final = re.compile(rb"^(?:Call-ID|i)[ \t]*:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
_TO_TAG: Final = re.compile(
    rb"^(?:To|t)[ \t]*:[^\r\n]*;[ \t]*tag[ \t]*=", re.IGNORECASE | re.MULTILINE
)
_CSEQ: Final = re.compile(rb"^CSeq[ \t]*:\s*+\d++\s++(\S+)", re.IGNORECASE | re.MULTILINE)
_RATE: Final = 1.0
_BURST: Final = 20.0
"""Requests of a stranger that are answered, and logged, a second and at once. fail2ban bans after
five by default."""
_RATE_OF_ALL: Final = 100.0
_BURST_OF_ALL: Final = 200.0
"""The same of all strangers: over UDP, an address is easily forged."""
_ANSWERS: Final = 50.0
"""Responses a second that are looked at from an address that is nobody's."""
_BEGINS: Final = frozenset({b"OPTIONS", b"MESSAGE"})
"""INVITE has a way of its own."""
_GONE: Final = Refuse(503, "Service Unavailable")
"""Of a trunk that has calls yet, but is used no more: it is no stranger."""
_FORBIDDEN: Final = Refuse(403, "Forbidden")
_MISMATCH: Final = Refuse(400, "CSeq Names Another Method")
_BUSY: Final = Refuse(503, "Too Many Calls\r\nRetry-After: 5")
"""The stack's way to answer has no place for headers, but writes the phrase as it is."""

Refused = Callable[[str, str, Cause, int, TrunkName | None], None]
"""Told of a call that was refused: text, address, why, status (0: no answer), trunk."""


@dataclass(slots=True)
class Door:
    """`live`: whether a Call-ID is one of a call of ours, which goes on whoever continues it.

    `informed`: takes an INFO with something in it; False if that is not understood, None if it is
    for no call. `closing`: seconds after which the bridge, which is about
    to stop, takes calls again, as OPTIONS is told; 0: it takes them.
    `heard` and `welcome` are told by which connection a stranger's message came, or another's.
    `call_refused` is told of each INVITE that went no further.
    """

    manner: Literal["reject", "drop"]
    peers: Peers
    strangers: Strangers
    live: Callable[[str], bool]
    buckets: Buckets
    informed: Callable[[str, bytes], bool | None]
    closing: Callable[[], int]
    heard: Callable[[int], None]
    welcome: Callable[[int], None]
    call_refused: Refused
    repeats: "Repeats[Fate | Refuse]"

    @classmethod
    def of(
        cls,
        manner: Literal["reject", "drop"],
        peers: Peers,
        strangers: Strangers,
        live: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
        informed: Callable[[str, bytes], bool | None] = lambda call, data: False,
        closing: Callable[[], int] = lambda: 0,
        heard: Callable[[int], None] = lambda connection: None,
        welcome: Callable[[int], None] = lambda connection: None,
        call_refused: Refused = lambda *call: None,
    ) -> "Door":
        """A door with nobody before it yet."""
        return cls(
            manner,
            peers,
            strangers,
            live,
            Buckets(clock),
            informed,
            closing,
            heard,
            welcome,
            call_refused,
            Repeats(clock),
        )

    def judge(self, arrived: Arrived) -> Fate | Refuse:
        """What becomes of a message."""
        call_id = _CALL_ID.search(arrived.data)
        name = call_id[1].decode("utf-8", "surrogateescape") if call_id else ""
        if name and self.live(name):
            self.welcome(arrived.connection)
            return self._of_call(name, arrived.data)
        known = self.peers.knows(arrived.host)
        if arrived.data.startswith(b"SIP/2.0 "):
            self.heard(arrived.connection)
            return Fate.PASS if known or self._answers(arrived.host) else Fate.DROP
        method, _, rest = arrived.data.partition(b" ")
        # The mark in our registered Contact is in the Request-URI, wherever it comes from.
        trunk = self._trunk_of(arrived) if known or b";line=" in rest.partition(b"\n")[0] else None
        if trunk is not None:
            self.welcome(arrived.connection)
            if method == b"INVITE" and not _TO_TAG.search(arrived.data):
                return self._call_of(trunk, arrived)
            return self._of_trunk(trunk, method, arrived.data)
        self.heard(arrived.connection)
        return self._of_stranger(arrived, method.decode("ascii", "replace"))

    def malformed(self, host: str) -> None:
        """The stack threw away what came from `host`, as it could not be read."""
        if self.peers.knows(host):
            self.strangers.trunk_malformed(host)
        else:
            self.refused(host, Reason.MALFORMED)

    def refused(self, host: str, reason: Reason) -> None:
        """Something of a stranger's was sent away that was no request."""
        self.strangers.refused(host, reason if self._hears(host) else Reason.RATE)

    def _trunk_of(self, arrived: Arrived) -> TrunkName | None:
        text = arrived.data.decode("utf-8", "surrogateescape")
        return self.peers.trunk_of(parse(text), arrived.host)

    def _of_call(self, call_id: str, data: bytes) -> Fate | Refuse:
        method = data.partition(b" ")[0].decode("ascii", "replace")
        if method == "SIP/2.0":
            return Fate.PASS
        answer = unserved(method, data, tagged=True, live=True) or overcharged(method, data)
        if answer is None and method == "INFO":
            understood = self.informed(call_id, data)
            return Fate.PASS if understood is None else TAKEN if understood else NOT_UNDERSTOOD
        return answer or Fate.PASS

    def _of_trunk(self, trunk: TrunkName, method: bytes, data: bytes) -> Fate | Refuse:
        if refusal := _malformed(method, data):
            return refusal
        tagged = _TO_TAG.search(data) is not None
        name = method.decode("ascii", "replace")
        if refusal := unserved(name, data, tagged=tagged) or overcharged(name, data):
            return refusal
        if not tagged and method in _BEGINS and self.peers.is_retired(trunk):
            return _GONE
        if method == b"OPTIONS" and (seconds := self.closing()):
            return Refuse(503, f"Service Unavailable\r\nRetry-After: {seconds}")
        return Fate.PASS

    def _call_of(self, trunk: TrunkName, arrived: Arrived) -> Fate | Refuse:
        """Of an INVITE that begins a call: the same as before, if it is sent again."""
        invite = (arrived.host, arrived.port, arrived.data)
        fate = self.repeats.before(*invite)
        if fate is None:
            fate = self._new_call_of(trunk, arrived)
            self.repeats.remember(fate, *invite)
        return fate

    def _new_call_of(self, trunk: TrunkName, arrived: Arrived) -> Fate | Refuse:
        if refusal := _malformed(b"INVITE", arrived.data):
            return self._no_call(arrived, refusal, Cause.BAD_REQUEST, trunk)
        if self.peers.is_retired(trunk):
            return self._no_call(arrived, _GONE, Cause.NOT_PERMITTED, trunk)
        rate = self.peers.calls_per_second(trunk)
        # Twice as many at once: what waited in a PBX that was restarted comes in a rush.
        if self.buckets.take(trunk, rate, max(1.0, 2 * rate)):
            return Fate.PASS
        self.strangers.trunk_refused(trunk)
        return self._no_call(arrived, _BUSY, Cause.TOO_FREQUENT, trunk)

    def _no_call(
        self, arrived: Arrived, fate: Fate | Refuse, cause: Cause, trunk: TrunkName | None = None
    ) -> Fate | Refuse:
        status = fate.status if isinstance(fate, Refuse) else 0
        text = arrived.data.decode("utf-8", "surrogateescape")
        self.call_refused(text, arrived.host, cause, status, trunk)
        return fate

    def _of_stranger(self, arrived: Arrived, method: str) -> Fate | Refuse:
        if method == "ACK":  # Of our refusal, most likely.
            return Fate.DROP
        fate: Fate | Refuse = Fate.DROP
        if not self._hears(arrived.host):
            self.strangers.refused(arrived.host, Reason.RATE, method)
        else:
            self.strangers.refused(arrived.host, Reason.STRANGER, method)
            fate = _FORBIDDEN if self.manner == "reject" else Fate.DROP
        if method == "INVITE" and not _TO_TAG.search(arrived.data):
            self._no_call(arrived, fate, Cause.STRANGER)
        return fate

    def _hears(self, host: str) -> bool:
        """Whether a stranger is worth an answer, and a line in the log."""
        return self.buckets.take(network_of(host), _RATE, _BURST) and self.buckets.take(
            "everybody", _RATE_OF_ALL, _BURST_OF_ALL
        )

    def _answers(self, host: str) -> bool:
        return self.buckets.take(("answers", network_of(host)), _ANSWERS, _ANSWERS)


def _malformed(method: bytes, data: bytes) -> Refuse | None:
    """What the stack would take all the same (RFC 3261 section 8.1.1.5)."""
    cseq = _CSEQ.search(data)
    return _MISMATCH if cseq and cseq[1] != method != b"ACK" else None
