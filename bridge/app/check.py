# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries everything that the bridge needs, and says what would help where something is wrong."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from bridge.app import check_features, check_matrix, check_network
from bridge.app.health import ask
from bridge.config import AutoJoin, Config, Permission
from bridge.errors import BridgeError, RemoteError
from bridge.sip.checks import check_listeners
from bridge.sip.loader import check_pjsua2, has_ipv6
from bridge.store.database import is_outdated, open_database, version
from bridge.store.secrets import check_key
from bridge.store.versions import SQLITE

_FILES_PER_CALL: Final = 6
"""Sockets of a call: RTP and RTCP towards SIP, ICE candidates; and some to spare."""
_FEW_CALLS: Final = 20
_NEEDS: Final = {
    "clock": "homeserver",
    "as_token": "homeserver",
    "hs_token": "as_token",
    "dial pad": "as_token",
    "encryption": "as_token",
    "portals.people_token": "as_token",
}
"""Checks that make no sense when another one has failed."""


class Verdict(Enum):
    """What became of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    verdict: Verdict
    what: str
    message: str
    remedy: str = ""


Check = Callable[[], Awaitable[str]]


async def check(config: Config) -> AsyncIterator[Finding]:
    """Every finding, as it comes. A bridge that runs with these settings is not disturbed."""
    health = await _health(config)
    if health is not None:
        yield Finding(Verdict.OK, "bridge", "is running; its ports are its own")
    failed = set()
    for what, attempt in _checks(config, health).items():
        if _NEEDS.get(what) in failed:
            failed.add(what)
            continue
        finding = await _try(what, attempt)
        if finding.verdict is Verdict.FAILED:
            failed.add(what)
        yield finding
    for finding in _advice(config):
        yield finding


def _checks(config: Config, health: Mapping[str, Any] | None) -> dict[str, Check]:
    running = health is not None
    checks: dict[str, Check] = {
        "database": lambda: _database(config),
        "homeserver": lambda: check_matrix.reachable(config),
        "clock": lambda: check_matrix.clock(config, time.time),
        "as_token": lambda: check_matrix.as_token(config),
        "hs_token": lambda: check_matrix.hs_token(config),
        "dial pad": lambda: check_features.dial_pad(config, running=running),
        "encryption": lambda: check_features.encryption(config, health),
        "pjsua2": lambda: _pjsua2(config),
    }
    if config.portals.auto_join is AutoJoin.AS_TOKEN:
        checks["portals.people_token"] = lambda: check_features.people_token(config)
    for number, transport in enumerate(config.sip.transports):
        checks[f"sip.transports[{number}]"] = lambda transport=transport: (  # type: ignore[misc]
            check_network.transport(transport, running=running)
        )
    for name, trunk in config.trunks.items():
        checks[f"trunks.{name}"] = lambda trunk=trunk: (  # type: ignore[misc]
            check_network.trunk(trunk, config.sip)
        )
    checks["media.rtp_ports"] = lambda: check_network.rtp_ports(config.media)
    return checks


async def _try(what: str, attempt: Check) -> Finding:
    try:
        return Finding(Verdict.OK, what, await attempt())
    except check_network.Doubt as doubt:
        return Finding(Verdict.WARNING, what, str(doubt), doubt.remedy)
    except BridgeError as error:
        return Finding(Verdict.FAILED, what, str(error), error.remedy)


async def _health(config: Config) -> Mapping[str, Any] | None:
    """What the bridge that runs says of itself; None if none does."""
    try:
        _, details = await ask(config.web)
    except RemoteError:
        return None
    return details


async def _database(config: Config) -> str:
    url = config.database.url.get_secret_value()
    if url.startswith(SQLITE) and await is_outdated(url):
        raise check_network.Doubt(
            "is of an earlier version; it is copied and migrated when the bridge starts",
            remedy="matrix-sip upgrade does the same now.",
        )
    async with open_database(url) as database:
        if key := config.database.secret_key.get_secret_value():
            await check_key(database, key)
        return f"opens, schema version {await version(database)}"


async def _pjsua2(config: Config) -> str:
    found = await asyncio.to_thread(check_pjsua2)
    check_listeners(config.sip)
    return f"version {found}, {'with' if has_ipv6() else 'without'} IPv6"


def _advice(config: Config) -> list[Finding]:
    """What is no mistake, but probably not meant."""
    found = []
    if not any(each is not Permission.BLOCKED for each in config.permissions.values()):
        found.append(("permissions", "nobody may call or be called", "Add an entry for a person."))
    admins = [key for key, each in config.permissions.items() if each is Permission.ADMIN]
    many = [key for key in admins if not key.startswith("@")]
    if many:
        found.append(
            (
                "permissions",
                f"everybody of {', '.join(many)} may see and end the calls of all",
                "Make persons admin, by their Matrix ids.",
            )
        )
    if not config.trunks:
        found.append(("trunks", "none is set up", "Add the account of a provider or PBX."))
    if config.trunks and not config.outbound:
        found.append(("outbound", "no rule: calls from Matrix go nowhere", "Add a rule."))
    if config.trunks and not config.inbound:
        found.append(("inbound", "no rule: calls from SIP ring nobody", "Add a rule."))
    if config.web.token.get_secret_value() and not config.web.listen.is_loopback:
        found.append(
            (
                "web",
                f"the admin page is on {config.web.listen}, and its token travels without TLS",
                "Listen on loopback, behind a reverse proxy with TLS or by SSH.",
            )
        )
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files < _FEW_CALLS * _FILES_PER_CALL:
        found.append(
            (
                "open files",
                f"the limit is {files}, good for {files // _FILES_PER_CALL} calls",
                "Raise it: LimitNOFILE= for systemd, ulimit -n for a shell.",
            )
        )
    return [Finding(Verdict.WARNING, *each) for each in found]
