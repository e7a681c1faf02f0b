# SPDX-License-Identifier: GPL-3.0-or-later
"""What people, admins and the process itself ask for."""

from dataclasses import dataclass

from bridge.call.events.base import Event
from bridge.call.ids import Address, CallId, TrunkName, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonChanged(Event):
    """What a person has set for themselves, all of it; also told for each person at the start.

    `dnd`: nothing rings. `forward`: who calls is told to call this instead. `account`: the trunk of
    their own SIP account, by which their calls leave, and whose calls ring them. `withhold`:
    whether they stay unknown when they call; None: as the configuration has it. `voicemail`:
    whether it takes calls that they do not, after `voicemail_delay` seconds (None: as configured),
    with the file `greeting` (empty: as configured).
    """

    person: UserId
    dnd: bool = False
    forward: Address | None = None
    account: TrunkName | None = None
    withhold: bool | None = None
    voicemail: bool = False
    voicemail_delay: float | None = None
    greeting: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicemailFilled(Event):
    """Whether too many recordings wait to be posted for one more to be made."""

    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """An outgoing call that ended `ago` seconds ago, after so many `seconds` of talk."""

    person: UserId
    trunk: TrunkName
    seconds: float
    ago: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A call that a person placed `ago` seconds ago."""

    person: UserId
    trunk: TrunkName
    ago: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TalksRecalled(Event):
    """What was talked within the 24 hours before the bridge was started, and which calls were
    placed within the last minute; told once, before calls.

    Times are as in `Talk`, since the core does not know what time of day it is.
    """

    talks: tuple[Talk, ...]
    placed: tuple[Placed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequested(Event):
    """A person asked to be connected with `address`: they are rung first, then it is called.

    `withhold`: whether they want to stay unknown to it, if they said so for this call.
    """

    person: UserId
    address: Address
    withhold: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HangupRequested(Event):
    """`by`, an admin or a program of theirs, wants this call to end; and `why`, if they say so."""

    call: CallId
    by: UserId
    why: str = ""

    @property
    def words(self) -> str:
        """Who and why, for the record."""
        return f"ended by {self.by}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainRequested(Event):
    """The process stops in so many seconds at most: no call is to begin, and those go on that have.

    `ShutdownRequested` follows.
    """

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownRequested(Event):
    """The process is about to stop: end every call on both legs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFaulted(Event):
    """Something went wrong inside the bridge over this call, which cannot go on."""

    call: CallId
