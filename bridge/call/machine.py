# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machines of a call have in common: a state, a deadline, and a place for commands."""

from math import ceil

from bridge.call.causes import MEANINGS, Cause
from bridge.call.commands import Command
from bridge.call.deadlines import DEADLINES, Deadline, Timeouts
from bridge.call.ids import OpId
from bridge.call.notices import Notices
from bridge.call.policy import Limits, Policy
from bridge.call.states import Message, State, Table


class Effects:
    """The hands of the core: what time it is, what holds, and what is to be done, in order.

    The policy may be replaced while calls go on: whoever decides about a new call asks for it then,
    and what belongs to a call keeps the limits that it was made under.
    """

    def __init__(self, timeouts: Timeouts, policy: Policy) -> None:
        self.timeouts = timeouts
        self.policy = policy
        self.now = 0.0
        self.closes_at: float | None = None
        """When the bridge stops at the latest, once that is known."""
        self._commands: list[Command] = []
        self._ops = 0

    @property
    def limits(self) -> Limits:
        """Those of what begins now."""
        return self.policy.limits

    @property
    def notices(self) -> Notices:
        """How much the person reads of a call that begins now."""
        return self.policy.notices

    def retry_after(self, cause: Cause) -> int:
        """Seconds after which a caller may try again who is refused for `cause`; 0: unsaid."""
        usual = MEANINGS[cause].retry_after
        if cause is not Cause.SHUTDOWN or self.closes_at is None:
            return usual
        return max(usual, ceil(self.closes_at - self.now))

    def op(self) -> OpId:
        """A new operation id."""
        self._ops += 1
        return OpId(self._ops)

    def emit(self, command: Command) -> None:
        """Have a command carried out after those before it."""
        self._commands.append(command)

    def take(self) -> list[Command]:
        """The commands so far, which are then forgotten."""
        taken, self._commands = self._commands, []
        return taken


class Machine:
    """A state that follows a table, and the time at which it has lasted too long."""

    def __init__(self, table: Table, state: State, effects: Effects) -> None:
        self._table = table
        self._effects = effects
        self._limits = effects.limits
        self._kind: Deadline | None = None
        self.deadline: float | None = None
        self.enter(state)

    def enter(self, state: State) -> None:
        """Go to a state, and arm its deadline."""
        self.state = state
        kind = DEADLINES.get(state)
        if kind is Deadline.BACKOFF:  # Its length is chosen by who enters it.
            self._kind = kind
        elif kind is not self._kind or kind is None:
            self._kind = kind
            self.deadline = None if kind is None else self._effects.now + self._seconds(kind)

    def hears(self, message: Message) -> bool:
        """Whether what came in means anything in this state; if so, go where it leads."""
        following = self._table[self.state].get(message)
        if following is None:
            return False
        self.enter(following)
        return True

    def says(self, command: Command, qualifier: str = "") -> None:
        """Have a command carried out that this state allows, and go where it leads."""
        message: Message = (type(command), qualifier) if qualifier else type(command)
        following = self._table[self.state].get(message)
        assert following is not None, f"{message} must not be sent in {self.state}"
        self._effects.emit(command)
        self.enter(following)

    def is_due(self) -> bool:
        """Whether this state has lasted too long."""
        return self.deadline is not None and self.deadline <= self._effects.now

    def rest(self) -> None:
        """Let the state last on: what it calls for was said, and may be overruled.

        A call that its person has handed over goes on without their audio.
        """
        self._kind = self.deadline = None

    def _seconds(self, kind: Deadline) -> float:
        return self._effects.timeouts.seconds(kind, self._limits)
