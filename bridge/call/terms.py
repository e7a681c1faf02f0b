# SPDX-License-Identifier: GPL-3.0-or-later
"""What a trunk allows and demands of a call's media. For the engine; the core only passes it on."""

from dataclasses import dataclass
from enum import Enum


class Srtp(Enum):
    """Whether audio is encrypted on the SIP leg (SRTP), with keys in its descriptions (SDES)."""

    OFF = "off"
    """Never."""
    OPTIONAL = "optional"
    """Where the far end can, too."""
    REQUIRED = "required"
    """Or there is no call."""


class Keypad(Enum):
    """How pressed keys reach the SIP leg's far end."""

    AUTO = "auto"
    """As telephone-events (RFC 4733) where those were agreed on, else by SIP INFO."""
    EVENTS = "events"
    """As telephone-events or not at all."""
    INFO = "info"
    """By SIP INFO."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of a SIP leg's media."""

    codecs: tuple[str, ...] = ()
    """Audio codecs by name, best first; empty: all."""
    srtp: Srtp = Srtp.OFF
    keypad: Keypad = Keypad.AUTO
    video: bool = False
    """Whether video is relayed; if not, it is declined."""


NO_TERMS = Terms()
"""Any codec, no encryption, no video."""
