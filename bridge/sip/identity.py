# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is on the line, as a trunk says it."""

from collections.abc import Callable

from bridge.call.ids import Address
from bridge.sip.messages import Caller, Message, asserted_in

Normalise = Callable[[str, str], Address]
"""The canonical address of a URI's user part (still escaped) and host."""


class FarParty:
    """The party at the far end of a leg; learns of another one by what the trunk asserts.

    `known`: the address that the leg began with. `believed`: whether the trunk's word counts.
    """

    def __init__(self, normalise: Normalise, known: Address, *, believed: bool = True) -> None:
        self._normalise = normalise
        self._known = known
        self._believed = believed

    def heard(self, message: Message) -> tuple[Address, str] | None:
        """Address and name, if the message says that it is somebody else now.

        Who wishes to stay unknown (RFC 3323) is not named: then nothing has changed.
        """
        party = asserted_in(message) if self._believed else Caller()
        if not party.user:
            return None
        address = self._normalise(party.user, party.host)
        if address == self._known:
            return None
        self._known = address
        return address, party.name
