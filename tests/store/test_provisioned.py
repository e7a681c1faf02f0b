# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and permissions that programs have set, in the database."""

from mautrix.util.async_db import Database
from structlog.testing import capture_logs

from bridge.config import Permission
from bridge.config.provisioned import Provisioned, ProvisionedInbound, ProvisionedOutbound
from bridge.store.provisioned import ProvisionedSettings

SALES = ProvisionedOutbound(name="sales", priority=20, trunk="provider", prefix="+1")
ABROAD = ProvisionedOutbound(
    name="abroad", priority=10, trunks=("one", "other"), people=("@a*:mx.test",), strip=2
)
DOOR = ProvisionedInbound(name="sales", priority=20, number="_7XX\0", people=("@ann:mx.test",))


async def test_what_was_set_comes_back_in_the_order_in_which_it_is_tried(
    database: Database,
) -> None:
    settings = ProvisionedSettings(database)
    assert await settings.every() == Provisioned(outbound=[], inbound=[])
    for rule in (SALES, ABROAD, DOOR):
        await settings.save_rule(rule)
    await settings.save_permission("@ann:mx.test", Permission.CALL)
    found = await settings.every()
    assert (found.outbound, found.inbound) == ([ABROAD, SALES], [DOOR])
    assert found.outbound[1].model_fields_set == {"name", "priority", "trunk", "prefix"}
    assert found.permissions == {"@ann:mx.test": Permission.CALL}


async def test_what_is_newer_takes_the_place_of_the_older(database: Database) -> None:
    settings = ProvisionedSettings(database)
    for priority in (20, 5):
        await settings.save_rule(SALES.model_copy(update={"priority": priority}))
    for level in (Permission.ADMIN, Permission.BLOCKED):
        await settings.save_permission("*", level)
    found = await settings.every()
    assert [each.priority for each in found.outbound] == [5]
    assert found.permissions == {"*": Permission.BLOCKED}


async def test_what_is_forgotten_is_gone(database: Database) -> None:
    settings = ProvisionedSettings(database)
    await settings.save_rule(SALES)
    await settings.save_rule(DOOR)
    await settings.save_permission("*", Permission.CALL)
    for _ in range(2):
        await settings.forget_rule("outbound", "sales")
        await settings.forget_permission("*")
    assert await settings.every() == Provisioned(outbound=[], inbound=[DOOR])


async def test_rule_of_another_version_is_left_out(database: Database) -> None:
    settings = ProvisionedSettings(database)
    await settings.save_rule(SALES)
    await settings.save_rule(ABROAD)
    await database.execute(
        "UPDATE provisioned_rule SET rule=$1 WHERE name='abroad'", '{"carrier": "pigeon"}'
    )
    with capture_logs() as logs:
        assert (await settings.every()).outbound == [SALES]
    assert [entry["rule"] for entry in logs] == ["abroad"]
