# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to end a dialog that outlived the process (RFC 3261 section 12), kept as JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Final

from bridge.sip.messages import Message, parse_name_addr

CSEQ_GAP: Final = 1000
"""Ahead of every request that the stack sent since: a gap is allowed (RFC 3261 12.2.2)."""
_STACK_CSEQ: Final = 0x7FFF
"""pjsip starts its CSeq anywhere up to here in a dialog that it did not begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogState:
    """An established dialog, as we would write it into our next request."""

    trunk: str
    transport: str
    """`udp`, `tcp` or `tls`."""
    peer: str
    """`host:port` that the dialog's messages came from."""
    call_id: str
    local: str
    """Value of From, with our tag."""
    remote: str
    """Value of To, with the far end's tag."""
    target: str
    routes: tuple[str, ...]
    """Values of Route, nearest first."""
    cseq: int
    """A sequence number that we have not passed by more than `CSEQ_GAP`."""

    def to_json(self) -> str:
        """For the call's record."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "DialogState":
        """Raises ValueError if `text` is not what `to_json` wrote."""
        try:
            fields = json.loads(text)
            return cls(**{**fields, "routes": tuple(fields["routes"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a dialog: {error}") from error


def as_caller(answer: Message, trunk: str, transport: str, peer: str) -> DialogState:
    """Our dialog, out of the 200 to our INVITE."""
    return DialogState(
        trunk=trunk,
        transport=transport,
        peer=peer,
        call_id=answer.first("call-id"),
        local=answer.first("from"),
        remote=answer.first("to"),
        target=parse_name_addr(next(answer.every("contact"), "")).uri,
        routes=tuple(reversed(list(answer.every("record-route")))),
        cseq=answer.cseq[0],
    )


def as_callee(invite: Message, ack: Message, trunk: str, transport: str, peer: str) -> DialogState:
    """Our dialog, out of the INVITE and the ACK to our 200 (whose To has our tag)."""
    return DialogState(
        trunk=trunk,
        transport=transport,
        peer=peer,
        call_id=invite.first("call-id"),
        local=ack.first("to"),
        remote=ack.first("from"),
        target=parse_name_addr(next(invite.every("contact"), "")).uri,
        routes=tuple(invite.every("record-route")),
        cseq=_STACK_CSEQ,
    )
