# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs have set is laid over the file, and survives another file."""

import asyncio

from structlog.testing import capture_logs

from bridge.app.in_force import InForce
from bridge.app.policy import policy_of
from bridge.app.provisioning import Provisioning
from bridge.call.dialplan import OutboundRoute, route_out
from bridge.call.ids import Address, UserId
from bridge.config import Config, Permission
from bridge.config.provisioned import Provisioned, ProvisionedInbound, ProvisionedOutbound, called
from tests.web.programs import PAT, SAM, SETTINGS, PaperStore, settings

NUMBER = Address("tel:+12025550123")
SALES = ProvisionedOutbound(name="sales", priority=20, trunk="pbx", prefix="+1202")
FIRST = ProvisionedOutbound(name="first", priority=20, trunk="provider", prefix="+1202")
DOOR = ProvisionedInbound(name="door", priority=1, number="700", person=SAM)


def rule_for(in_force: InForce, person: UserId = PAT) -> str:
    route = route_out(in_force.policy, person, NUMBER)
    assert isinstance(route, OutboundRoute), route
    return route.rule


def without_pbx() -> Config:
    lines = [line for line in SETTINGS.splitlines() if "pbx" not in line]
    return settings("\n".join(lines))


async def test_rules_come_first_by_priority_and_name() -> None:
    in_force = InForce(settings())
    provisioning = Provisioning(PaperStore(), in_force)
    await provisioning.set_rule(SALES)
    assert rule_for(in_force) == "outbound:sales"
    await provisioning.set_rule(FIRST)
    assert rule_for(in_force) == "outbound:first"
    await provisioning.set_rule(FIRST.model_copy(update={"priority": 30}))
    assert rule_for(in_force) == "outbound:sales"
    await provisioning.delete_rule("outbound", "sales")
    await provisioning.delete_rule("outbound", "first")
    assert rule_for(in_force) == "outbound[0]"


async def test_what_does_not_fit_another_file_is_left_out_until_it_fits() -> None:
    in_force = InForce(without_pbx())
    provisioning = Provisioning(
        PaperStore(Provisioned(outbound=[SALES], permissions={SAM: Permission.CALL})), in_force
    )
    with capture_logs() as logs:
        await provisioning.load()
        await provisioning.set_permission("*", Permission.RECEIVE)
    assert [entry["rule"] for entry in logs] == ["outbound:sales"]
    assert rule_for(in_force, SAM) == "outbound[0]"
    in_force.replace(settings())
    assert rule_for(in_force, SAM) == "outbound:sales"
    assert in_force.written.permissions[SAM] is Permission.RECEIVE
    with capture_logs() as logs:
        in_force.replace(without_pbx())
    assert [entry["rule"] for entry in logs] == ["outbound:sales"]
    assert rule_for(in_force) == "outbound[0]"


async def test_changes_at_the_same_time_all_count() -> None:
    in_force = InForce(settings())
    store = PaperStore()
    provisioning = Provisioning(store, in_force)
    await asyncio.gather(
        provisioning.set_rule(SALES),
        provisioning.set_rule(DOOR),
        provisioning.set_permission(SAM, Permission.CALL),
        provisioning.set_permission("*", Permission.BLOCKED),
        provisioning.delete_permission("*"),
        provisioning.delete_rule("inbound", "nothing"),
    )
    assert provisioning.kept == Provisioned(
        outbound=[SALES], inbound=[DOOR], permissions={SAM: Permission.CALL}
    )
    assert len(store.said) == 6


def test_the_files_rules_keep_their_names_behind_others() -> None:
    config = Provisioned(outbound=[SALES], inbound=[DOOR]).over(settings())
    assert [*called(config.outbound)] == ["outbound:sales", "outbound[0]", "outbound[1]"]
    assert [rule.name for rule in policy_of(config).inbound] == ["inbound:door", "inbound[0]"]


def test_a_permission_of_theirs_lets_a_rule_of_theirs_fit() -> None:
    eve = ProvisionedInbound(name="eve", priority=1, person="@eve:other.example")
    assert [*Provisioned(inbound=[eve]).over(settings()).inbound] == [*settings().inbound]
    permitted = Provisioned(inbound=[eve], permissions={"other.example": Permission.RECEIVE})
    assert permitted.over(settings()).inbound[0] == eve
    assert [*permitted.left_out(permitted.over(settings()))] == []
