# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and permissions that programs have set: kept, and laid over the settings in force."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

import structlog

from bridge.app.in_force import InForce
from bridge.config import Permission
from bridge.config.problems import dotted
from bridge.config.provisioned import (
    Kind,
    Provisioned,
    ProvisionedInbound,
    ProvisionedOutbound,
    ProvisionedRule,
    in_order,
    kind_of,
    problems_of,
)
from bridge.errors import StoreUnavailable, Unfit
from bridge.store.database import TRANSIENT

log = structlog.get_logger(__name__)

Rule = TypeVar("Rule", ProvisionedOutbound, ProvisionedInbound)


class Store(Protocol):
    """Where they are kept."""

    async def every(self) -> Provisioned:
        """All of them."""

    async def save_rule(self, rule: ProvisionedRule) -> None:
        """Remember a rule, in place of the one of that kind and name."""

    async def forget_rule(self, kind: Kind, name: str) -> None:
        """Forget a rule."""

    async def save_permission(self, who: str, level: Permission) -> None:
        """Remember what somebody may do."""

    async def forget_permission(self, who: str) -> None:
        """Forget what was set for somebody."""


class Provisioning:
    """Changes one thing at a time: first in the database, then in what counts.

    Methods raise `StoreUnavailable`; then nothing has changed.
    """

    def __init__(self, store: Store, in_force: InForce) -> None:
        self._store = store
        self._in_force = in_force
        self._kept = Provisioned()
        self._left_out: set[str] = set()
        self._lock = asyncio.Lock()

    @property
    def kept(self) -> Provisioned:
        """What programs have set."""
        return self._kept

    async def load(self) -> None:
        """Put what was set before in force, but for what does not fit the file any more."""
        self._in_force.follow(self._warn)
        self._put(await self._store.every())

    async def set_rule(self, rule: ProvisionedRule) -> None:
        """Put a rule in force, in place of the one of that name. Raises `Unfit`."""
        async with self._lock:
            found = list(problems_of(self._in_force.config, rule))
            if found:
                errors = [(dotted(path) or "body", text) for path, text in found]
                raise Unfit("; ".join(f"{field}: {text}" for field, text in errors), errors)
            async with available():
                await self._store.save_rule(rule)
            if isinstance(rule, ProvisionedOutbound):
                others = _without(rule.name, self._kept.outbound)
                self._put(replace(self._kept, outbound=in_order([*others, rule])))
            else:
                rest = _without(rule.name, self._kept.inbound)
                self._put(replace(self._kept, inbound=in_order([*rest, rule])))

    async def delete_rule(self, kind: Kind, name: str) -> None:
        """Have a rule no more; harmless if there is none."""
        async with self._lock:
            async with available():
                await self._store.forget_rule(kind, name)
            if kind == "outbound":
                self._put(replace(self._kept, outbound=_without(name, self._kept.outbound)))
            else:
                self._put(replace(self._kept, inbound=_without(name, self._kept.inbound)))

    async def set_permission(self, who: str, level: Permission) -> None:
        """Put a permission in force."""
        async with self._lock:
            async with available():
                await self._store.save_permission(who, level)
            self._put(replace(self._kept, permissions={**self._kept.permissions, who: level}))

    async def delete_permission(self, who: str) -> None:
        """Have it as the configuration says; harmless if it is so."""
        async with self._lock:
            async with available():
                await self._store.forget_permission(who)
            left = {key: level for key, level in self._kept.permissions.items() if key != who}
            self._put(replace(self._kept, permissions=left))

    def _warn(self) -> None:
        """Say once of each rule that it is left out: now, or after the file was read anew."""
        left_out = {f"{kind_of(r)}:{r.name}" for r in self._kept.left_out(self._in_force.config)}
        for rule in sorted(left_out - self._left_out):
            log.warning("a rule that was set by the API is not used", rule=rule)
        self._left_out = left_out

    def _put(self, kept: Provisioned) -> None:
        self._kept = kept
        self._in_force.lay_over(kept.over)


@asynccontextmanager
async def available() -> AsyncIterator[None]:
    """Raises `StoreUnavailable` where the database is away."""
    try:
        yield
    except TRANSIENT as error:
        raise StoreUnavailable("the database does not answer") from error


def _without(name: str, rules: Sequence[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.name != name]
