# SPDX-License-Identifier: GPL-3.0-or-later
"""A `Desk` that remembers what was asked of it."""

from collections.abc import Sequence
from dataclasses import replace

from bridge.call.dialplan import OutboundRoute
from bridge.call.explain import Explanation, InboundExplanation
from bridge.call.ids import Address, CallId, Direction, RoomId, TrunkName, UserId
from bridge.call.limits import Allowance
from bridge.call.policy import Access
from bridge.call.terms import Terms
from bridge.call.view import CallView
from bridge.errors import NotDone
from bridge.numbers import read_address
from bridge.records import CallRecord, LineView, PersonSettings
from bridge.voicemail import VoicemailStatus

ALICE = UserId("@alice:example.org")
CHIEF = UserId("@chief:example.org")
GUEST = UserId("@guest:example.org")
EVE = UserId("@eve:example.com")
NUMBER = Address("tel:+12025550123")


class FakeVoicemail:
    """Voicemail of everybody."""

    def __init__(self, desk: "FakeDesk") -> None:
        self._desk = desk
        self.allowed = True
        self.answers: tuple[str, ...] = ("no_answer", "do_not_disturb", "busy", "declined")
        self.greetings: dict[UserId, bytes] = {}

    def status(self, person: UserId) -> VoicemailStatus | None:
        chosen = self._desk.settings(person)
        if not self.allowed:
            return None
        return VoicemailStatus(
            on=chosen.voicemail,
            delay=chosen.voicemail_delay or 20,
            own_delay=chosen.voicemail_delay is not None,
            own_greeting=person in self.greetings,
            answers=self.answers,
        )

    async def switch(self, person: UserId, on: bool) -> None:
        self._desk.chosen[person] = replace(self._desk.settings(person), voicemail=on)

    async def set_delay(self, person: UserId, seconds: float | None) -> None:
        chosen = self._desk.settings(person)
        self._desk.chosen[person] = replace(chosen, voicemail_delay=seconds)

    async def set_greeting(self, person: UserId, audio: bytes | None) -> float:
        if audio is None:
            self.greetings.pop(person, None)
            return 0
        if not audio:
            raise NotDone("I cannot use that.")
        self.greetings[person] = audio
        return 7.0


class FakeDesk:
    """Says yes to everything that makes sense."""

    def __init__(self) -> None:
        self.permissions = {ALICE: Access.CALL, CHIEF: Access.ADMIN, GUEST: Access.RECEIVE}
        self.chosen: dict[UserId, PersonSettings] = {}
        self.records: list[CallRecord] = []
        self.groups: dict[UserId, list[CallRecord]] = {}
        """Calls that rang at somebody, and are somebody else's."""
        self.now: list[tuple[CallView, float]] = []
        self.lines: list[LineView] = []
        self.called: list[tuple[UserId, Address]] = []
        self.hung_up: list[tuple[str, UserId]] = []
        self.logins: list[tuple[UserId, str, str, str, str]] = []
        self.accounts: dict[UserId, LineView] = {}
        self.works = True
        self.allowance = Allowance(calls=1, seconds=None)
        self.fault: Exception | None = None
        self.voicemail = FakeVoicemail(self)

    def access(self, person: UserId) -> Access:
        return self.permissions.get(person, Access.BLOCKED)

    def call(self, person: UserId, number: str) -> Address:
        if self.fault:
            raise self.fault
        address = _read(number)
        self.called.append((person, address))
        return address

    def left(self, person: UserId) -> Allowance:
        return self.allowance

    async def history(self, person: UserId, limit: int) -> Sequence[CallRecord]:
        own = [record for record in self.records if record.person == person]
        return [*own, *self.groups.get(person, ())][:limit]

    def settings(self, person: UserId) -> PersonSettings:
        return self.chosen.get(person, PersonSettings())

    async def set_dnd(self, person: UserId, on: bool) -> None:
        self.chosen[person] = replace(self.settings(person), dnd=on)

    async def set_forward(self, person: UserId, number: str | None) -> Address | None:
        address = None if number is None else _read(number)
        self.chosen[person] = replace(self.settings(person), forward=address)
        return address

    def account(self, person: UserId) -> LineView | None:
        return self.accounts.get(person)

    async def login(
        self, person: UserId, server: str, username: str, password: str, auth_username: str = ""
    ) -> LineView:
        self.logins.append((person, server, username, password, auth_username))
        if not self.works:
            raise NotDone(f"{server} refuses the user name or the password.")
        line = LineView(name=f"{username}@{server}", works=True, state="registered")
        self.accounts[person] = line
        return line

    async def logout(self, person: UserId) -> bool:
        return self.accounts.pop(person, None) is not None

    def trunks(self) -> Sequence[LineView]:
        return self.lines

    def active(self) -> Sequence[tuple[CallView, float]]:
        return self.now

    def hang_up(self, call: str, by: UserId) -> CallView:
        for view, _ in self.now:
            if view.call == call:
                self.hung_up.append((call, by))
                return view
        raise NotDone("There is no such call.")

    async def set_withhold(self, person: UserId, on: bool | None) -> None:
        self.chosen[person] = replace(self.settings(person), withhold=on)

    def explain_in(self, trunk: str, number: str) -> InboundExplanation:
        return InboundExplanation(("inbound[0]: this one",), (ALICE,))

    def explain(self, person: UserId, number: str) -> Explanation:
        route = OutboundRoute(
            trunk=TrunkName("provider"),
            target=_read(number).removeprefix("tel:"),
            caller="",
            early_media=False,
            terms=Terms(),
        )
        return Explanation((f"permissions of {person}", "outbound[0]: this one"), route)


def view(call: str = "ab-1", person: UserId = ALICE) -> CallView:
    """A call that goes on."""
    return CallView(
        call=CallId(call),
        direction=Direction.TO_SIP,
        state="connected",
        person=person,
        address=NUMBER,
        trunk=TrunkName("provider"),
        since=5.0,
        answered_at=7.0,
    )


def record(
    direction: Direction = Direction.TO_SIP,
    *,
    person: UserId = ALICE,
    talked: float | None = None,
    cause: str | None = "normal",
    over: bool = True,
) -> CallRecord:
    """A call of the past."""
    start = 1_700_000_000.0
    return CallRecord(
        call=CallId("ab-0"),
        direction=direction,
        person=person,
        address=NUMBER,
        trunk=TrunkName("provider"),
        started_at=start,
        answered_at=None if talked is None else start + 5,
        ended_at=start + 5 + (talked or 0) if over else None,
        room=RoomId("!r"),
        cause=cause,
    )


def _read(number: str) -> Address:
    address = read_address(number, "US")
    if address is None:
        raise NotDone("That is neither a telephone number nor a SIP address.")
    return address
