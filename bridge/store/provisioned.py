# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and permissions that programs have set."""

import json
from typing import Any, Final, TypeVar

import structlog
from mautrix.util.async_db import Database
from pydantic import ValidationError

from bridge.config import Permission
from bridge.config.provisioned import (
    Kind,
    Provisioned,
    ProvisionedInbound,
    ProvisionedOutbound,
    ProvisionedRule,
    in_order,
    kind_of,
)

log = structlog.get_logger(__name__)

_APART: Final = {"name", "priority"}
"""Have columns of their own; all else is JSON."""
Model = TypeVar("Model", ProvisionedOutbound, ProvisionedInbound)


class ProvisionedSettings:
    """At most one rule of a kind and a name, and one permission for whoever it is for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def every(self) -> Provisioned:
        """All of them; what another version wrote, and cannot be read, is left out and logged."""
        rows = await self._database.fetch("SELECT kind, name, priority, rule FROM provisioned_rule")
        permissions = await self._database.fetch("SELECT who, level FROM provisioned_permission")
        return Provisioned(
            outbound=in_order(_read(rows, "outbound", ProvisionedOutbound)),
            inbound=in_order(_read(rows, "inbound", ProvisionedInbound)),
            permissions={row["who"]: Permission(row["level"]) for row in permissions},
        )

    async def save_rule(self, rule: ProvisionedRule) -> None:
        """Remember a rule, in place of the one of that kind and name."""
        await self._database.execute(
            "INSERT INTO provisioned_rule (kind, name, priority, rule) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (kind, name) DO UPDATE SET priority=excluded.priority, rule=excluded.rule",
            kind_of(rule),
            rule.name,
            rule.priority,
            # What was not said stays unsaid: `format` has no effect with `sip_domain`, say.
            rule.model_dump_json(exclude=_APART, exclude_unset=True),
        )

    async def forget_rule(self, kind: Kind, name: str) -> None:
        """Forget a rule; harmless if there is none."""
        await self._database.execute(
            "DELETE FROM provisioned_rule WHERE kind=$1 AND name=$2", kind, name
        )

    async def save_permission(self, who: str, level: Permission) -> None:
        """Remember what somebody may do."""
        await self._database.execute(
            "INSERT INTO provisioned_permission (who, level) VALUES ($1, $2) "
            "ON CONFLICT (who) DO UPDATE SET level=excluded.level",
            who,
            level.value,
        )

    async def forget_permission(self, who: str) -> None:
        """Forget what was set for somebody; harmless if nothing was."""
        await self._database.execute("DELETE FROM provisioned_permission WHERE who=$1", who)


def _read(rows: list[Any], kind: Kind, model: type[Model]) -> list[Model]:
    found = []
    for row in rows:
        if row["kind"] != kind:
            continue
        known = {"name": row["name"], "priority": row["priority"]}
        try:
            found.append(model.model_validate(json.loads(row["rule"]) | known))
        except ValidationError:
            log.error("a rule in the database cannot be read", kind=kind, rule=row["name"])
    return found
