# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fault finds: calls that go on, and what is tried, and seen, while it lasts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from reliability.ledger import Placed
from reliability.people import Person, PersonCall
from reliability.place import Place, ghost_of, persons_number
from reliability.plan import Planner, Way
from reliability.player import Play
from reliability.soak import Course

PAUSE: Final = 3.0
"""Seconds without audio that a call may have at most: generous, for the machine may be busy."""
_START: Final = 40.0
_LONG: Final = 150.0


@dataclass(slots=True)
class Scene:
    """One fault's calls, and what was found. Times are seconds."""

    place: Place
    planner: Planner
    course: Course
    placed: list[Placed] = field(default_factory=list)
    base: list[Play] = field(default_factory=list)
    """Calls that were there before the fault."""
    plays: list[Play] = field(default_factory=list)
    """All that were to go on until they are told to end."""
    found: list[str] = field(default_factory=list)
    """What was seen, for the verdict."""
    short: list[str] = field(default_factory=list)
    """What fell short."""

    def note(self, text: str) -> None:
        """Something was seen as it should be."""
        self.found.append(text)
        self.course.say(f"  {text}")

    def falls_short(self, text: str) -> None:
        """Something was not as it should be."""
        self.short.append(text)
        self.course.say(f"  ✘ {text}", style="bold red")

    # --- calls that go on ---------------------------------------------------------------------

    async def steady(self, *ways: Way) -> list[Play]:
        """Calls that go on until they are told to end, once all of them are talked in."""
        plays = [Play(self.place, self.planner.steady(way), patience=_LONG) for way in ways]
        self.plays += plays
        for play in plays:
            self.course.start(play)
            self.placed.append(play.placed)
        for play in plays:
            await self.happens(
                partial(_has_begun, play), "a steady call is up", within=_START, quietly=True
            )
        return plays

    def listen(self, plays: list[Play]) -> None:
        """Measure from now on for how long nothing is heard."""
        for play in plays:
            if play.ends is not None:
                play.ends.call.ear.start_over()
                play.ends.phone.ear.start_over()

    def lives(self, plays: list[Play], pause: float = PAUSE) -> None:
        """All of them go on, and were heard all the time."""
        longest, living = 0.0, [play for play in plays if not play.doomed]
        for play in living:
            if not play.talking.is_set() or play.ends is None:
                self.falls_short(f"call {play.placed.planned.number} did not live")
                continue
            longest = max(longest, play.ends.call.ear.pause(), play.ends.phone.ear.pause())
        if longest > pause:
            self.falls_short(f"nothing was heard for {longest:.1f} s")
        else:
            self.note(f"{len(living)} calls lived, never silent for more than {longest:.2f} s")

    async def end(self, plays: list[Play]) -> None:
        """Have them end, as planned."""
        for play in plays:
            play.leave.set()
        for play in plays:
            await play.over.wait()
        self.short += [
            f"call {play.placed.planned.number}: {'; '.join(play.placed.troubles)}"
            for play in plays
            if play.placed.troubles
        ]

    async def left_by_phone(self, play: Play) -> None:
        """The telephone hangs up at once, whatever else that needs."""
        dialog = play.ends.phone.dialog if play.ends else None
        assert dialog is not None
        play.doomed, play.placed.causes = True, ("normal",)
        self.note(f"a telephone hangs up meanwhile, and is answered {await dialog.hang_up()}")

    async def left_by_person(self, play: Play) -> None:
        """The person hangs up at once, whatever else that needs."""
        assert play.ends is not None
        play.doomed, play.placed.causes = True, ("normal",)
        await play.ends.call.hang_up()

    # --- calls that are tried -----------------------------------------------------------------

    async def connects(self, way: Way, *, within: float, when: str) -> None:
        """One call is placed, talked in and ended, as if nothing was the matter."""
        placed = await self._played(way, within)
        if placed.troubles:
            self.falls_short(f"a call {way.value} {when}: {'; '.join(placed.troubles)}")
        elif placed.answered_at is not None:
            took = placed.answered_at - placed.at - placed.planned.rings
            self.note(f"a call {way.value} {when} is set up in {took:.1f} s")

    async def refused_in(self, statuses: set[int], causes: tuple[str, ...], within: float) -> None:
        """A telephone that calls is told that it cannot."""
        planned = self.planner.steady(Way.IN)
        placed = Placed(planned=planned, at=time.monotonic(), causes=causes)
        async with self.place.pair() as (who, line):
            phone = self.place.telephone(line, planned.phone_hertz)
            try:
                placing = asyncio.create_task(phone.calls(persons_number(who)))
                done, _ = await asyncio.wait([placing], timeout=within)
                took = time.monotonic() - placed.at
                assert phone.dialog is not None
                placed.sip_call = phone.dialog.call_id
                if done and placing.result() in statuses:
                    self.note(f"a telephone is answered {placing.result()} in {took:.1f} s")
                else:
                    status = placing.result() if done else "nothing"
                    wanted = " or ".join(map(str, sorted(statuses)))
                    placed.troubles.append(f"answered {status} in {took:.1f} s, not {wanted}")
                    self.falls_short(f"a telephone was {placed.troubles[-1]}")
                    placing.cancel()
                    await phone.dialog.cancel()
            finally:
                phone.close()
        self.placed.append(placed)

    async def refused_out(self, causes: tuple[str, ...], within: float, told: str = "") -> None:
        """A person who calls is told that they cannot, and why."""
        planned = self.planner.steady(Way.OUT)
        placed = Placed(planned=planned, at=time.monotonic(), causes=causes)
        async with self.place.pair() as (who, line):
            person = self.place.people[who]
            began = time.monotonic()
            call = await person.call(ghost_of(line), planned.codec, planned.person_hertz)
            placed.matrix_call = call.call_id
            try:
                await asyncio.wait_for(call.ended.wait(), within)
            except TimeoutError:
                placed.troubles.append(f"not refused within {within:.0f} s")
                self.falls_short(f"a person's call was {placed.troubles[-1]}")
                await call.hang_up()
            else:
                took = time.monotonic() - began
                self.note(f"a person's call ends in {took:.1f} s: {call.ended_by}")
                await self._is_told(person, call, told, began)
        self.placed.append(placed)

    async def _is_told(self, person: Person, call: PersonCall, told: str, since: float) -> None:
        def read() -> bool:
            return any(at >= since and told in body for at, _, body in person.read)

        if told:
            await self.happens(read, f"the person reads {told!r}", within=15)

    # --- what is seen ---------------------------------------------------------------------------

    async def happens(
        self, check: Callable[[], Any], what: str, *, within: float, quietly: bool = False
    ) -> bool:
        """Wait for something; whether it came true. `quietly`: it is not worth a line if it did."""

        async def checked() -> bool:
            return bool(check())

        return await self.happens_async(checked, what, within=within, quietly=quietly)

    async def happens_async(
        self,
        check: Callable[[], Awaitable[bool]],
        what: str,
        *,
        within: float,
        quietly: bool = False,
    ) -> bool:
        """The same, of what has to be asked for."""
        deadline, began = time.monotonic() + within, time.monotonic()
        while not await check():
            if time.monotonic() > deadline:
                self.falls_short(f"within {within:.0f} s it did not happen that {what}")
                return False
            await asyncio.sleep(0.1)
        if not quietly:
            self.note(f"{what}, after {time.monotonic() - began:.1f} s")
        return True

    async def chief_reads(self, text: str, *, within: float) -> None:
        """The admin is told."""
        chief = self.place.chief
        if chief is None:
            return

        def read() -> bool:
            return any(text in body for _, _, body in chief.read)

        await self.happens(read, f"the admin reads {text!r}", within=within)

    async def works_again(self, within: float) -> None:
        """Calls both ways can be made, after a while at most."""
        for way in Way:
            began = time.monotonic()
            while (placed := await self._tried(way, within)).troubles:
                if time.monotonic() - began > within:
                    trouble = "; ".join(placed.troubles)
                    self.falls_short(f"calls {way.value} do not work again: {trouble}")
                    return
            self.note(f"calls {way.value} work again, {time.monotonic() - began:.1f} s later")

    async def tried_anyhow(self, within: float = 20.0) -> None:
        """Calls both ways are tried, whatever becomes of them."""
        await asyncio.gather(*(self._tried(way, within) for way in Way))

    async def _tried(self, way: Way, within: float) -> Placed:
        placed = await self._played(way, within)
        placed.anyhow = bool(placed.troubles)
        return placed

    async def _played(self, way: Way, within: float) -> Placed:
        play = Play(self.place, self.planner.steady(way), patience=within)
        play.leave.set()
        self.placed.append(play.placed)
        return await play.run()


def _has_begun(play: Play) -> bool:
    return play.talking.is_set() or bool(play.placed.troubles)
