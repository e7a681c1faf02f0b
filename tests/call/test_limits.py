# SPDX-License-Identifier: GPL-3.0-or-later
"""How much people and trunks may call: at once, in a minute, in a day, how long, and whom."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.bounds import Bounds, NumberKind
from bridge.call.causes import MEANINGS, Cause
from bridge.call.dialplan import OutboundRoute, route_of, route_out
from bridge.call.ids import (
    Address,
    CallId,
    LegId,
    MatrixCallId,
    Party,
    PartyId,
    RoomId,
    Side,
    TrunkName,
    UserId,
)
from bridge.call.limits import Allowance, limits_of
from bridge.call.meter import Meter, Rates
from bridge.call.notices import SOON_OVER
from bridge.call.policy import Limits, Policy, Refusal
from bridge.call.rules import OutboundRule, TrunkPolicy
from tests.call.desk import CAPABLE, NUMBER, OUR_CALL, PERSON, POLICY, TRUNK, Desk

DAY = 86400.0
BOB = UserId("@bob:mx.test")
OTHER = Address("tel:+12025550124")
THIRD = Address("tel:+12025550125")


def bounded(
    trunk: Bounds | None = None, people: Mapping[str, Bounds] | None = None, **limits: object
) -> Policy:
    return replace(
        POLICY,
        trunks={TRUNK: TrunkPolicy(bounds=trunk or Bounds())},
        limits=replace(Limits(calls_per_person=5, calls_per_minute=50), **limits),  # type: ignore[arg-type]
        people=people or {},
    )


class Line:
    """One outgoing call on a desk where there are several."""

    def __init__(self, desk: Desk, number: int, person: UserId, address: Address) -> None:
        self.desk = desk
        self.id = CallId(f"n-{number}")
        self.leg = LegId(f"n-{number}-out")
        self.sender = Party(person, PartyId("LAPTOP"))
        self.key = MatrixCallId(f"call-{number}")
        self.room = RoomId(f"!{person}{address}")
        desk.said.clear()
        desk.tell(
            e.MatrixInviteReceived(
                room=self.room,
                call_id=self.key,
                sender=self.sender,
                address=address,
                version=1,
                sdp="matrix offer",
                lifetime=60,
                age=0.5,
                capabilities=CAPABLE,
            )
        )
        self.refused = any(isinstance(said, c.SendMatrixReject) for said in desk.said)

    def connect(self) -> None:
        """The far end answers at once."""
        (offer,) = [each for each in self.desk.said if isinstance(each, c.OfferMedia)]
        self.desk.tell(e.MediaOfferReady(call=self.id, op=offer.op, sdp="offer to sip"))
        self.desk.said.clear()
        self.desk.tell(e.SipAnswered(leg=self.leg, sdp="sip answer"))
        (answer,) = [each for each in self.desk.said if isinstance(each, c.AnswerMedia)]
        assert answer.side is Side.SIP
        self.desk.tell(e.MediaAnswerReady(call=self.id, op=answer.op, sdp="answer to matrix"))
        self.desk.tell(e.MediaConnected(call=self.id, matrix_codec="x", sip_codec="x"))
        self.desk.said.clear()

    def hang_up(self) -> None:
        self.desk.tell(e.MatrixHangupReceived(room=self.room, call_id=self.key, sender=self.sender))
        self.close()

    def close(self) -> None:
        """Everybody lets go of it."""
        self.desk.tell(e.SipEnded(leg=self.leg, status=200))
        self.desk.tell(e.MediaClosed(call=self.id))
        self.desk.said.clear()


def connected(
    desk: Desk, number: int = 1, person: UserId = PERSON, address: Address = NUMBER
) -> Line:
    line = Line(desk, number, person, address)
    assert not line.refused
    line.connect()
    return line


def ended_for(desk: Desk) -> list[str]:
    return [each.cause for each in desk.records if isinstance(each, c.RecordEnd)]


# --- minutes ----------------------------------------------------------------------------------


def test_call_ends_when_the_time_is_used_up_and_says_so_before() -> None:
    desk = Desk(bounded(seconds_per_day=300))
    connected(desk)
    assert desk.core.left(PERSON, desk.now) == Allowance(calls=4, seconds=300)
    desk.wait(239)
    assert desk.said == []
    desk.wait(1.1)
    assert desk.expect(c.SendNotice).text == SOON_OVER
    desk.wait(59)
    assert desk.said == []
    desk.wait(1)
    assert ended_for(desk) == ["minutes_used_up"]
    notice = [each for each in desk.said if isinstance(each, c.SendNotice)]
    assert [each.text for each in notice] == [MEANINGS[Cause.MINUTES_USED_UP].sentence]
    assert desk.core.left(PERSON, desk.now).seconds == pytest.approx(0, abs=0.2)


def test_who_has_no_time_left_calls_nobody_until_it_is_a_day_ago() -> None:
    desk = Desk(bounded(seconds_per_day=300))
    line = connected(desk)
    desk.wait(400)
    line.close()
    again = Line(desk, 2, PERSON, OTHER)
    assert again.refused
    assert ended_for(desk)[-1] == "minutes_used_up"
    refusal = desk.core.why_not(PERSON, NUMBER, desk.now)
    assert refusal == Refusal(Cause.MINUTES_USED_UP)
    again.close()
    assert not Line(desk, 3, BOB, OTHER).refused
    desk.wait(DAY)
    assert desk.core.left(PERSON, desk.now).seconds == 300
    assert not Line(desk, 4, PERSON, OTHER).refused


def test_two_calls_at_once_use_it_up_in_half_the_time() -> None:
    desk = Desk(bounded(seconds_per_day=300))
    connected(desk)
    connected(desk, 2, address=OTHER)
    desk.wait(119)
    assert desk.said == []
    desk.wait(2)
    assert [type(each) for each in desk.said] == [c.SendNotice] * 2
    desk.wait(30)
    assert ended_for(desk) == ["minutes_used_up"] * 2


def test_call_that_begins_in_the_last_minute_is_told_at_once() -> None:
    desk = Desk(bounded(seconds_per_day=300))
    first = connected(desk)
    desk.wait(270)
    first.hang_up()
    connected(desk, 2)
    desk.wait(0)
    assert desk.expect(c.SendNotice).text == SOON_OVER
    desk.wait(31)
    assert ended_for(desk) == ["normal", "minutes_used_up"]


def test_time_comes_back_while_somebody_talks() -> None:
    desk = Desk(bounded(seconds_per_day=300))
    desk.tell(
        e.TalksRecalled(
            talks=(
                e.Talk(person=PERSON, trunk=TRUNK, seconds=100, ago=10),
                e.Talk(person=PERSON, trunk=TRUNK, seconds=150, ago=DAY - 40),
                e.Talk(person=BOB, trunk=TRUNK, seconds=9000, ago=1),
            )
        )
    )
    assert desk.core.left(PERSON, desk.now).seconds == 50
    connected(desk)
    desk.wait(0)
    assert desk.expect(c.SendNotice).text == SOON_OVER  # as far as could be known
    desk.wait(100)
    assert ended_for(desk) == []
    desk.wait(101)
    assert ended_for(desk) == ["minutes_used_up"]


def test_incoming_calls_take_nobodys_time() -> None:
    desk = Desk(bounded(seconds_per_day=60))
    desk.connected_to_the_person()
    desk.wait(3000)
    assert ended_for(desk) == []
    assert desk.core.left(PERSON, desk.now).seconds == 60


def test_trunks_time_is_everybodys() -> None:
    desk = Desk(bounded(Bounds(seconds_per_day=600)))
    one, two = connected(desk), connected(desk, 2, BOB, OTHER)
    desk.wait(301)
    assert ended_for(desk) == ["trunk_spent"] * 2
    one.close()
    two.close()
    assert Line(desk, 3, UserId("@eve:mx.test"), THIRD).refused
    assert desk.recorded(c.RecordStart).trunk == TRUNK
    assert desk.recorded(c.RecordEnd).detail == f"trunks.{TRUNK}.limits.minutes_per_day"
    assert desk.core.left(PERSON, desk.now).seconds is None


# --- calls ------------------------------------------------------------------------------------


def test_trunk_carries_so_many_calls_at_once() -> None:
    desk = Desk(bounded(Bounds(calls=2)))
    connected(desk)
    second = connected(desk, 2, BOB, OTHER)
    assert Line(desk, 3, PERSON, THIRD).refused
    end = desk.recorded(c.RecordEnd)
    assert (end.cause, end.detail) == ("trunk_busy", f"trunks.{TRUNK}.limits.calls: 2")
    second.hang_up()
    assert not Line(desk, 4, PERSON, THIRD).refused


def test_trunk_carries_so_many_calls_a_minute() -> None:
    desk = Desk(bounded(Bounds(calls_per_minute=2)))
    for number in (1, 2):
        connected(desk, number).hang_up()
    third = Line(desk, 3, PERSON, THIRD)
    assert third.refused
    assert ended_for(desk)[-1] == "trunk_busy"
    third.close()
    desk.wait(61)
    assert not Line(desk, 4, PERSON, THIRD).refused


def test_calls_of_the_last_minute_count_when_the_bridge_was_started_again() -> None:
    desk = Desk(bounded(Bounds(calls_per_minute=3), calls_per_minute=2))
    desk.tell(
        e.TalksRecalled(
            talks=(),
            placed=(
                e.Placed(person=PERSON, trunk=TRUNK, ago=10),
                e.Placed(person=PERSON, trunk=TRUNK, ago=50),
            ),
        )
    )
    first = Line(desk, 1, PERSON, NUMBER)
    assert first.refused
    first.close()
    assert ended_for(desk) == ["too_frequent"]
    connected(desk, 2, BOB, OTHER)
    assert Line(desk, 3, BOB, THIRD).refused
    assert ended_for(desk)[-1] == "trunk_busy"
    desk.wait(11)
    assert not Line(desk, 4, PERSON, THIRD).refused


def test_most_exact_bounds_count_each_for_itself() -> None:
    people: dict[str, Bounds] = {
        "*": Bounds(calls=1, max_duration=60),
        "mx.test": Bounds(calls_per_minute=3, seconds_per_day=600),
        PERSON: Bounds(calls=7),
    }
    policy = bounded(people=people)
    assert limits_of(policy, PERSON) == Limits(
        calls_per_person=7, calls_per_minute=3, seconds_per_day=600, max_duration=60
    )
    assert limits_of(policy, BOB).calls_per_person == 1
    assert limits_of(policy, UserId("@x:elsewhere.test")).calls_per_minute == 50


def test_no_minutes_at_all() -> None:
    desk = Desk(bounded(people={PERSON: Bounds(seconds_per_day=0)}))
    assert Line(desk, 1, PERSON, NUMBER).refused
    assert not Line(desk, 2, BOB, NUMBER).refused


@pytest.mark.parametrize(
    ("trunk", "people", "seconds"),
    [(None, None, 900), (100, None, 100), (None, 50, 50), (100, 200, 100), (2000, None, 900)],
)
def test_longest_call(trunk: int | None, people: int | None, seconds: int) -> None:
    bounds: dict[str, Bounds] = {PERSON: Bounds(max_duration=people)}
    desk = Desk(bounded(Bounds(max_duration=trunk), bounds, max_duration=900))
    connected(desk)
    desk.wait(seconds - 1)
    assert ended_for(desk) == []
    desk.wait(2)
    assert ended_for(desk) == ["max_duration"]


def test_longest_call_of_a_trunk_is_that_of_incoming_ones_too() -> None:
    desk = Desk(bounded(Bounds(max_duration=100)))
    desk.connected_to_the_person()
    desk.wait(101)
    assert ended_for(desk) == ["max_duration"]


# --- what is passed on ------------------------------------------------------------------------


def test_callers_are_not_forwarded_at_the_cost_of_who_has_no_time_left() -> None:
    desk = Desk(bounded(people={PERSON: Bounds(seconds_per_day=0)}))
    desk.tell(e.PersonChanged(person=PERSON, forward=OTHER))
    desk.phone_calls()
    assert ended_for(desk) == ["minutes_used_up"]


def test_far_end_is_not_transferred_at_the_cost_of_a_trunk_that_is_spent() -> None:
    desk = Desk(bounded(Bounds(seconds_per_day=0)))
    desk.connected_to_the_person()
    desk.person_transfers(OTHER, call_id=OUR_CALL)
    assert desk.expect(c.SendNotice).text == MEANINGS[Cause.TRUNK_SPENT].sentence


# --- numbers ----------------------------------------------------------------------------------


def kinds(number: str) -> NumberKind:
    table = {
        "911": NumberKind.EMERGENCY,
        "+1900": NumberKind.PREMIUM,
        "+881": NumberKind.SATELLITE,
        "+49700": NumberKind.PERSONAL,
    }
    return next(
        (kind for key, kind in table.items() if number.startswith(key)), NumberKind.ORDINARY
    )


def verdict(policy: Policy, number: str, person: UserId = PERSON) -> Cause | None:
    route = route_out(policy, person, Address(f"tel:{number}"))
    return route.cause if isinstance(route, Refusal) else None


def numbers(**changes: object) -> Policy:
    policy = replace(POLICY, outbound=[OutboundRule(trunks=(TRUNK,))], kind_of=kinds)
    return replace(policy, **changes)  # type: ignore[arg-type]


def test_costly_kinds_are_forbidden_unless_the_settings_say_otherwise() -> None:
    policy = numbers()
    assert verdict(policy, "+19005550123") is Cause.PREMIUM_NUMBER
    assert verdict(policy, "+8815550123") is Cause.SATELLITE_NUMBER
    assert verdict(policy, "008815550123") is Cause.SATELLITE_NUMBER
    assert verdict(policy, "+497005550123") is None
    strict = numbers(forbidden_kinds=frozenset({NumberKind.PERSONAL}))
    assert verdict(strict, "+497005550123") is Cause.FORBIDDEN_NUMBER
    assert verdict(strict, "+19005550123") is None
    assert verdict(numbers(forbidden_kinds=frozenset()), "911") is Cause.EMERGENCY_NUMBER


def test_longest_prefix_counts() -> None:
    policy = numbers(allowed_prefixes=("+1", "+44"), forbidden_prefixes=("+44", "+1202555"))
    assert verdict(policy, "+12125550123") is None
    assert verdict(policy, "+12025550123") is Cause.FORBIDDEN_NUMBER
    assert verdict(policy, "+442079460123") is Cause.FORBIDDEN_NUMBER
    assert verdict(policy, "+33199005678") is Cause.FORBIDDEN_NUMBER
    assert verdict(policy, "100") is None


def test_most_exact_entry_about_a_number_counts() -> None:
    people = {
        "*": Bounds(allowed_prefixes=("+1",)),
        "mx.test": Bounds(forbidden_prefixes=("+1212",)),
        PERSON: Bounds(allowed_prefixes=("+1", "+33"), forbidden_kinds=frozenset()),
    }
    policy = numbers(people=people, forbidden_prefixes=("+33",))
    assert verdict(policy, "+33199005678") is None
    assert verdict(policy, "+19005550123") is None
    assert verdict(policy, "+442079460123") is Cause.FORBIDDEN_NUMBER
    assert verdict(policy, "+33199005678", BOB) is Cause.FORBIDDEN_NUMBER
    assert verdict(policy, "+12125550123", BOB) is Cause.FORBIDDEN_NUMBER
    assert verdict(policy, "+12025550123", BOB) is None
    assert verdict(policy, "+19005550123", BOB) is Cause.PREMIUM_NUMBER


def test_what_somebody_may_call_is_not_out_of_reach() -> None:
    premium, satellite = Address("tel:+19005550123"), Address("tel:+8815550123")
    people = {PERSON: Bounds(forbidden_kinds=frozenset({NumberKind.SATELLITE}))}
    policy = numbers(people=people)
    assert isinstance(route_of(policy, premium), OutboundRoute)
    assert route_of(policy, satellite) == Refusal(Cause.SATELLITE_NUMBER)


def test_trunk_has_numbers_of_its_own() -> None:
    other = TrunkName("other")
    trunks = {TRUNK: TrunkPolicy(bounds=Bounds(allowed_prefixes=("+1",))), other: TrunkPolicy()}
    rules = [OutboundRule(trunks=(other,), prefix="+33"), OutboundRule(trunks=(TRUNK,))]
    policy = numbers(trunks=trunks, outbound=rules)
    assert verdict(policy, "+12025550123") is None
    assert verdict(policy, "+33199005678") is None
    assert verdict(policy, "+442079460123") is Cause.FORBIDDEN_NUMBER
    assert verdict(policy, "100") is None


# --- counting ---------------------------------------------------------------------------------


def test_rates_and_meters_forget() -> None:
    rates, meter = Rates(), Meter()
    for now in (0.0, 1.0, 61.0):
        rates.add("a", now)
    assert rates.of("a", 61.5) == 1
    assert rates.of("b", 0) == 0
    meter.add("a", 0.1, 0)
    meter.add("a", 0.2, 10)
    assert meter.used("a", 11) == pytest.approx(0.3)
    assert meter.used("a", DAY + 1) == pytest.approx(0.2)
    assert meter.used("a", DAY + 10) == 0
    assert meter.used("b", 0) == 0


class Talkers(RuleBasedStateMachine):
    """Two people call as they like: neither they nor the trunk ever get more than their time."""

    person_day, trunk_day = 600.0, 900.0

    def __init__(self) -> None:
        super().__init__()
        policy = bounded(
            Bounds(seconds_per_day=self.trunk_day, calls=3), seconds_per_day=self.person_day
        )
        self.desk = Desk(policy)
        self.made = 0
        self.lines: list[Line] = []
        self.talks: dict[CallId, tuple[UserId, float, float | None]] = {}

    @rule(person=st.sampled_from([PERSON, BOB]), to=st.sampled_from([NUMBER, OTHER, THIRD]))
    def call(self, person: UserId, to: Address) -> None:
        self.made += 1
        line = Line(self.desk, self.made, person, to)
        if line.refused:
            line.close()
        else:
            line.connect()
            self.talks[line.id] = (person, self.desk.now, None)
        self.look()  # To the same number, it takes the place of the call before.
        if not line.refused:
            self.lines.append(line)

    @rule(which=st.integers(0, 5))
    def hang_up(self, which: int) -> None:
        if self.lines:
            self.lines.pop(which % len(self.lines)).hang_up()
            self.look()

    @rule(seconds=st.sampled_from([0.0, 1.0, 30.0, 59.0, 61.0, 300.0, 4000.0, DAY / 2]))
    def wait(self, seconds: float) -> None:
        self.desk.wait(seconds)
        self.look()

    def look(self) -> None:
        """Note which calls have ended; those that time ended, not later than now."""
        over = {each.call for each in self.desk.records if isinstance(each, c.RecordEnd)}
        for line in list(self.lines):
            if line.id in over:
                self.lines.remove(line)
                line.close()
        for call, (person, begun, ended) in self.talks.items():
            if ended is None and call in over:
                at = self.desk.ended_at[call]
                self.talks[call] = (person, begun, at)

    @invariant()
    def nobody_has_more_than_their_time(self) -> None:
        now = self.desk.now
        for person in (PERSON, BOB, None):
            spent = sum(
                (now if ended is None else ended) - begun
                for who, begun, ended in self.talks.values()
                if person in (None, who) and (ended is None or ended > now - DAY)
            )
            limit = self.trunk_day if person is None else self.person_day
            assert spent <= limit + 0.1
            if person is not None:
                left = self.desk.core.left(person, now).seconds
                assert left == pytest.approx(max(0.0, limit - spent), abs=0.1)

    @invariant()
    def trunk_is_not_overrun(self) -> None:
        assert len(self.lines) <= 3

    def teardown(self) -> None:
        self.desk.wait(20_000)
        assert self.desk.core.active() == []
        assert self.desk.core.next_deadline() is None
        self.desk.audit.all_is_over()


TestTalkers = Talkers.TestCase
