# SPDX-License-Identifier: GPL-3.0-or-later
"""Which calls are made, and what becomes of each: chosen by chance, and by the same seed again."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Way(Enum):
    """Who calls."""

    IN = "in"
    """A telephone calls a person."""
    OUT = "out"


class Ending(Enum):
    """How a call ends."""

    CALLER_LEAVES = "caller hangs up"
    CALLEE_LEAVES = "callee hangs up"
    GIVEN_UP = "caller gives up"
    DECLINED = "callee declines"
    BUSY = "telephone is busy"
    HANDED_ON = "person transfers"
    """To another number, by REFER, which ends it here."""


class Act(Enum):
    """What happens within a call."""

    PHONE_HOLDS = "phone holds"
    PERSON_HOLDS = "person holds"
    PHONE_PRESSES = "phone presses"
    PERSON_PRESSES = "person presses"
    PHONE_TRANSFERS = "phone transfers"
    """To another telephone (blind)."""
    PHONE_JOINS = "phone joins"
    """To another telephone that it has asked before (attended, by Replaces)."""


ANSWERED: Final = frozenset({Ending.CALLER_LEAVES, Ending.CALLEE_LEAVES, Ending.HANDED_ON})
_ENDINGS: Final = {
    Ending.CALLER_LEAVES: 30,
    Ending.CALLEE_LEAVES: 30,
    Ending.GIVEN_UP: 12,
    Ending.DECLINED: 8,
    Ending.BUSY: 8,
    Ending.HANDED_ON: 6,
}
"""How often each, in relation to the others."""
_ACTS: Final = {
    Act.PHONE_HOLDS: 20,
    Act.PERSON_HOLDS: 20,
    Act.PHONE_PRESSES: 20,
    Act.PERSON_PRESSES: 20,
    Act.PHONE_TRANSFERS: 8,
    Act.PHONE_JOINS: 8,
}
_SHARE_OPUS: Final = 0.2
_SHARE_CHECKED: Final = 0.5
_PERSON_HERTZ: Final = (400, 440, 480, 520, 560, 600, 640, 680)
_PHONE_HERTZ: Final = (900, 950, 1000, 1050, 1100, 1150, 1200, 1250)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call that is to be made. Times are seconds."""

    number: int
    way: Way
    codec: str
    """The only one of the client; the telephone has PCMU."""
    person_hertz: int
    phone_hertz: int
    ending: Ending
    rings: float
    """For how long it rings before it is answered, or not."""
    talks: float
    """Besides what the acts take."""
    acts: tuple[Act, ...] = ()
    checked: bool = True
    """Whether it is heard what each side says, not only that something comes."""

    @property
    def answered(self) -> bool:
        """Whether it is to be answered."""
        return self.ending in ANSWERED


class Planner:
    """Makes up calls. `opus`, `checked`: the share of those."""

    def __init__(
        self,
        chance: random.Random,
        *,
        longest: float = 8.0,
        opus: float = _SHARE_OPUS,
        checked: float = _SHARE_CHECKED,
    ) -> None:
        """`longest`: seconds that a call is talked in at most, apart from what happens in it."""
        self.chance = chance
        self._longest = longest
        self._opus = opus
        self._checked = checked
        self._count = 0

    def calls(self) -> Iterator[Planned]:
        """One after the other, for ever."""
        while True:
            yield self.call()

    def call(self) -> Planned:
        """The next one."""
        chance = self.chance
        self._count += 1
        way = chance.choice(list(Way))
        ending = self._ending(way)
        return Planned(
            number=self._count,
            way=way,
            codec="opus" if chance.random() < self._opus else "PCMU",
            person_hertz=chance.choice(_PERSON_HERTZ),
            phone_hertz=chance.choice(_PHONE_HERTZ),
            ending=ending,
            rings=round(chance.uniform(0.1, 2.0), 2),
            talks=round(chance.uniform(1.0, self._longest), 2),
            acts=self._acts() if ending in ANSWERED else (),
            checked=chance.random() < self._checked,
        )

    def steady(self, way: Way) -> Planned:
        """One that is answered, and goes on until it is told to end."""
        self._count += 1
        return Planned(
            number=self._count,
            way=way,
            codec="PCMU",
            person_hertz=self.chance.choice(_PERSON_HERTZ),
            phone_hertz=self.chance.choice(_PHONE_HERTZ),
            ending=self.chance.choice((Ending.CALLER_LEAVES, Ending.CALLEE_LEAVES)),
            rings=0.2,
            talks=0.0,
        )

    def _ending(self, way: Way) -> Ending:
        ending = self.chance.choices(list(_ENDINGS), list(_ENDINGS.values()))[0]
        # A person's client is never busy: it rings, and they decline.
        return Ending.DECLINED if ending is Ending.BUSY and way is Way.IN else ending

    def _acts(self) -> tuple[Act, ...]:
        count = self.chance.choices((0, 1, 2, 3), (4, 4, 2, 1))[0]
        acts = self.chance.choices(list(_ACTS), list(_ACTS.values()), k=count)
        return tuple(acts)


def waits(chance: random.Random, rate: float) -> Iterator[float]:
    """Seconds between calls that come at so many a second, as people call: at any time."""
    while True:
        yield chance.expovariate(rate)
