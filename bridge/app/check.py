# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries everything that the bridge needs, and says what would help where something is wrong."""

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import Any, Final

from bridge.app import check_features, check_matrix, check_media, check_network, open_files
from bridge.app.check_media import Reached
from bridge.app.check_trunks import Tries
from bridge.app.health import ask
from bridge.app.verdicts import Doubt, Finding, NotTried, Verdict
from bridge.config import AutoJoin, Config, Permission, Trunk
from bridge.config.problems import KeyPath, Problem
from bridge.errors import BridgeError, LocalError, RemoteError
from bridge.sip.checks import check_listeners
from bridge.sip.loader import check_pjsua2, has_ipv6
from bridge.store.database import is_outdated, open_database, version
from bridge.store.secrets import check_key
from bridge.store.versions import SQLITE

_FEW_CALLS: Final = 20

Attempt = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class _Row:
    """One check. `needs`: what has to be well for it to make sense; `about`: which settings."""

    what: str
    attempt: Attempt
    about: KeyPath = ()
    needs: str = ""


async def check(config: Config, problems: Sequence[Problem] = ()) -> AsyncIterator[Finding]:
    """Every finding, as it comes. A bridge that runs with these settings is not disturbed.

    `problems`: what is wrong with the settings; checks that depend on those are not tried.
    """
    health = await _health(config)
    if health is not None:
        yield Finding(Verdict.OK, "bridge", "is running; its ports are its own")
    failed = set()
    wrong = {name for name in config.trunks if _wrong(problems, ("trunks", name))}
    for row in _rows(config, health, wrong):
        if row.needs in failed:
            finding = Finding(Verdict.SKIPPED, row.what, f"not tried, as {row.needs} is not well")
        elif _wrong(problems, row.about):
            finding = Finding(Verdict.SKIPPED, row.what, "not tried, as its settings are wrong")
        else:
            finding = await _try(row.what, row.attempt)
        if finding.verdict in (Verdict.FAILED, Verdict.SKIPPED):
            failed.add(row.what)
        yield finding
    for finding in _advice(config):
        yield finding


def _wrong(problems: Sequence[Problem], about: KeyPath) -> bool:
    """Whether one of the mistakes is in these settings."""
    paths = [problem.path for problem in problems if about and problem.path]
    return any(path[: len(about)] == about[: len(path)] for path in paths)


def _rows(
    config: Config, health: Mapping[str, Any] | None, wrong: Collection[str]
) -> Iterator[_Row]:
    """`wrong`: trunks that had better not be tried."""
    yield _Row("database", lambda: _database(config), ("database",))
    yield from _of_homeserver(config, health)
    yield _Row("pjsua2", lambda: _pjsua2(config), ("sip",))
    good = {name: each for name, each in config.trunks.items() if name not in wrong}
    tries = Tries(config.model_copy(update={"trunks": good}), health)
    yield from _of_sip(config, tries, running=health is not None)
    yield from _of_media(config)


def _of_homeserver(config: Config, health: Mapping[str, Any] | None) -> Iterator[_Row]:
    running, ours, know = health is not None, ("appservice",), "as_token"
    yield _Row("homeserver", lambda: check_matrix.reachable(config), ("homeserver", "address"))
    yield _Row("clock", lambda: check_matrix.clock(config, time.time), needs="homeserver")
    yield _Row(know, lambda: check_matrix.as_token(config), ours, "homeserver")
    yield _Row("hs_token", lambda: check_matrix.hs_token(config), ours, know)
    yield _Row("dial pad", lambda: check_features.dial_pad(config, running=running), ours, know)
    yield _Row(
        "encryption", lambda: check_features.encryption(config, health), ("encryption",), know
    )
    if config.portals.auto_join is AutoJoin.AS_TOKEN:
        yield _Row(
            "portals.people_token",
            lambda: check_features.people_token(config),
            ("portals",),
            know,
        )


def _of_sip(config: Config, tries: Tries, *, running: bool) -> Iterator[_Row]:
    for number, transport in enumerate(config.sip.transports):
        yield _Row(
            f"sip.transports[{number}]",
            lambda transport=transport: check_network.transport(  # type: ignore[misc]
                transport, running=running
            ),
            ("sip",),
        )
    for name, trunk in config.trunks.items():
        yield from _of_trunk(name, trunk, config, tries)


def _of_trunk(name: str, trunk: Trunk, config: Config, tries: Tries) -> Iterator[_Row]:
    what, about = f"trunks.{name}", ("trunks", name)
    yield _Row(what, lambda: check_network.trunk(trunk, config.sip), about)
    if trunk.transport in ("tls", "auto"):
        yield _Row(f"{what}, TLS", lambda: check_network.trunk_tls(trunk, config.sip), about, what)
    asked = "registration" if trunk.register else "OPTIONS"
    yield _Row(f"{what}, {asked}", lambda: tries.of(name), about, what)


def _of_media(config: Config) -> Iterator[_Row]:
    reached = Reached(config)
    about = ("media",)
    yield _Row("media.rtp_ports", lambda: check_network.rtp_ports(config.media), about)
    for number, server in enumerate(config.media.ice_servers):
        yield _Row(
            f"media.ice_servers[{number}]",
            lambda server=server: reached.server(server),  # type: ignore[misc]
            about,
        )
    if config.media.homeserver_turn:
        yield _Row("TURN of the homeserver", reached.homeservers, about, "as_token")
    yield _Row("public address", _at_once(reached.public_address), about)
    yield _Row("codecs", _at_once(lambda: check_media.codecs(config)))
    yield _Row("open files", _at_once(lambda: _open_files(config)), ("sip", "max_calls"))


def _at_once(attempt: Callable[[], str]) -> Attempt:
    async def made() -> str:
        return attempt()

    return made


async def _try(what: str, attempt: Attempt) -> Finding:
    try:
        return Finding(Verdict.OK, what, await attempt())
    except NotTried as unknown:
        return Finding(Verdict.SKIPPED, what, str(unknown), unknown.remedy)
    except Doubt as doubt:
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
        raise Doubt(
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


def _open_files(config: Config) -> str:
    """The limit allows as many calls as the settings do. Raises Doubt, LocalError."""
    files = open_files.allowed()
    calls = files // open_files.PER_CALL
    if calls >= config.sip.max_calls:
        return f"the limit is {files}, good for {config.sip.max_calls} calls (sip.max_calls)"
    remedy = (
        "Raise it (LimitNOFILE= for systemd, ulimit -n for a shell), or set sip.max_calls to less."
    )
    message = f"the limit is {files}, good for {calls} of {config.sip.max_calls} calls"
    if calls < _FEW_CALLS:
        raise LocalError(message, remedy=remedy)
    raise Doubt(message, remedy=remedy)


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
    api = config.api.read_token.get_secret_value() or config.api.write_token.get_secret_value()
    shown = {"admin page": config.web.token.get_secret_value(), "API": api}
    for what in (name for name, token in shown.items() if token):
        if not config.web.listen.is_loopback:
            found.append(
                (
                    "web",
                    f"the {what} is on {config.web.listen}, and its token travels without TLS",
                    "Listen on loopback, behind a reverse proxy with TLS or by SSH.",
                )
            )
    return [Finding(Verdict.WARNING, *each) for each in found]
