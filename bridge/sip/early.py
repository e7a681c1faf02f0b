# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to end a call that only rang when the process died, kept as JSON.

Who sent the INVITE can cancel it (RFC 3261 section 9.1), who got it can refuse it (section
13.3.1.4): both with what the transaction's own messages said.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from bridge.sip.endings import STOPPING
from bridge.sip.messages import Message

_RINGS: Final = "rings"
_REASON: Final = "Reason: Q.850;cause=41"
_OF_REQUEST: Final = ("via", "route", "from", "to", "call-id")
_OF_RESPONSE: Final = ("via", "record-route", "from", "to", "call-id")
_NAMES: Final = {"call-id": "Call-ID", "record-route": "Record-Route"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyState:
    """An INVITE that waits for its final response. `headers`: those of the message, in order."""

    transport: str
    """`udp`, `tcp` or `tls`."""
    peer: str
    """`host:port` that the messages of the call came from."""
    uri: str
    """The INVITE's, if we sent it; else empty."""
    cseq: int
    headers: tuple[tuple[str, str], ...]

    def to_json(self) -> str:
        """For the call's record."""
        return json.dumps({_RINGS: asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "EarlyState | None":
        """None if it is of a dialog. Raises ValueError if `to_json` did not write it."""
        try:
            fields = json.loads(text).get(_RINGS)
            if fields is None:
                return None
            headers = tuple((str(name), str(value)) for name, value in fields["headers"])
            return cls(**{**fields, "headers": headers})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a call that rings: {error}") from error

    @property
    def is_ours(self) -> bool:
        """Whether we sent the INVITE."""
        return bool(self.uri)

    @property
    def branch(self) -> str:
        """That of the INVITE's topmost Via."""
        via = next((value for name, value in self.headers if name == "via"), "")
        return via.partition("branch=")[2].partition(";")[0].partition(",")[0].strip()

    def cancel(self, user_agent: str) -> str:
        """The CANCEL."""
        more = [_REASON, f"User-Agent: {user_agent}"]
        return self._request("CANCEL", self.headers, more)

    def acknowledgement(self, response: Message) -> str:
        """The ACK to a response that refuses our INVITE (RFC 3261 section 17.1.1.3)."""
        to = ("to", response.first("to"))
        headers = [to if header[0] == "to" else header for header in self.headers]
        return self._request("ACK", headers)

    def refusal(self) -> str:
        """The 503 to their INVITE."""
        return _text(
            "SIP/2.0 503 Service Unavailable",
            [*_lines(self.headers), f"CSeq: {self.cseq} INVITE"],
            [_REASON, f"Retry-After: {STOPPING}"],
        )

    def _request(
        self, method: str, headers: Sequence[tuple[str, str]], more: Sequence[str] = ()
    ) -> str:
        lines = [*_lines(headers), f"CSeq: {self.cseq} {method}", "Max-Forwards: 70"]
        return _text(f"{method} {self.uri} SIP/2.0", lines, more)


def early_of(message: Message, transport: str, peer: str) -> EarlyState:
    """Out of the INVITE that we sent, or of our 180 to the one that we got."""
    sent = message.method == "INVITE"
    wanted = _OF_REQUEST if sent else _OF_RESPONSE
    return EarlyState(
        transport=transport,
        peer=peer,
        uri=message.request_uri if sent else "",
        cseq=message.cseq[0],
        headers=tuple(header for header in message.headers if header[0] in wanted),
    )


def _lines(headers: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{_NAMES.get(name, name.title())}: {value}" for name, value in headers]


def _text(start: str, lines: Sequence[str], more: Sequence[str]) -> str:
    return "\r\n".join([start, *lines, *more, "Content-Length: 0", "", ""])
