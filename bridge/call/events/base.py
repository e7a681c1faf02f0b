# SPDX-License-Identifier: GPL-3.0-or-later
"""What all events have in common."""

from dataclasses import dataclass
from enum import Enum


class SdpType(Enum):
    """The role of a session description in offer/answer (RFC 3264)."""

    OFFER = "offer"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a Matrix client said it can do. `negotiate`: it can answer `m.call.negotiate`.

    A client that sent neither `capabilities` nor stream metadata hangs up on a negotiate (nheko).
    """

    dtmf: bool = False
    transferee: bool = False
    negotiate: bool = False


NOTHING_SAID = Capabilities()
"""Of a client that does not tell what it can do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of everything the core is told."""
