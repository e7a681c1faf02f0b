# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the dial plan: those of the configuration, and those that programs have set."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from bridge.call.ids import UserId
from bridge.call.policy import Refusal
from bridge.config import InboundRule, OutboundRule
from bridge.config.checks_routing import USER_ID
from bridge.config.problems import dotted
from bridge.config.provisioned import (
    Kind,
    ProvisionedInbound,
    ProvisionedOutbound,
    ProvisionedRule,
    called,
    problems_of,
)
from bridge.errors import Unfit
from bridge.web.api import models as m
from bridge.web.api.backend import Backend
from bridge.web.api.handlers.reply import Reply, missing

_WRITTEN: Final = "config."


async def list_outbound(backend: Backend) -> Reply:
    """All rules for calls from Matrix."""
    return Reply(m.OutboundRoutes(routes=list(_outbound(backend))))


async def list_inbound(backend: Backend) -> Reply:
    """All rules for calls from SIP."""
    return Reply(m.InboundRoutes(routes=list(_inbound(backend))))


async def get_outbound(backend: Backend, path: m.RulePath) -> Reply:
    """One of them."""
    return Reply(_of(path.name, _outbound(backend)))


async def get_inbound(backend: Backend, path: m.RulePath) -> Reply:
    """One of them."""
    return Reply(_of(path.name, _inbound(backend)))


async def put_outbound(backend: Backend, path: m.RulePath, body: m.OutboundSettings) -> Reply:
    """Put a rule in force."""
    known = _has(backend, "outbound", path.name)
    said = body.model_dump(exclude_unset=True) | {"name": path.name, "priority": body.priority}
    await backend.set_rule(ProvisionedOutbound(**said))
    return Reply(_of(path.name, _outbound(backend)), 200 if known else 201)


async def put_inbound(backend: Backend, path: m.RulePath, body: m.InboundSettings) -> Reply:
    """Put a rule in force."""
    known = _has(backend, "inbound", path.name)
    said = body.model_dump(exclude_unset=True) | {"name": path.name, "priority": body.priority}
    await backend.set_rule(ProvisionedInbound(**said))
    return Reply(_of(path.name, _inbound(backend)), 200 if known else 201)


async def delete_outbound(backend: Backend, path: m.RulePath) -> Reply:
    """Have a rule no more."""
    return await _delete(backend, "outbound", path.name)


async def delete_inbound(backend: Backend, path: m.RulePath) -> Reply:
    """Have a rule no more."""
    return await _delete(backend, "inbound", path.name)


async def explain_route(backend: Backend, query: m.ExplainQuery) -> Reply:
    """What would become of a call."""
    if query.trunk is None:
        return Reply(_leaving(backend, query))
    found = backend.explain_in(query.trunk, query.number)
    refused = isinstance(found.result, Refusal)
    return Reply(
        m.Explained(
            possible=not refused,
            verdict=found.verdict,
            cause=_cause(found.result),
            steps=[f"the caller: `{query.who}`", *found.steps],
            trunks=[query.trunk],
            people=[] if isinstance(found.result, Refusal) else [*found.result],
        )
    )


def _leaving(backend: Backend, query: m.ExplainQuery) -> m.Explained:
    if not USER_ID.fullmatch(query.who):
        wanted = f"{query.who!r} is not a Matrix id; wanted: like @person:example.org."
        raise Unfit(wanted, [("who", wanted)])
    found = backend.explain(UserId(query.who), query.number)
    ways = () if isinstance(found.result, Refusal) else found.result.ways
    return m.Explained(
        possible=bool(ways),
        verdict=found.verdict,
        cause=_cause(found.result),
        steps=[*found.steps],
        trunks=[way.trunk for way in ways],
        people=[],
    )


def _cause(result: object) -> str | None:
    return result.cause.value if isinstance(result, Refusal) else None


def _outbound(backend: Backend) -> Iterator[m.OutboundRoute]:
    rules = backend.config.outbound
    for rule, known in zip(rules, called(rules), strict=True):
        yield m.OutboundRoute(settings=rule, **_place(rule, known, ()))
    for left_out in backend.provisioned.outbound:
        if problems := _problems(backend, left_out):
            (known,) = called([left_out])
            yield m.OutboundRoute(settings=left_out, **_place(left_out, known, problems))


def _inbound(backend: Backend) -> Iterator[m.InboundRoute]:
    rules = backend.config.inbound
    for rule, known in zip(rules, called(rules), strict=True):
        yield m.InboundRoute(settings=rule, **_place(rule, known, ()))
    for left_out in backend.provisioned.inbound:
        if problems := _problems(backend, left_out):
            (known,) = called([left_out])
            yield m.InboundRoute(settings=left_out, **_place(left_out, known, problems))


def _place(rule: OutboundRule | InboundRule, known: str, problems: Sequence[str]) -> dict[str, Any]:
    """`known`: what records call it."""
    ours = isinstance(rule, ProvisionedRule)
    name = known.partition(":")[2] if ours else _WRITTEN + known.partition("[")[2].rstrip("]")
    return {
        "rule": known,
        "name": name,
        "source": "api" if ours else "config",
        "priority": rule.priority if isinstance(rule, ProvisionedRule) else None,
        "in_force": not problems,
        "problems": [*problems],
    }


def _problems(backend: Backend, rule: ProvisionedRule) -> list[str]:
    found = problems_of(backend.config, rule)
    return [f"{dotted(path) or 'the rule'} {text}" for path, text in found]


def _of(name: str, routes: Iterator[m.OutboundRoute] | Iterator[m.InboundRoute]) -> m.Place:
    for route in routes:
        if route.name == name:
            return route
    raise missing("rule")


def _has(backend: Backend, kind: Kind, name: str) -> bool:
    """Whether there is such a rule. Raises Unfit if the name is for the configuration's."""
    if name.startswith(_WRITTEN):
        text = f"names that begin with {_WRITTEN} are those of the configuration's rules"
        raise Unfit(f"{name}: {text}, which are to read only.", [("name", text)])
    return any(rule.name == name for rule in getattr(backend.provisioned, kind))


async def _delete(backend: Backend, kind: Kind, name: str) -> Reply:
    if not _has(backend, kind, name):
        raise missing("rule")
    await backend.delete_rule(kind, name)
    return Reply(status=204)
