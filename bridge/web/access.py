# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may see the admin page: whoever has the token, and browsers that showed it."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

LASTS: Final = 12 * 3600.0
"""Seconds for which a browser that showed the token is let in."""


def same(one: str, other: str) -> bool:
    """Whether they are; takes as long wherever they differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


class Access:
    """Compares in constant time, and keeps nothing of tokens.

    What a browser keeps is a time and a name of no meaning, signed with the token: another token
    ends every session. `wall` tells seconds since the epoch.
    """

    def __init__(self, token: str, wall: Callable[[], float]) -> None:
        self._token = token
        self._key = hashlib.sha256(b"session:" + token.encode()).digest()
        self._wall = wall

    def opens(self, token: str) -> bool:
        """Whether it is the token."""
        return same(token, self._token)

    def session(self) -> str:
        """A new one, for a browser to keep."""
        about = f"{self._wall() + LASTS:.0f}.{secrets.token_urlsafe(9)}"
        return f"{about}.{self._sign(about)}"

    def admits(self, session: str) -> bool:
        """Whether it is a session of ours that is not over."""
        about, _, signature = session.rpartition(".")
        if not same(signature, self._sign(about)):
            return False
        return float(about.partition(".")[0]) > self._wall()

    def stamp(self, session: str) -> str:
        """What a form of this session carries, to prove that it is from our page."""
        return self._sign(f"form:{session}")

    def stamped(self, session: str, stamp: str) -> bool:
        """Whether a form is from a page of this session."""
        return same(stamp, self.stamp(session))

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
