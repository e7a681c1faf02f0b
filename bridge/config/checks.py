# SPDX-License-Identifier: GPL-3.0-or-later
"""What no single setting can tell: contradictions, and values with a grammar of their own."""

import re
from collections.abc import Iterator
from ipaddress import IPv6Address
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from yarl import URL

from bridge.call.inbound import pattern_of
from bridge.config.models import (
    AutoJoin,
    Config,
    EncryptionMode,
    InboundRule,
    OutboundRule,
    Permission,
    SipTransport,
)
from bridge.config.problems import KeyPath, did_you_mean

Finding = tuple[KeyPath, str]

# https://spec.matrix.org/v1.15/appendices/#identifier-grammar
SERVER_NAME = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
USER_ID = re.compile(rf"@[^:\s]+:{SERVER_NAME.pattern}")
LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
NAME = re.compile(r"[A-Za-z0-9_-]+")
OUTSIDE_LINE = re.compile(r"[0-9*#]{1,4}")
E164_PREFIX = re.compile(r"\+\d+")
ICE_URL = re.compile(r"(?:stun|turns?):[^\s:?]+(?::\d{1,5})?(?:\?transport=(?:udp|tcp))?")
DIALLED = re.compile(r"\*|[^*\s]+\*?")
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
SERVER = re.compile(rf"(?:{LABEL}(?:\.{LABEL})*\.?|\[(?P<ipv6>[^\]]+)\])(?::(?P<port>\d{{1,5}}))?")
SHORTEST_KEY = 16


def check(config: Config) -> Iterator[Finding]:
    """Every contradiction in otherwise well-formed settings."""
    yield from _matrix(config)
    yield from _portals(config)
    yield from _database(config)
    yield from _secret_key(config)
    yield from _permissions(config)
    yield from _sip(config)
    yield from _trunks(config)
    yield from _accounts(config)
    for number, rule in enumerate(config.outbound):
        yield from _outbound(config, rule, ("outbound", number))
    for number, entry in enumerate(config.inbound):
        yield from _inbound(config, entry, ("inbound", number))
    yield from _numbers(config)
    yield from _notices(config)
    yield from _media(config)
    yield from _listeners(config)


def permission_of(config: Config, person: str) -> Permission:
    """What a person may do: the entry for them, else for their server, else for everybody."""
    server = person.partition(":")[2]
    for key in (person, server, "*"):
        if key in config.permissions:
            return config.permissions[key]
    return Permission.BLOCKED


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


def _sip(config: Config) -> Iterator[Finding]:
    if not config.sip.transports:
        yield ("sip", "transports"), "is empty; wanted: at least one"
    seen: dict[tuple[object, ...], int] = {}
    for number, each in enumerate(config.sip.transports):
        path = ("sip", "transports", number)
        # TCP and TLS share the port space.
        key = (each.protocol == "udp", each.listen, each.port)
        if key in seen:
            yield path, f"the same address and port as sip.transports[{seen[key]}]"
        seen.setdefault(key, number)
        yield from _certificates(each, path)


def _certificates(transport: SipTransport, path: KeyPath) -> Iterator[Finding]:
    for key in ("certificate", "private_key", "ca_list"):
        file = getattr(transport, key)
        if file is not None and transport.protocol != "tls":
            yield (*path, key), f"has no effect with protocol {transport.protocol}"
        elif file is not None and not file.is_file():
            yield (*path, key), f"{file} is not a file"
    if transport.protocol != "tls":
        return
    if transport.certificate and not transport.private_key:
        yield (*path, "private_key"), "is missing; wanted: a PEM file, as there is a certificate"
    if transport.private_key and not transport.certificate:
        yield (*path, "certificate"), "is missing; wanted: a PEM file, as there is a private_key"


def _trunks(config: Config) -> Iterator[Finding]:
    listening = {each.protocol for each in config.sip.transports}
    for name, trunk in config.trunks.items():
        path = ("trunks", name)
        if not NAME.fullmatch(name):
            yield path, "not accepted as a name; wanted: letters, digits, _ and -"
        if not trunk.server.strip():
            yield (*path, "server"), "is empty; wanted: host name or address"
        elif not is_server(trunk.server):
            yield (
                (*path, "server"),
                f"{trunk.server!r} is not accepted; wanted: host name or address, with :port if it "
                "is not the default",
            )
        if trunk.transport not in listening and listening:
            yield (
                (*path, "transport"),
                f"sip.transports has no {trunk.transport}; {did_you_mean('', listening)}",
            )
        if trunk.register and not trunk.username:
            yield (*path, "username"), "is empty; wanted: the account's name, as register is true"
        if trunk.register and not trunk.password.get_secret_value():
            yield (*path, "password"), "is empty; wanted: the account's, as register is true"
        if not trunk.codecs:
            yield (*path, "codecs"), "is empty; wanted: at least one"


def _accounts(config: Config) -> Iterator[Finding]:
    if not config.accounts.servers:
        return
    for number, server in enumerate(config.accounts.servers):
        found = SERVER.fullmatch(server)
        if server != "*" and not (is_server(server) and not (found and found["port"])):
            yield (
                ("accounts", "servers", number),
                f"{server!r} is not accepted; wanted: host name or address without a port, or *",
            )
    listening = {each.protocol for each in config.sip.transports}
    if config.accounts.transport not in listening and listening:
        yield (
            ("accounts", "transport"),
            f"sip.transports has no {config.accounts.transport}; {did_you_mean('', listening)}",
        )


def is_server(text: str) -> bool:
    """Whether it is a host name or address, with a port or without."""
    found = SERVER.fullmatch(text)
    if found is None:
        return _is_ipv6(text)
    bracketed, port = found["ipv6"], found["port"]
    return (bracketed is None or _is_ipv6(bracketed)) and 0 < int(port or 1) < 65536


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _outbound(config: Config, rule: OutboundRule, path: KeyPath) -> Iterator[Finding]:
    yield from _known_trunk(config, rule.trunk, path)
    if rule.prefix not in ("", "+") and not E164_PREFIX.fullmatch(rule.prefix):
        yield (*path, "prefix"), f"{rule.prefix!r} is not accepted; wanted: + and digits, in quotes"
    if rule.prefix and rule.sip_domain:
        yield (*path, "sip_domain"), "cannot be combined with prefix; wanted: two rules"


def _inbound(config: Config, rule: InboundRule, path: KeyPath) -> Iterator[Finding]:
    if rule.trunk is not None:
        yield from _known_trunk(config, rule.trunk, path)
    yield from _dialled(rule.number, (*path, "number"))
    named = [key for key in ("person", "people", "localpart") if getattr(rule, key)]
    if not named:
        yield path, "rings nobody; wanted: person, people, or localpart: true"
    elif len(named) > 1:
        yield (
            (*path, named[1]),
            f"cannot be combined with {named[0]}; wanted: one of person, people and localpart",
        )
    if rule.person is not None:
        yield from _callee(config, rule.person, (*path, "person"))
    for number, person in enumerate(rule.people):
        yield from _callee(config, person, (*path, "people", number))
        if person in rule.people[:number]:
            yield (*path, "people", number), f"{person} is there twice"


def _dialled(number: str, path: KeyPath) -> Iterator[Finding]:
    wanted = "wanted: a number, a prefix followed by *, *, or a pattern after _ (_7XX)"
    if not number.startswith("_"):
        # Inside of a number, an asterisk would only be itself: a pattern says that it is meant.
        if not DIALLED.fullmatch(number):
            yield path, f"{number!r} is not accepted; {wanted}"
        return
    try:
        pattern_of(number)
    except ValueError as error:
        yield path, f"{number!r} is not accepted; {error}"


def _callee(config: Config, person: str, path: KeyPath) -> Iterator[Finding]:
    if not USER_ID.fullmatch(person):
        yield path, f"{person!r} is not a Matrix id; wanted: like '@person:example.org'"
    elif permission_of(config, person) is Permission.BLOCKED:
        yield (
            path,
            f"permissions do not let {person} receive calls; wanted: receive or more there",
        )


def _known_trunk(config: Config, name: str, path: KeyPath) -> Iterator[Finding]:
    if name not in config.trunks:
        yield (*path, "trunk"), f"no trunk is named {name!r}; {did_you_mean(name, config.trunks)}"


def _numbers(config: Config) -> Iterator[Finding]:
    if config.numbers.region not in phonenumbers.SUPPORTED_REGIONS:
        yield ("numbers", "region"), f"{config.numbers.region!r} is not a country (ISO 3166)"
    for number, prefix in enumerate(config.numbers.forbidden_prefixes):
        if not E164_PREFIX.fullmatch(prefix):
            yield (
                ("numbers", "forbidden_prefixes", number),
                f"{prefix!r} is not accepted; wanted: + and digits, in quotes",
            )
    for number, digits in enumerate(config.numbers.outside_lines):
        if not OUTSIDE_LINE.fullmatch(digits):
            yield (
                ("numbers", "outside_lines", number),
                f"{digits!r} is not accepted; wanted: one to four of 0-9 * #, in quotes",
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


def _media(config: Config) -> Iterator[Finding]:
    low, high = config.media.rtp_ports
    if low >= high:
        yield ("media", "rtp_ports"), f"[{low}, {high}] is empty; wanted: the lower port first"
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


def _listeners(config: Config) -> Iterator[Finding]:
    service, web = config.appservice, config.web
    if service.port != web.port:
        return
    overlap = service.listen == web.listen or any(
        each.listen.is_unspecified for each in (service, web)
    )
    if overlap:
        yield ("web", "port"), f"{web.port} is appservice.port too; wanted: another port"
