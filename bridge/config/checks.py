# SPDX-License-Identifier: GPL-3.0-or-later
"""What no single setting can tell: contradictions, and values with a grammar of their own."""

import re
from collections.abc import Iterator
from math import ceil
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from yarl import URL

from bridge.config import checks_callers, checks_routing, checks_sip, checks_voicemail
from bridge.config.checks_routing import SERVER_NAME, USER_ID
from bridge.config.models import PORTS_PER_WORKER, AutoJoin, Config, EncryptionMode
from bridge.config.problems import Finding

LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
ICE_URL = re.compile(r"(?:stun|turns?):[^\s:?]+(?::\d{1,5})?(?:\?transport=(?:udp|tcp))?")
SHORTEST_KEY = 16


def check(config: Config) -> Iterator[Finding]:
    """Every contradiction in otherwise well-formed settings."""
    yield from _matrix(config)
    yield from _portals(config)
    yield from _database(config)
    yield from _secret_key(config)
    yield from _permissions(config)
    yield from checks_sip.check(config)
    yield from checks_routing.check(config)
    yield from checks_callers.check(config)
    yield from checks_voicemail.check(config)
    yield from _notices(config)
    yield from _records(config)
    yield from _media(config)
    yield from _web(config)
    yield from _api(config)
    yield from _listeners(config)


def _matrix(config: Config) -> Iterator[Finding]:
    for section, url in (("homeserver", config.homeserver), ("appservice", config.appservice)):
        parts = urlsplit(url.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            yield (section, "address"), f"{url.address!r} is not a URL; wanted: http(s)://host:port"
    if not SERVER_NAME.fullmatch(config.homeserver.domain):
        yield (
            ("homeserver", "domain"),
            f"{config.homeserver.domain!r} is not a server name; wanted: what follows the colon in "
            "Matrix ids",
        )
    service = config.appservice
    for key in ("bot_localpart", "ghost_prefix"):
        if not LOCALPART.fullmatch(getattr(service, key)):
            yield (
                ("appservice", key),
                f"{getattr(service, key)!r} cannot be in a Matrix id; wanted: a-z 0-9 . _ = - /",
            )
    if service.ghost_prefix and service.bot_localpart.startswith(service.ghost_prefix):
        yield (
            ("appservice", "bot_localpart"),
            f"starts with ghost_prefix ({service.ghost_prefix!r}): the bot would be taken for a "
            "ghost",
        )
    for key in ("as_token", "hs_token"):
        if not getattr(service, key).get_secret_value():
            yield (
                ("appservice", key),
                "is empty; wanted: the token of the registration (matrix-sip generate-config "
                "makes one)",
            )
    if service.as_token == service.hs_token and service.as_token.get_secret_value():
        yield ("appservice", "hs_token"), "is the same as as_token; wanted: two different tokens"


def _portals(config: Config) -> Iterator[Finding]:
    token = config.portals.people_token
    if config.portals.auto_join is AutoJoin.AS_TOKEN and not token.get_secret_value():
        yield (
            ("portals", "people_token"),
            "is empty, but auto_join is as_token; wanted: a long random string, also in the second "
            "registration (matrix-sip generate-registration --people)",
        )
    if token.get_secret_value() and token in (
        config.appservice.as_token,
        config.appservice.hs_token,
    ):
        yield (
            ("portals", "people_token"),
            "is a token of appservice too; wanted: one of its own, homeservers insist on it",
        )


def _database(config: Config) -> Iterator[Finding]:
    url = config.database.url.get_secret_value()
    scheme, _, rest = url.partition(":")
    if scheme not in ("sqlite", "postgresql", "postgres") or not rest.strip("/"):
        yield (
            ("database", "url"),
            "not accepted (not shown); wanted: sqlite:FILE or "
            "postgresql://user:password@host/database",
        )
    elif scheme != "sqlite" and not _is_url(url):
        yield (
            ("database", "url"),
            "is no URL (not shown); wanted: postgresql://user:password@host/database, with "
            "/ ? # @ : and % in the password written as %2F %3F %23 %40 %3A %25",
        )


def _secret_key(config: Config) -> Iterator[Finding]:
    length = len(config.database.secret_key.get_secret_value())
    if not length and config.encryption.mode is not EncryptionMode.OFF:
        yield (
            ("database", "secret_key"),
            f"is empty, which encryption.mode {config.encryption.mode.value!r} does not allow; "
            "wanted: a long random text (matrix-sip generate-config makes one)",
        )
    elif 0 < length < SHORTEST_KEY:
        yield (
            ("database", "secret_key"),
            f"is too short (not shown); wanted: {SHORTEST_KEY} characters or more",
        )


def _is_url(text: str) -> bool:
    try:
        URL(text)
    except ValueError:
        return False
    return True


def _permissions(config: Config) -> Iterator[Finding]:
    for key in config.permissions:
        if key != "*" and not (USER_ID.fullmatch(key) or SERVER_NAME.fullmatch(key)):
            yield (
                ("permissions", key),
                "not a Matrix id, server name or *; wanted: like '@person:example.org' or "
                "'example.org'",
            )


def _notices(config: Config) -> Iterator[Finding]:
    zone = config.notices.timezone
    if not zone:
        return
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield (
            ("notices", "timezone"),
            f"{zone!r} is not a time zone that this machine knows; wanted: one like Europe/Berlin "
            "(where none is known, the package tzdata is missing)",
        )


def _records(config: Config) -> Iterator[Finding]:
    leave, kept = config.portals.leave_unanswered_after, config.records.keep_calls
    if leave is not None and 0 < kept * 86400 < leave:
        yield (
            ("records", "keep_calls"),
            f"{kept} days are less than portals.leave_unanswered_after, for which calls have to be "
            f"known; wanted: {ceil(leave / 86400)} or more",
        )


def _media(config: Config) -> Iterator[Finding]:
    low, high = config.media.rtp_ports
    if low >= high:
        yield ("media", "rtp_ports"), f"[{low}, {high}] is empty; wanted: the lower port first"
    workers = config.media.workers or 1
    if workers > 1 and (high - low + 1) // workers < PORTS_PER_WORKER:
        yield (
            ("media", "workers"),
            f"{workers} have to share {high - low + 1} ports (media.rtp_ports); wanted: at least "
            f"{PORTS_PER_WORKER} for each",
        )
    for number, each in enumerate(config.sip.transports):
        if each.protocol == "udp" and low <= each.port <= high:
            yield (
                ("media", "rtp_ports"),
                f"contains port {each.port} of sip.transports[{number}]; wanted: another range",
            )
    for number, server in enumerate(config.media.ice_servers):
        path = ("media", "ice_servers", number)
        if not ICE_URL.fullmatch(server.url):
            yield (
                (*path, "url"),
                f"{server.url!r} is not accepted; wanted: stun:host:port, "
                "turn:host:port?transport=udp or turns:host:port",
            )
        elif server.url.startswith("turn") and not (
            server.username and server.password.get_secret_value()
        ):
            yield (*path, "username"), "TURN needs username and password"


def _web(config: Config) -> Iterator[Finding]:
    token = config.web.token.get_secret_value()
    if 0 < len(token) < SHORTEST_KEY:
        yield (
            ("web", "token"),
            f"is too short (not shown); wanted: {SHORTEST_KEY} characters or more, or none",
        )
    elif token and config.web.token in (config.appservice.as_token, config.appservice.hs_token):
        yield ("web", "token"), "is a token of appservice too; wanted: one of its own"
    if config.web.actions and not token:
        yield ("web", "actions"), "is set, but there is no page; wanted: web.token, too"


def _api(config: Config) -> Iterator[Finding]:
    others = {
        "web.token": config.web.token,
        "appservice.as_token": config.appservice.as_token,
        "appservice.hs_token": config.appservice.hs_token,
        "api.read_token": config.api.read_token,
    }
    for key in ("read_token", "write_token"):
        token = getattr(config.api, key)
        if not token.get_secret_value():
            continue
        if len(token.get_secret_value()) < SHORTEST_KEY:
            yield (
                ("api", key),
                f"is too short (not shown); wanted: {SHORTEST_KEY} characters or more, or none",
            )
        for other, value in others.items():
            if other != f"api.{key}" and token == value:
                yield ("api", key), f"is {other} too; wanted: one of its own"


def _listeners(config: Config) -> Iterator[Finding]:
    service, web = config.appservice, config.web
    if service.port != web.port:
        return
    overlap = service.listen == web.listen or any(
        each.listen.is_unspecified for each in (service, web)
    )
    if overlap:
        yield ("web", "port"), f"{web.port} is appservice.port too; wanted: another port"
