# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs are told of calls, trunks and accounts: each step once, and no secrets."""

from collections.abc import Callable

import pytest
from aiohttp import web

from bridge.app.announcer import Announcer
from bridge.app.programs import Programs
from bridge.call import commands as c
from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId
from bridge.config import Api
from bridge.sip.trunks import Registration, RegistrationState
from bridge.web.api.events import Event

CALL = CallId("ab-1")
ANN, BOB = UserId("@ann:mx.test"), UserId("@bob:mx.test")
PROVIDER, HERS = TrunkName("provider"), TrunkName(f"account:{ANN}")
START = c.RecordStart(
    call=CALL,
    direction=Direction.TO_SIP,
    person=ANN,
    address=Address("tel:+12025550123"),
    trunk=PROVIDER,
)
END = c.RecordEnd(call=CALL, cause="normal", status=200, ended_by="sip")


class Bench:
    def __init__(self) -> None:
        self.told: list[Event] = []
        self.owner: UserId | None = None
        self.announcer = Announcer(self.told.append, lambda trunk: self.owner, lambda: 1000.0)

    def kinds(self) -> list[str]:
        """What was told since one asked last."""
        kinds: list[str] = [event.type for event in self.told]
        self.told.clear()
        return kinds

    def registers(self, trunk: TrunkName, *states: RegistrationState) -> None:
        for state in states:
            self.announcer.registration(trunk, Registration(state, 403, "Forbidden"))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_call_from_its_start_to_its_end(bench: Bench) -> None:
    record = bench.announcer.record
    record(START, 10.0)
    record(c.RecordLegs(call=CALL, sip_call_id="x"), 10.5)
    record(c.RecordAttempts(call=CALL, trunk=TrunkName("spare"), failed=()), 11.0)
    record(c.RecordRinging(call=CALL), 12.0)
    record(c.RecordLegs(call=CALL, person=BOB), 12.5)
    record(c.RecordAnswer(call=CALL), 13.0)
    record(c.RecordAnswer(call=CALL), 14.0)
    record(c.RecordStatistics(call=CALL, statistics={}), 15.0)
    record(END, 20.25)
    record(END, 21.0)
    started, ringing, answered, ended = [event.model_dump(mode="json") for event in bench.told]
    assert started == {
        "type": "call.started",
        "at": "1970-01-01T00:00:10Z",
        "call": "ab-1",
        "direction": "to_sip",
        "person": ANN,
        "number": "+12025550123",
        "trunk": "provider",
    }
    assert (ringing["type"], ringing["trunk"]) == ("call.ringing", "spare")
    assert (answered["type"], answered["person"]) == ("call.answered", BOB)
    assert (ended["type"], ended["outcome"], ended["talked_s"]) == ("call.ended", "success", 7.2)
    assert (ended["sip_status"], ended["cause"], ended["trunk"]) == (200, "normal", "spare")


def test_a_call_that_was_never_answered(bench: Bench) -> None:
    bench.announcer.record(START, 10.0)
    bench.announcer.record(
        c.RecordEnd(call=CALL, cause="busy", status=0, ended_by="bridge", detail="why"), 11.0
    )
    ended = bench.told[-1].model_dump()
    assert (ended["talked_s"], ended["sip_status"], ended["detail"]) == (None, None, "why")


@pytest.mark.parametrize(
    "command",
    [
        c.RecordRinging(call=CALL),
        c.RecordAnswer(call=CALL),
        c.RecordLegs(call=CALL, person=BOB),
        END,
    ],
    ids=lambda each: type(each).__name__,
)
def test_nothing_is_told_of_a_call_that_did_not_begin(
    bench: Bench, command: c.StoreCommand
) -> None:
    bench.announcer.record(command, 10.0)
    assert bench.told == []


def test_a_trunk_is_lost_and_comes_back(bench: Bench) -> None:
    trying, good = RegistrationState.TRYING, RegistrationState.REGISTERED
    bench.registers(PROVIDER, trying, good, trying, good)
    assert bench.kinds() == ["trunk.registered"]
    bench.registers(PROVIDER, RegistrationState.FAILED, trying, RegistrationState.FAILED)
    assert bench.told[0].model_dump()["reason"] == "Forbidden"
    assert bench.kinds() == ["trunk.lost"]
    bench.registers(PROVIDER, RegistrationState.ANSWERS, RegistrationState.SILENT)
    assert bench.kinds() == ["trunk.registered", "trunk.lost"]


def test_an_account_is_another_lost_and_gone(bench: Bench) -> None:
    bench.registers(HERS, RegistrationState.FAILED)  # Of a login that came to nothing.
    assert bench.kinds() == []
    bench.owner = ANN
    bench.announcer.account(ANN, HERS)
    bench.registers(HERS, RegistrationState.REGISTERED, RegistrationState.REGISTERED)
    bench.registers(HERS, RegistrationState.FAILED)
    assert bench.kinds() == ["account.changed", "account.registered", "account.lost"]
    bench.owner = None
    bench.announcer.account(ANN, HERS)
    assert bench.kinds() == ["account.removed"]


def test_without_a_token_there_is_no_api() -> None:
    programs = Programs(Api())
    told: list[Callable[[], None]] = [
        lambda: programs.record(START, 1.0),
        lambda: programs.registration(PROVIDER, Registration(RegistrationState.FAILED)),
        lambda: programs.account(ANN, HERS),
    ]
    for tell in told:
        tell()
    nothing, something = web.Application(), web.Application()
    programs.serve(nothing)
    Programs(Api.model_validate({"read_token": "a token that lets read"})).serve(something)
    assert [len(each.router.resources()) for each in (nothing, something)] == [0, 1]
