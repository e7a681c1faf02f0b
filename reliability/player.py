# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays one planned call at both of its ends, and sees whether the bridge does its part."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from reliability.acts import Ends, WentWrong, play_act
from reliability.ledger import Placed
from reliability.people import Person, PersonCall
from reliability.place import Place, ghost_of, persons_number
from reliability.plan import Ending, Planned, Way
from reliability.telephone import Telephone

T = TypeVar("T")

SOON: Final = 20.0
"""Seconds within which what is due has to happen: generous, for the machine may be busy."""


class Lost(WentWrong):
    """A call ended although nobody had ended it."""


class Play:
    """One call. `patience`: seconds that what is due may take."""

    def __init__(self, place: Place, planned: Planned, *, patience: float = SOON) -> None:
        self.placed = Placed(planned=planned, at=time.monotonic())
        self.talking = asyncio.Event()
        """Set while both ends are in it, and could hear each other."""
        self.over = asyncio.Event()
        """Set when it has been played."""
        self.doomed = False
        """Whether it is to end in the middle, on both sides."""
        self.leave = asyncio.Event()
        """Set to have a call end that has nothing else to do."""
        self.ends: Ends | None = None
        self._place = place
        self._planned = planned
        self._patience = patience
        self._phones: list[Telephone] = []
        self._call: tuple[Person, PersonCall] | None = None

    async def run(self) -> Placed:
        """Play it to its end; what went wrong is in what is returned."""
        async with self._place.pair() as (who, line):
            self.placed.at = time.monotonic()
            person = self._place.people[who]
            phone = self._kept(self._place.telephone(line, self._planned.phone_hertz))
            try:
                if self._planned.way is Way.IN:
                    await self._comes_in(person, line, phone)
                else:
                    await self._goes_out(person, line, phone)
            except Lost as error:
                self.placed.ended_at = time.monotonic()
                if self.doomed:
                    await self._both_gone()
                else:
                    self.placed.lost = True
                    self.placed.troubles.append(str(error))
            except (WentWrong, TimeoutError) as error:
                self.placed.troubles.append(str(error) or repr(error))
            finally:
                self.talking.clear()
                await self._clear_away()
                self.over.set()
        return self.placed

    def another(self) -> Telephone:
        """A telephone that has no call; it is closed with this one."""
        return self._kept(self._place.another_telephone(self._planned.phone_hertz))

    def _kept(self, phone: Telephone) -> Telephone:
        self._phones.append(phone)
        return phone

    # --- until it is answered -------------------------------------------------------------------

    async def _comes_in(self, person: Person, line: int, phone: Telephone) -> None:
        planned = self._planned
        rings = person.expect(ghost_of(line), planned.codec, planned.person_hertz)
        placing = asyncio.create_task(phone.calls(persons_number(self._place.people.index(person))))
        await asyncio.sleep(0)
        try:
            call = await self._first(rings, placing)
            self._call = person, call
            assert phone.dialog is not None
            self._name(call, phone)
            await asyncio.sleep(planned.rings)
            if planned.ending is Ending.GIVEN_UP:
                await phone.dialog.cancel()
                await self._gone(call, "the person's phone goes on ringing")
                await self._status(placing, 487)
            elif planned.ending is Ending.DECLINED:
                await call.reject()
                await self._status(placing, 603)
            else:
                await call.answer()
                await self._status(placing, 200)
                await self._talk(Ends(person, call, phone))
        finally:
            placing.cancel()
            await asyncio.gather(placing, return_exceptions=True)

    async def _goes_out(self, person: Person, line: int, phone: Telephone) -> None:
        planned = self._planned
        ringing = asyncio.create_task(phone.rings(self._patience * 2))
        try:
            await asyncio.sleep(0)
            call = await person.call(ghost_of(line), planned.codec, planned.person_hertz)
            self.placed.matrix_call = call.call_id
            self._call = person, call
            await self.due(
                lambda: ringing.done() or call.ended.is_set(), "the telephone does not ring"
            )
            if not ringing.done():
                raise WentWrong(f"the call was refused: {call.ended_by}")
            dialog = ringing.result()
            self._name(call, phone)
            await asyncio.sleep(planned.rings)
            if planned.ending is Ending.GIVEN_UP:
                await call.hang_up()
                await self._wait(dialog.ended, "the telephone goes on ringing")
            elif planned.ending in (Ending.BUSY, Ending.DECLINED):
                dialog.refuse(486 if planned.ending is Ending.BUSY else 603)
                await self._gone(call, "the person is not told that nobody answers")
            else:
                dialog.answer()
                self.placed.answered_at = time.monotonic()
                await self._wait(call.answered, "the person does not see the answer")
                await self._talk(Ends(person, call, phone))
        finally:
            ringing.cancel()
            await asyncio.gather(ringing, return_exceptions=True)

    async def _first(
        self, rings: "asyncio.Future[PersonCall]", placing: "asyncio.Task[int]"
    ) -> PersonCall:
        """The call, when it rings; the telephone may be refused instead."""
        either: list[asyncio.Future[Any]] = [rings, placing]
        await asyncio.wait(
            either,
            timeout=self._patience * 2,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if rings.done():
            return rings.result()
        status = placing.result() if placing.done() else "nothing"
        raise WentWrong(f"it did not ring at the person: the telephone was answered {status}")

    def _name(self, call: PersonCall, phone: Telephone) -> None:
        assert phone.dialog is not None
        self.placed.matrix_call, self.placed.sip_call = call.call_id, phone.dialog.call_id

    # --- while it is talked in ------------------------------------------------------------------

    async def _talk(self, ends: Ends) -> None:
        self.ends, planned = ends, self._planned
        self.placed.answered_at = self.placed.answered_at or time.monotonic()
        await self._wait(ends.call.connected, f"audio is not set up {ends.call.failure}")
        await self.check()
        self.talking.set()
        for act in planned.acts:
            await self._undisturbed(play_act(act, ends, self), act.value)
            await self.check()
        if planned.talks:
            await self._undisturbed(asyncio.sleep(planned.talks), "talk")
        else:
            await self._undisturbed(self.leave.wait(), "steady talk")
        await self.check()
        self.talking.clear()
        await self._part(ends)

    async def _part(self, ends: Ends) -> None:
        dialog = ends.phone.dialog
        assert dialog is not None
        self.placed.ended_at = time.monotonic()
        if self._planned.ending is Ending.HANDED_ON:
            await ends.call.transfer(ghost_of(0))
            await self._wait(dialog.ended, "the telephone that was transferred is not let go")
            await ends.call.close()
            return
        phone_leaves = (self._planned.way is Way.IN) == (
            self._planned.ending is Ending.CALLER_LEAVES
        )
        if phone_leaves:
            leaving = asyncio.create_task(dialog.hang_up())
            await self._gone(ends.call, "the person's call goes on without the telephone")
            if await leaving != 200:
                raise WentWrong("BYE was not answered with 200")
        else:
            await ends.call.hang_up()
            await self._wait(dialog.ended, "the telephone's call goes on without the person")

    async def _both_gone(self) -> None:
        assert self.ends is not None
        assert self.ends.phone.dialog is not None
        try:
            await self._gone(self.ends.call, "the person's call goes on")
            await self._wait(self.ends.phone.dialog.ended, "the telephone's call goes on")
        except WentWrong as error:
            self.placed.troubles.append(str(error))

    async def check(self) -> None:
        """Whether each end hears what the other one says."""
        if not self._planned.checked or self.ends is None:
            return
        self.placed.checked += 1
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            if self.ends.hear_each_other(self._planned):
                return
            self._alive("while it was listened to")
            await asyncio.sleep(0.25)
        self.placed.wrong += 1
        raise WentWrong(f"not heard as it should be: {self.ends.heard(self._planned)}")

    # --- what is due ----------------------------------------------------------------------------

    async def _undisturbed(self, work: Coroutine[Any, Any, object], what: str) -> None:
        """Do something while both ends stay."""
        assert self.ends is not None
        task = asyncio.create_task(work)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=0.2)
                if not task.done():
                    self._alive(f"during {what}")
            await task
        except WentWrong as error:
            raise type(error)(f"{what}: {error}") from error
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._alive(f"during {what}")

    def _alive(self, when: str) -> None:
        assert self.ends is not None
        dialog = self.ends.phone.dialog
        assert dialog is not None
        if self.ends.call.ended.is_set():
            raise Lost(f"lost at the person {when}: {self.ends.call.ended_by}")
        if dialog.ended.is_set():
            raise Lost(f"lost at the telephone {when}")

    async def due(self, check: Callable[[], T], what: str) -> T:
        """Wait until something is true. Raises WentWrong."""
        deadline = time.monotonic() + self._patience
        while not (found := check()):
            if time.monotonic() > deadline:
                raise WentWrong(what)
            await asyncio.sleep(0.05)
        return found

    async def _wait(self, event: asyncio.Event, what: str) -> None:
        try:
            await asyncio.wait_for(event.wait(), self._patience)
        except TimeoutError:
            self.placed.stuck = "goes on" in what or "let go" in what
            raise WentWrong(what) from None

    async def _gone(self, call: PersonCall, what: str) -> None:
        await self._wait(call.ended, what)

    async def _status(self, placing: "asyncio.Task[int]", wanted: int) -> None:
        await asyncio.wait([placing], timeout=self._patience)
        status = placing.result() if placing.done() else 0
        if status != wanted:
            raise WentWrong(f"the telephone was answered {status or 'nothing'}, not {wanted}")

    async def _clear_away(self) -> None:
        """Whatever is left ends now, so that the next call finds both free."""
        for phone in self._phones:
            dialog = phone.dialog
            if dialog is not None and not dialog.ended.is_set():
                self.placed.ended_at = self.placed.ended_at or time.monotonic()
                self._place.exchange.spawn(_let_go(phone))
            else:
                phone.close()
        if self._call is not None and not self._call[1].ended.is_set():
            person, call = self._call
            person.spawn(call.hang_up())


async def _let_go(phone: Telephone) -> None:
    dialog = phone.dialog
    assert dialog is not None
    try:
        if dialog.answered.is_set():
            await dialog.hang_up()
        elif dialog.incoming:
            dialog.refuse(486)
        else:
            await dialog.cancel()
    finally:
        phone.close()
