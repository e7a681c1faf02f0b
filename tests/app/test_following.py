# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told when other settings are in force, and of what."""

import asyncio
import logging
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from bridge.app.following import Following
from bridge.app.in_force import InForce
from bridge.call.policy import Policy
from bridge.config import Config, Logging, Sip, parse
from bridge.media.workers.engine import WorkerEngine
from tests.simulators.waiting import until

HEAD = """
appservice: {as_token: ours, hs_token: theirs}
database: {secret_key: "a key for the secrets of one test"}
"""


def settings(text: str = "") -> Config:
    return parse(HEAD + text, directory=Path("/"))


class Workers(WorkerEngine):
    """Processes that are none."""

    def __init__(self) -> None:
        self.logging: list[Logging] = []

    def log_as(self, logging: Logging) -> None:
        self.logging.append(logging)


class Bench:
    """All that keep settings."""

    def __init__(self, media: object = None) -> None:
        self.in_force = InForce(settings())
        self.policies: list[Policy] = []
        self.zone: ZoneInfo | None = None
        self.join_time = 0.0
        self.sips: list[Sip] = []
        self.followed = 0
        self.fails = False
        parts: dict[str, Any] = dict.fromkeys(("switchboard", "driver", "matrix", "sip"), self)
        self.following = Following(
            self.in_force, **parts, media=cast(Any, media), accounts=cast(Any, self)
        )
        self.following.begin()

    def use(self, what: Policy | Sip) -> None:
        if isinstance(what, Sip):
            self.sips.append(what)
        else:
            self.policies.append(what)

    async def follow(self) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise RuntimeError("the database is away")
        self.followed += 1


async def test_all_who_keep_settings_are_told() -> None:
    bench = Bench()
    text = "notices: {timezone: Europe/Berlin}\nlimits: {ring_time: 30}\nsip: {max_calls: 7}\n"
    bench.in_force.replace(settings(text + "logging: {level: warning}\n"))
    assert bench.policies == [bench.in_force.policy]
    assert str(bench.zone) == "Europe/Berlin"
    assert bench.join_time == 35
    assert [each.max_calls for each in bench.sips] == [7]
    assert logging.getLogger().level == logging.WARNING
    bench.in_force.replace(settings())
    assert str(bench.zone) == "None"
    await bench.following.close()
    assert bench.followed == 0


@pytest.mark.parametrize(
    "text", ['permissions: {"@ann:mx.test": call}', "accounts: {servers: [sip.example.com]}"]
)
async def test_accounts_follow_what_is_about_them(text: str) -> None:
    bench = Bench()
    bench.in_force.replace(settings(text))
    await until(lambda: bench.followed == 1, what="the accounts were told")
    bench.in_force.replace(settings(text + "\nlimits: {ring_time: 30}"))
    await bench.following.close()
    assert bench.followed == 1


async def test_accounts_that_cannot_follow_do_no_harm() -> None:
    bench = Bench()
    bench.fails = True
    bench.in_force.replace(settings("accounts: {servers: [sip.example.com]}"))
    for _ in range(3):
        await asyncio.sleep(0)
    await bench.following.close()


async def test_nobody_follows_after_the_end() -> None:
    bench = Bench()
    bench.in_force.replace(settings("accounts: {servers: [sip.example.com]}"))
    await bench.following.close()
    assert bench.followed == 0


async def test_media_workers_are_told_what_to_log() -> None:
    workers = Workers()
    bench = Bench(workers)
    bench.in_force.replace(settings("limits: {ring_time: 30}"))
    assert workers.logging == []
    bench.in_force.replace(settings("logging: {level: debug}"))
    assert [each.level for each in workers.logging] == ["debug"]
