# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy that changes while calls go on: it holds for what begins then, and for nothing else."""

from dataclasses import replace

from bridge.call import commands as c
from bridge.call.bounds import Bounds
from bridge.call.ids import Address, UserId
from bridge.call.notices import Notices
from bridge.call.policy import Limits, Policy
from bridge.call.rules import InboundRule, OutboundRule, TrunkPolicy
from tests.call.desk import NUMBER, OURS, PERSON, POLICY, SPARE, Desk
from tests.call.test_limits import Line, bounded, connected, ended_for

BOB = UserId("@bob:mx.test")
OTHER, THIRD = Address("tel:+12025550124"), Address("tel:+12025550125")


def test_routes_and_permissions_hold_for_the_next_call() -> None:
    desk = Desk(bounded())
    first = connected(desk)
    rules = [OutboundRule(trunks=(SPARE,), prefix="+1")]
    desk.core.use(replace(POLICY, access={}, outbound=rules))
    assert Line(desk, 2, PERSON, OTHER).refused
    desk.core.use(replace(POLICY, outbound=rules, trunks={SPARE: TrunkPolicy()}))
    Line(desk, 3, BOB, OTHER)
    assert desk.recorded(c.RecordStart).trunk == SPARE
    assert ended_for(desk) == ["not_permitted"]
    first.hang_up()


def test_who_is_called_is_asked_of_the_new_rules() -> None:
    desk = Desk()
    desk.core.use(replace(POLICY, inbound=[InboundRule(people=(BOB,), number=OURS)]))
    desk.phone_calls()
    (wanted,) = [each for each in desk.said if isinstance(each, c.PreparePortal)]
    assert wanted.person == BOB


def test_a_call_lasts_as_long_as_it_might_when_it_began() -> None:
    desk = Desk(bounded(max_duration=600))
    connected(desk)
    desk.core.use(bounded(max_duration=60))
    connected(desk, 2, PERSON, OTHER)
    desk.wait(100)
    assert ended_for(desk) == ["max_duration"]
    desk.wait(400)
    assert len(ended_for(desk)) == 1
    desk.wait(200)
    assert len(ended_for(desk)) == 2


def test_a_call_has_the_minutes_that_it_had_when_it_began() -> None:
    desk = Desk(bounded(seconds_per_day=600))
    connected(desk)
    desk.core.use(bounded(seconds_per_day=60))
    desk.wait(100)
    assert ended_for(desk) == []
    assert Line(desk, 2, PERSON, OTHER).refused
    desk.wait(510)
    assert ended_for(desk) == ["minutes_used_up", "minutes_used_up"]


def test_what_was_talked_without_a_limit_counts_for_one() -> None:
    desk = Desk(bounded())
    line = connected(desk)
    desk.wait(100)
    desk.core.use(bounded(trunk=Bounds(seconds_per_day=150), seconds_per_day=120))
    assert desk.core.left(PERSON, desk.now).seconds == 20
    connected(desk, 2, BOB, OTHER)
    desk.wait(30)
    assert ended_for(desk) == ["trunk_spent"]  # the new one alone: the old one knows no limit
    line.hang_up()
    assert desk.core.left(PERSON, desk.now).seconds == 0


def test_a_call_rings_as_long_as_it_might_when_it_began() -> None:
    desk = Desk(ringing(60))
    desk.phone_calls()
    desk.core.use(ringing(5))
    (wanted,) = [each for each in desk.said if isinstance(each, c.PreparePortal)]
    desk.portal_is_ready(wanted.op)
    desk.wait(10)
    assert ended_for(desk) == []


def test_people_read_of_a_call_what_they_would_have_when_it_began() -> None:
    desk = Desk(replace(bounded(), notices=Notices.ALL))
    line = Line(desk, 1, PERSON, NUMBER)
    line.connect()
    desk.core.use(replace(bounded(), notices=Notices.NONE))
    desk.wait(65)
    desk.said.clear()
    desk.phone_ends(line.leg)
    (notice,) = [each for each in desk.said if isinstance(each, c.SendNotice)]
    assert "1 min 5 s" in notice.text


def ringing(seconds: float) -> Policy:
    return replace(POLICY, limits=Limits(ring_time=seconds))
