# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings in force: replaced, and laid over."""

from pathlib import Path

import pytest

from bridge.app.in_force import InForce
from bridge.call.ids import UserId
from bridge.call.policy import Access, access_of
from bridge.config import Config, OutboundRule, Permission, parse

ANN, BOB = UserId("@ann:mx.test"), UserId("@bob:mx.test")


def written(permission: str = "call", trunk: str = "provider") -> Config:
    return parse(
        f"""
appservice: {{as_token: ours, hs_token: theirs}}
database: {{secret_key: "a key for the secrets of one test"}}
permissions: {{"{ANN}": {permission}}}
trunks: {{{trunk}: {{server: 192.0.2.1}}}}
outbound: [{{trunk: {trunk}}}]
""",
        directory=Path("/"),
    )


def with_bob(config: Config) -> Config:
    permissions = {**config.permissions, BOB: Permission.RECEIVE}
    return config.model_copy(update={"permissions": permissions})


def by(trunk: str, config: Config) -> Config:
    return config.model_copy(update={"outbound": (OutboundRule(trunk=trunk), *config.outbound)})


def test_what_is_laid_over_the_file_stays_when_that_is_read_anew() -> None:
    in_force = InForce(written())
    told: list[Access] = []
    in_force.follow(lambda: told.append(access_of(in_force.policy, ANN)))
    in_force.lay_over(with_bob)
    assert access_of(in_force.policy, BOB) is Access.RECEIVE
    in_force.replace(written("blocked"))
    assert access_of(in_force.policy, BOB) is Access.RECEIVE
    assert told == [Access.CALL, Access.BLOCKED]
    assert BOB not in in_force.written.permissions


def test_a_layer_takes_the_place_of_the_one_before() -> None:
    in_force = InForce(written())
    in_force.lay_over(with_bob)
    in_force.lay_over(lambda config: by("provider", config))
    assert access_of(in_force.policy, BOB) is Access.BLOCKED
    assert len(in_force.policy.outbound) == 2


def test_what_would_count_can_be_seen_before() -> None:
    in_force = InForce(written())
    in_force.follow(lambda: pytest.fail("told"))
    assert in_force.preview(written("blocked")).permissions[ANN] is Permission.BLOCKED
    assert access_of(in_force.policy, ANN) is Access.CALL


def test_who_fails_to_follow_keeps_nobody_else_from_it() -> None:
    def fail() -> None:
        raise RuntimeError

    in_force = InForce(written())
    told: list[bool] = []
    in_force.follow(fail)
    in_force.follow(lambda: told.append(True))
    in_force.lay_over(with_bob)
    assert told == [True]
