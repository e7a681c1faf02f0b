# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bot's desk asks of the running bridge, and what it has done."""

from collections.abc import Mapping, Sequence

import pytest

from bridge.app.desk import ServiceDesk
from bridge.app.in_force import InForce
from bridge.call.causes import Cause
from bridge.call.events import CallRequested, Event, HangupRequested, PersonChanged
from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId
from bridge.call.limits import Allowance
from bridge.call.policy import Access, Refusal
from bridge.call.view import CallView
from bridge.config import Config, InboundRule, OutboundRule, Permission, Trunk
from bridge.errors import NotDone
from bridge.ports import Desk
from bridge.records import CallRecord, LineView, PersonSettings
from bridge.sip.trunks import Registration, RegistrationState

ALICE, CHIEF = UserId("@alice:mx.test"), UserId("@chief:mx.test")
NUMBER = Address("tel:+12025550123")
PROVIDER, PBX, HERS = TrunkName("provider"), TrunkName("pbx"), TrunkName("account-1")
CONFIG = Config(
    permissions={"mx.test": Permission.CALL, CHIEF: Permission.ADMIN},
    trunks={
        PROVIDER: Trunk(server="sip.example.com", caller_id="+12025550100"),
        PBX: Trunk(server="192.0.2.20"),
    },
    outbound=(OutboundRule(trunk=PROVIDER, prefix="+1"),),
    inbound=(InboundRule(people=(ALICE, CHIEF), number="+1202*"),),
)
VIEW = CallView(
    call=CallId("ab-1"),
    direction=Direction.TO_SIP,
    state="connected",
    person=ALICE,
    address=NUMBER,
    trunk=PROVIDER,
    since=40.0,
    answered_at=45.0,
)


class Bench:
    """Everything that the desk talks to."""

    def __init__(self) -> None:
        self.emitted: list[Event] = []
        self.saved: dict[UserId, PersonSettings] = {}
        self.refusal: Refusal | None = None
        self.refused: list[tuple[UserId, Address, Refusal]] = []
        self.asked_at: list[float] = []
        self.account: TrunkName | None = None
        self.registered: dict[TrunkName, Registration] = {}
        self.desk = ServiceDesk(
            in_force=InForce(CONFIG),
            core=self,
            emit=self.emitted.append,
            calls=self,
            people=self,
            accounts=self,
            registrations=lambda: self.registered,
            clock=lambda: 100.0,
            refused=lambda *refused: self.refused.append(refused),
        )

    # the switchboard
    def active(self) -> list[CallView]:
        return [VIEW]

    def why_not(self, person: UserId, address: Address, now: float) -> Refusal | None:
        self.asked_at.append(now)
        return self.refusal

    def left(self, person: UserId, now: float) -> Allowance:
        return Allowance(calls=int(now), seconds=None)

    # the store
    async def recent_of(self, person: UserId, limit: int) -> Sequence[CallRecord]:
        return [
            CallRecord(
                call=CallId(f"{person}{number}"),
                direction=Direction.TO_SIP,
                person=person,
                address=NUMBER,
                trunk=PROVIDER,
                started_at=0,
            )
            for number in range(limit)
        ]

    async def settings(self) -> Mapping[UserId, PersonSettings]:
        return self.saved

    async def save_settings(self, person: UserId, settings: PersonSettings) -> None:
        self.saved[person] = settings

    # the accounts
    def trunk_of(self, person: UserId) -> TrunkName | None:
        return self.account

    def line_of(self, person: UserId) -> LineView | None:
        return LineView(name="hers", works=True, state="registered") if self.account else None

    async def login(
        self, person: UserId, server: str, username: str, password: str, auth_username: str = ""
    ) -> LineView:
        return LineView(name=f"{username}@{server}", works=True, state=f"{len(password)}")

    async def logout(self, person: UserId) -> bool:
        return self.account is not None


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_is_a_desk(bench: Bench) -> None:
    desk: Desk = bench.desk
    assert [desk.access(person) for person in (ALICE, CHIEF, UserId("@a:example.com"))] == [
        Access.CALL,
        Access.ADMIN,
        Access.BLOCKED,
    ]


def test_a_call_is_asked_for(bench: Bench) -> None:
    assert bench.desk.call(ALICE, "(202) 555-0123") == NUMBER
    assert bench.emitted == [CallRequested(person=ALICE, address=NUMBER)]
    assert bench.asked_at == [100.0]


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [(Cause.NO_ROUTE, "There is no way to reach"), (Cause.NORMAL, "not possible now")],
)
def test_a_call_that_would_come_to_nothing_is_refused_with_the_reason(
    bench: Bench, cause: Cause, sentence: str
) -> None:
    bench.refusal = Refusal(cause)
    with pytest.raises(NotDone, match=sentence):
        bench.desk.call(ALICE, "202 555 0123")
    assert bench.emitted == []
    assert bench.refused == [(ALICE, "tel:+12025550123", Refusal(cause))]


def test_what_is_left_to_a_person(bench: Bench) -> None:
    assert bench.desk.left(ALICE) == Allowance(calls=100, seconds=None)


def test_what_is_no_number_is_not_called(bench: Bench) -> None:
    with pytest.raises(NotDone, match="neither a telephone number"):
        bench.desk.call(ALICE, "grandma, please")


async def test_history_is_the_persons(bench: Bench) -> None:
    assert [record.person for record in await bench.desk.history(ALICE, 2)] == [ALICE, ALICE]


def test_active_calls_say_how_long_they_last(bench: Bench) -> None:
    assert bench.desk.active() == [(VIEW, 60.0)]


def test_an_admin_hangs_up(bench: Bench) -> None:
    assert bench.desk.hang_up("ab-1", CHIEF) == VIEW
    assert bench.emitted == [HangupRequested(call=VIEW.call, by=CHIEF)]
    with pytest.raises(NotDone, match="no such call"):
        bench.desk.hang_up("ab-2", CHIEF)


async def test_a_route_is_explained(bench: Bench) -> None:
    found = bench.desk.explain(ALICE, "202 555 0123")
    assert found.verdict.startswith("trunk `provider`")
    assert "by `provider`: INVITE sip:+12025550123@sip.example.com" in found.steps
    await bench.desk.set_withhold(ALICE, True)
    assert "withheld" in bench.desk.explain(ALICE, "202 555 0123").verdict
    bench.account = HERS
    own = bench.desk.explain(ALICE, "202 555 0123")
    assert own.verdict.startswith("trunk `account-1`")
    assert not any("INVITE" in step for step in own.steps)


def test_a_route_in_is_explained(bench: Bench) -> None:
    shown = bench.desk.explain_in("provider", "(202) 555-0199")
    assert shown.verdict == f"rings {ALICE}, {CHIEF}"
    assert shown.steps[0] == "the number: `+12025550199`"
    nobody = bench.desk.explain_in("provider", "reception")
    assert nobody.verdict == "rings nobody: not in service"
    assert nobody.steps[-1] == "inbound[0], number +1202*: no, another number"
    with pytest.raises(NotDone, match="no such trunk"):
        bench.desk.explain_in("nowhere", "100")


async def test_what_is_in_the_way_of_a_call_is_explained(bench: Bench) -> None:
    await bench.desk.set_dnd(ALICE, True)
    await bench.desk.set_forward(CHIEF, "202 555 0123")
    assert bench.desk.explain_in("provider", "+12025550199").steps[-2:] == (
        f"{ALICE}: do not disturb is on",
        f"{CHIEF}: forwards to `{NUMBER}`",
    )


async def test_a_number_is_withheld_once_or_always(bench: Bench) -> None:
    await bench.desk.set_withhold(ALICE, True)
    assert bench.saved == {ALICE: PersonSettings(withhold=True)}
    assert bench.emitted.pop() == PersonChanged(person=ALICE, withhold=True)
    for text in ("*82 202 555 0123", "*82+12025550123"):
        assert bench.desk.call(ALICE, text) == NUMBER
        assert bench.emitted.pop() == CallRequested(person=ALICE, address=NUMBER, withhold=False)


async def test_settings_are_kept_and_told_to_the_core_whole(bench: Bench) -> None:
    await bench.desk.set_dnd(ALICE, True)
    assert await bench.desk.set_forward(ALICE, "202 555 0123") == NUMBER
    assert bench.desk.settings(ALICE) == PersonSettings(dnd=True, forward=NUMBER)
    assert bench.saved == {ALICE: PersonSettings(dnd=True, forward=NUMBER)}
    bench.account = HERS
    await bench.desk.set_forward(ALICE, None)
    assert bench.emitted == [
        PersonChanged(person=ALICE, dnd=True),
        PersonChanged(person=ALICE, dnd=True, forward=NUMBER),
        PersonChanged(person=ALICE, dnd=True, account=HERS),
    ]


async def test_nobody_forwards_to_where_they_may_not_call(bench: Bench) -> None:
    for number in ("911", "+44 20 7946 0000"):
        with pytest.raises(NotDone):
            await bench.desk.set_forward(ALICE, number)
    assert bench.saved == {}
    assert bench.emitted == []


async def test_what_was_chosen_is_known_again_after_a_restart(bench: Bench) -> None:
    bench.saved = {ALICE: PersonSettings(dnd=True)}
    bench.account = HERS
    await bench.desk.open()
    assert bench.emitted == [PersonChanged(person=ALICE, dnd=True, account=HERS)]
    assert bench.desk.settings(ALICE).dnd


async def test_accounts_are_passed_on(bench: Bench) -> None:
    assert bench.desk.account(ALICE) is None
    assert (await bench.desk.login(ALICE, "pbx.example.org", "alice", "x")).state == "1"
    assert await bench.desk.logout(ALICE) is False
    bench.account = HERS
    assert bench.desk.account(ALICE) is not None
    assert await bench.desk.logout(ALICE) is True


def test_trunks_are_those_of_the_configuration(bench: Bench) -> None:
    bench.registered = {
        PROVIDER: Registration(RegistrationState.FAILED, 403, "Forbidden"),
        PBX: Registration(RegistrationState.NOT_USED),
        HERS: Registration(RegistrationState.REGISTERED, 200, "OK"),
    }
    assert bench.desk.trunks() == [
        LineView(name="provider", works=False, state="does not work: 403 Forbidden"),
        LineView(name="pbx", works=True, state="known by its address, does not register"),
    ]


async def test_nobody_guesses_passwords_through_the_bridge(bench: Bench) -> None:
    for _ in range(5):
        await bench.desk.login(ALICE, "pbx.example.org", "bob", "guess")
    with pytest.raises(NotDone, match="too often"):
        await bench.desk.login(ALICE, "pbx.example.org", "bob", "guess")
    await bench.desk.login(CHIEF, "pbx.example.org", "chief", "known")
