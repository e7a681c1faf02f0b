# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the SIP side's settings."""

import re
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from bridge.config.checks_routing import USER_ID
from bridge.config.models import Config
from bridge.config.problems import Finding, KeyPath, did_you_mean
from bridge.config.sip import SipTransport, Trunk, TrunkTls

MOST_PROXIES = 4
NAME = re.compile(r"[A-Za-z0-9_-]+")
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_FILES = ("certificate", "private_key", "ca_list")
SERVER = re.compile(rf"(?:{LABEL}(?:\.{LABEL})*\.?|\[(?P<ipv6>[^\]]+)\])(?::(?P<port>\d{{1,5}}))?")


def check(config: Config) -> Iterator[Finding]:
    """Contradictions between listeners, trunks and accounts."""
    yield from _sip(config)
    yield from _trunks(config)
    yield from _accounts(config)


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
    for number, server in enumerate(config.sip.nameservers):
        if not _is_address(server):
            yield (
                ("sip", "nameservers", number),
                f"{server!r} is not accepted; wanted: address or address:port",
            )


def _certificates(transport: SipTransport, path: KeyPath) -> Iterator[Finding]:
    if transport.protocol == "tls":
        yield from _files(transport, path)
        return
    for key in _FILES:
        if getattr(transport, key) is not None:
            yield (*path, key), f"has no effect with protocol {transport.protocol}"


def _files(tls: SipTransport | TrunkTls, path: KeyPath) -> Iterator[Finding]:
    for key in _FILES:
        file = getattr(tls, key)
        if file is not None and not file.is_file():
            yield (*path, key), f"{file} is not a file"
    if tls.certificate and not tls.private_key:
        yield (*path, "private_key"), "is missing; wanted: a PEM file, as there is a certificate"
    if tls.private_key and not tls.certificate:
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
        if trunk.transport not in {*listening, "auto"} and listening:
            yield (
                (*path, "transport"),
                f"sip.transports has no {trunk.transport}; {did_you_mean('', listening)}",
            )
        if trunk.register and not trunk.username:
            yield (*path, "username"), "is empty; wanted: the account's name, as register is true"
        if trunk.register and not trunk.password.get_secret_value():
            yield (*path, "password"), "is empty; wanted: the account's, as register is true"
        if trunk.session_interval < trunk.session_interval_min:
            yield (
                (*path, "session_interval"),
                f"is below session_interval_min; wanted: {trunk.session_interval_min} or more",
            )
        yield from _mailbox(trunk, path)
        if trunk.srtp == "required" and trunk.transport != "tls":
            yield (*path, "srtp"), _readable(trunk.transport)
        if not trunk.codecs:
            yield (*path, "codecs"), "is empty; wanted: at least one"
        yield from _ways(trunk, path)


def _readable(transport: str) -> str:
    return (
        f"required needs transport tls, not {transport}, by which all could read the keys; wanted: "
        "transport: tls, or srtp: optional"
    )


def _ways(trunk: Trunk, path: KeyPath) -> Iterator[Finding]:
    """How a trunk's server is reached."""
    for number, proxy in enumerate(trunk.outbound_proxy):
        if not is_server(proxy):
            yield (
                (*path, "outbound_proxy", number),
                f"{proxy!r} is not accepted; wanted: host name or address, with :port if it is not "
                "the default",
            )
    if len(trunk.outbound_proxy) > MOST_PROXIES:
        yield (*path, "outbound_proxy"), f"has too many; wanted: at most {MOST_PROXIES}"
    if trunk.tls != TrunkTls() and trunk.transport not in ("tls", "auto"):
        yield (*path, "tls"), f"has no effect with transport {trunk.transport}"
    name = trunk.tls.server_name
    found = SERVER.fullmatch(name)
    if name and (found is None or found["port"] or found["ipv6"]):
        yield (*path, "tls", "server_name"), f"{name!r} is not accepted; wanted: a host name"
    yield from _files(trunk.tls, (*path, "tls"))
    if trunk.probe_interval and trunk.register:
        yield (
            (*path, "probe_interval"),
            "has no effect with register: true, which tells as much",
        )
    if trunk.probe_interval and trunk.probe_interval < trunk.answer_within:
        yield (
            (*path, "probe_interval"),
            f"is too short; wanted: answer_within ({trunk.answer_within:g}) or more",
        )


def _mailbox(trunk: Trunk, path: KeyPath) -> Iterator[Finding]:
    if trunk.mailbox_number and not trunk.mailbox_people:
        yield (
            (*path, "mailbox_people"),
            "is empty; wanted: at least one Matrix id, as there is mailbox_number",
        )
    for number, person in enumerate(trunk.mailbox_people):
        if not USER_ID.fullmatch(person):
            yield (
                (*path, "mailbox_people", number),
                f"{person!r} is not a Matrix id; wanted: like '@person:example.org'",
            )


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
    if config.accounts.srtp == "required" and config.accounts.transport != "tls":
        yield ("accounts", "srtp"), _readable(config.accounts.transport)
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


def _is_address(text: str) -> bool:
    """Whether it is an address, with a port or without."""
    found = SERVER.fullmatch(text)
    host = (found["ipv6"] or text.removesuffix(f":{found['port']}")) if found else text
    try:
        ip_address(host)
    except ValueError:
        return False
    return found is None or 0 < int(found["port"] or 1) < 65536


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
