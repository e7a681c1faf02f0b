# SPDX-License-Identifier: GPL-3.0-or-later
"""The packets sent last, for a receiver that misses one of them."""

from typing import Final

SIZE: Final = 256
"""Packets: about a second of a good picture, and at most 380 kB."""


class History:
    """A ring: the newest packets by their sequence number."""

    __slots__ = ("_packets",)

    def __init__(self) -> None:
        self._packets: list[bytes] = [b""] * SIZE

    def keep(self, sequence: int, packet: bytes) -> None:
        """Keep a whole packet of that number, in place of an older one."""
        self._packets[sequence & 0xFF] = packet

    def find(self, sequence: int) -> bytes | None:
        """The packet of that number; None if it is not there, or no more."""
        packet = self._packets[sequence & 0xFF]
        # The ring's place is the number's lower octet; the upper one is in the packet.
        return packet if packet and packet[2] == sequence >> 8 else None
