# SPDX-License-Identifier: GPL-3.0-or-later
"""Exceptions, by whose fault they are: ours, theirs, or the configuration's."""

from collections.abc import Sequence


class BridgeError(Exception):
    """Anything the bridge reports on purpose. `remedy` says in a sentence what would help."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class ConfigurationError(BridgeError):
    """A setting is missing, malformed or contradicts another."""


class LocalError(BridgeError):
    """The bridge, or what it needs on this machine, did something it must not."""


class StoreUnavailable(LocalError):
    """The database cannot be used just now: worth another attempt."""


class RemoteError(BridgeError):
    """A peer (homeserver, SIP peer, WebRTC client) sent something that cannot be used."""


class SdpError(RemoteError):
    """A session description that cannot be parsed, or that shares no codec with the other side."""


class NotDone(BridgeError):
    """What a person asked for cannot be done; the message is a sentence for them."""


class Unfit(NotDone):
    """So it is for the parts of it in `errors`: the name of each, and what is wrong there."""

    def __init__(self, message: str, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__(message)
        self.errors = errors
