# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings read anew: what is applied, in which order, and what is left as it was."""

import asyncio
from pathlib import Path

import pytest

from bridge.app.in_force import InForce
from bridge.app.reload import Reload
from bridge.call.ids import TrunkName
from bridge.config import Config, OutboundRule, Trunk, parse
from bridge.errors import BridgeError, ConfigurationError, LocalError
from bridge.sip.certificates import Renewed
from bridge.web.reloading import Reloaded

HEAD = """
appservice: {as_token: ours, hs_token: theirs}
database: {secret_key: "a key for the secrets of one test"}
"""
BEFORE = """
trunks:
  provider: {server: 192.0.2.1, caller_id: "+12025550100"}
  old: {server: 192.0.2.2}
outbound: [{trunk: provider}]
"""


def by(trunk: str, config: Config) -> Config:
    return config.model_copy(update={"outbound": (OutboundRule(trunk=trunk),)})


def settings(text: str) -> Config:
    return parse(HEAD + text, directory=Path("/"))


class Bench:
    """A file, a SIP endpoint and admins."""

    def __init__(self, before: str = BEFORE) -> None:
        self.in_force = InForce(settings(before))
        self.text = before
        self.done: list[tuple[str, str]] = []
        """What was done to which trunks; `all` at the moment of the rest."""
        self.fails: dict[str, BridgeError] = {}
        self.told: list[str] = []
        self.renewed = Renewed()
        self.in_force.follow(lambda: self.done.append(("all", "")))
        self.reload = Reload(
            self.in_force, self, read=lambda: settings(self.text), tell=self.told.append
        )

    async def add_trunk(self, name: TrunkName, settings: Trunk, *, mailbox: bool = False) -> None:
        await self._do("add", name)

    async def change_trunk(
        self, name: TrunkName, settings: Trunk, *, mailbox: bool = False
    ) -> None:
        await self._do("change", name)

    def renew_certificates(self) -> Renewed:
        return self.renewed

    def retire_trunk(self, name: TrunkName) -> None:
        self.done.append(("retire", name))

    async def _do(self, what: str, name: str) -> None:
        await asyncio.sleep(0)
        if error := self.fails.pop(name, None):
            raise error
        self.done.append((what, name))

    async def read(self, text: str) -> Reloaded:
        self.text = text
        return await self.reload.run()


async def test_trunks_come_before_the_rules_that_use_them_and_go_after() -> None:
    bench = Bench()
    done = await bench.read("""
trunks:
  provider: {server: 192.0.2.1, caller_id: "+12025550199"}
  new: {server: 192.0.2.3, mailbox_people: []}
outbound: [{trunk: new}]
""")
    assert bench.done == [("change", "provider"), ("add", "new"), ("all", ""), ("retire", "old")]
    assert done.applied == (
        "trunks.provider.caller_id",
        "trunks.old",
        "trunks.new",
        "outbound",
    )
    assert (done.restart, done.problems) == ((), ())
    assert bench.told == [
        "The settings were read anew. In force now: `trunks.provider.caller_id`, `trunks.old`,"
        " `trunks.new`, `outbound`."
    ]
    assert bench.in_force.config.outbound[0].trunk == "new"
    assert bench.reload.counts == {"applied": 1, "refused": 0}


async def test_what_needs_a_restart_is_named_and_left() -> None:
    bench = Bench()
    done = await bench.read(BEFORE + "media: {opus_bitrate: 64000}\nlimits: {ring_time: 30}\n")
    assert done == Reloaded(applied=("limits.ring_time",), restart=("media.opus_bitrate",))
    assert bench.in_force.config.media.opus_bitrate == 32000
    assert bench.in_force.policy.limits.ring_time == 30
    assert "In force when the bridge is started again: `media.opus_bitrate`." in bench.told[0]
    again = await bench.reload.run()
    assert again == Reloaded(restart=("media.opus_bitrate",))
    assert bench.done == [("all", "")] * 2


async def test_certificates_are_renewed_with_it() -> None:
    bench = Bench()
    bench.renewed = Renewed((1,), ("sip.transports[2]: no",))
    done = await bench.read(BEFORE)
    assert done == Reloaded(
        applied=("sip.transports[1].certificate",), warnings=("sip.transports[2]: no",)
    )
    assert bench.told == [
        "The settings were read anew. In force now: `sip.transports[1].certificate`."
        " Not so: sip.transports[2]: no."
    ]


async def test_nothing_is_told_where_nothing_is_different() -> None:
    bench = Bench()
    assert await bench.reload.run() == Reloaded()
    assert bench.told == []


async def test_mistakes_are_named_and_nothing_changes() -> None:
    bench = Bench()
    before = bench.in_force.config
    done = await bench.read(BEFORE.replace("caller_id", "callr_id") + "limits: {ring_time: 0}\n")
    assert len(done.problems) == 2
    assert "callr_id: unknown key" in done.problems[0]
    assert bench.in_force.config is before
    assert bench.done == []
    assert bench.told[0].startswith("The settings were read anew, and nothing was changed:\n\n- ")
    assert bench.reload.counts == {"applied": 0, "refused": 1}


async def test_what_does_not_go_with_what_needs_a_restart_is_refused() -> None:
    bench = Bench()
    tls = "sip: {transports: [{protocol: udp}, {protocol: tls, port: 5061}]}\n"
    done = await bench.read(tls + BEFORE.replace("192.0.2.1,", "192.0.2.1, transport: tls,"))
    assert done.restart == ("sip.transports",)
    assert "trunks.provider.transport" in done.problems[0]
    assert "until the bridge is started again" in done.problems[-1]
    assert bench.done == []


@pytest.mark.parametrize("error", [LocalError("no room"), ConfigurationError("no such listener")])
async def test_a_trunk_that_cannot_be_used_changes_nothing(error: BridgeError) -> None:
    bench = Bench()
    before = bench.in_force.config
    bench.fails["third"] = error
    done = await bench.read("""
trunks:
  provider: {server: 192.0.2.7}
  old: {server: 192.0.2.2}
  second: {server: 192.0.2.3}
  third: {server: 192.0.2.4}
outbound: [{trunk: provider}]
""")
    assert done.problems == (str(error),)
    assert bench.in_force.config is before
    made = [("change", "provider"), ("add", "second")]
    assert bench.done == [*made, ("change", "provider"), ("retire", "second")]


async def test_the_layer_stays_when_the_file_is_read_anew() -> None:
    bench = Bench()
    bench.in_force.lay_over(lambda config: by("provider", config))
    await bench.read("trunks: {provider: {server: 192.0.2.1}}\n")
    assert bench.in_force.config.outbound[0].trunk == "provider"


async def test_two_at_once_wait_for_each_other() -> None:
    bench = Bench()
    bench.text = "trunks: {new: {server: 192.0.2.3}}\n"
    first, second = await asyncio.gather(bench.reload.run(), bench.reload.run())
    assert first.applied
    assert second == Reloaded()


async def test_what_goes_wrong_in_here_is_told() -> None:
    def fail() -> Config:
        raise ZeroDivisionError

    bench = Bench()
    done = await Reload(bench.in_force, bench, read=fail, tell=bench.told.append).run()
    assert "ZeroDivisionError" in done.problems[0]


async def test_long_lists_are_cut_short() -> None:
    bench = Bench()
    trunks = "".join(f"  t{number}: {{server: 192.0.2.5}}\n" for number in range(30))
    await bench.read(BEFORE.replace("  old:", f"{trunks}  old:"))
    assert bench.told[0].endswith("`t19` and 10 more.".replace("`t19`", "`trunks.t19`"))
