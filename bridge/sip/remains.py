# SPDX-License-Identifier: GPL-3.0-or-later
"""How to end a leg should the process die, told anew whenever that changes. SIP thread only."""

from collections.abc import Callable

from bridge.call.ids import TrunkName
from bridge.sip.dialog_state import DialogState, as_callee, as_caller
from bridge.sip.early import early_of
from bridge.sip.messages import Message, parse


class Remains:
    """What would be left of one leg. `told` is given what to keep in the call's record."""

    def __init__(self, trunk: TrunkName, told: Callable[[str], None]) -> None:
        self.placed = ""
        """The INVITE that we sent."""
        self._trunk = trunk
        self._told = told
        self._transport = ""
        self._peer = ""
        self._is_early = False
        self._dialog: DialogState | None = None

    def received(self, transport: str, peer: str) -> None:
        """A message of the leg came in."""
        self._transport, self._peer = transport, peer

    @property
    def heard(self) -> bool:
        """Whether any message of the leg has come in."""
        return self._peer != ""

    def sent(self, text: str, transport: str, peer: str, invite: Message | None) -> None:
        """A message of the leg went out, before it was answered; `invite` is the far end's."""
        if self._dialog is not None:
            return
        if text.startswith("INVITE "):
            self.placed = text
        elif invite and text.startswith("SIP/2.0 18"):
            self._rings(parse(text), transport, peer)

    def rang(self) -> None:
        """The far end that we call has sent a provisional response."""
        if self.placed:
            self._rings(parse(self.placed), self._transport, self._peer)

    def answered(self, answer: Message) -> None:
        """The far end has answered our INVITE."""
        self._dialog_is(as_caller(answer, self._trunk, self._transport, self._peer))

    def confirmed(self, invite: Message, ack: Message) -> None:
        """The far end has acknowledged our answer."""
        self._dialog_is(as_callee(invite, ack, self._trunk, self._transport, self._peer))

    def _rings(self, message: Message, transport: str, peer: str) -> None:
        if not self._is_early:
            self._is_early = True
            self._told(early_of(message, transport, peer).to_json())

    def _dialog_is(self, state: DialogState) -> None:
        if state != self._dialog:
            self._dialog = state
            self._told(state.to_json())
