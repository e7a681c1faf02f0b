# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the dial plan: rules, numbers, and who is named in them."""

import re
from collections.abc import Iterable, Iterator

import phonenumbers

from bridge.call.patterns import pattern_of
from bridge.config.bounds import Bounds
from bridge.config.models import Config, Permission
from bridge.config.problems import Finding, KeyPath, did_you_mean
from bridge.config.routing import InboundRule, Numbers, OutboundRule

# https://spec.matrix.org/v1.15/appendices/#identifier-grammar
SERVER_NAME = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
USER_ID = re.compile(rf"@[^:\s]+:{SERVER_NAME.pattern}")
OUTSIDE_LINE = re.compile(r"[0-9*#]{1,4}")
E164_PREFIX = re.compile(r"\+\d+")
PEOPLE = re.compile(
    rf"\*|@[^:\s]+:(?:{SERVER_NAME.pattern}|[^:\s]*\*[^:\s]*)|{SERVER_NAME.pattern}"
)
PEOPLE_WANTED = "wanted: a Matrix id, also with * in it, a server name, or *"
REWRITING = frozenset({"format", "strip", "prepend"})
CODE = re.compile(r"[*#]{1,2}[0-9]{1,3}[*#]?")
DIALLED = re.compile(r"\*|[^*\s]+\*?")


def check(config: Config) -> Iterator[Finding]:
    """Contradictions in the rules, and numbers that are none."""
    for number, rule in enumerate(config.outbound):
        yield from outbound_rule(config, rule, ("outbound", number))
    for number, entry in enumerate(config.inbound):
        yield from inbound_rule(config, entry, ("inbound", number))
    yield from _numbers(config)
    yield from _limits(config)


def permission_of(config: Config, person: str) -> Permission:
    """What a person may do: the entry for them, else for their server, else for everybody."""
    server = person.partition(":")[2]
    for key in (person, server, "*"):
        if key in config.permissions:
            return config.permissions[key]
    return Permission.BLOCKED


def outbound_rule(config: Config, rule: OutboundRule, path: KeyPath) -> Iterator[Finding]:
    """What is wrong with a rule for calls from Matrix."""
    yield from _trunks(config, rule, path)
    if rule.prefix not in ("", "+") and not E164_PREFIX.fullmatch(rule.prefix):
        yield (*path, "prefix"), f"{rule.prefix!r} is not accepted; wanted: + and digits, in quotes"
    if rule.pattern:
        yield from dialled(rule.pattern, (*path, "pattern"))
    for key in ("prepend", "caller_id"):
        if not getattr(rule, key).isprintable():
            yield (*path, key), f"{getattr(rule, key)!r} cannot be shown; wanted: a number"
    for key in ("pattern", "sip_domain"):
        if rule.prefix and getattr(rule, key):
            yield (*path, key), "cannot be combined with prefix; wanted: two rules"
    if rule.pattern and rule.sip_domain:
        yield (*path, "sip_domain"), "cannot be combined with pattern; wanted: two rules"
    if rule.sip_domain:
        for key in sorted(REWRITING & rule.model_fields_set):
            yield (*path, key), "has no effect with sip_domain: such addresses stay as they are"
    yield from people_named(rule.people, (*path, "people"))


def _trunks(config: Config, rule: OutboundRule, path: KeyPath) -> Iterator[Finding]:
    if rule.trunk and rule.trunks:
        yield (*path, "trunks"), "cannot be combined with trunk; wanted: one of them"
    if not rule.trunk and not rule.trunks:
        yield path, "leads nowhere; wanted: trunk, or trunks"
    if rule.trunk:
        yield from _known_trunk(config, rule.trunk, (*path, "trunk"))
    for number, name in enumerate(rule.trunks):
        yield from _known_trunk(config, name, (*path, "trunks", number))
        if name in rule.trunks[:number]:
            yield (*path, "trunks", number), f"{name} is there twice"


def people_named(people: Iterable[str], path: KeyPath) -> Iterator[Finding]:
    """What cannot mean anybody: see `patterns.names`."""
    for number, entry in enumerate(people):
        if not PEOPLE.fullmatch(entry):
            yield (*path, number), f"{entry!r} names nobody; {PEOPLE_WANTED}"


def inbound_rule(config: Config, rule: InboundRule, path: KeyPath) -> Iterator[Finding]:
    """What is wrong with a rule for calls from SIP."""
    if rule.trunk is not None:
        yield from _known_trunk(config, rule.trunk, (*path, "trunk"))
    yield from dialled(rule.number, (*path, "number"))
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


def dialled(number: str, path: KeyPath) -> Iterator[Finding]:
    """What is no number, and no pattern of numbers."""
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
        yield path, f"no trunk is named {name!r}; {did_you_mean(name, config.trunks)}"


def _limits(config: Config) -> Iterator[Finding]:
    for key, bounds in config.limits.people.items():
        path = ("limits", "people", key)
        if key != "*" and not (USER_ID.fullmatch(key) or SERVER_NAME.fullmatch(key)):
            yield (
                path,
                "not a Matrix id, server name or *; wanted: like '@person:example.org' or "
                "'example.org'",
            )
        yield from _prefixes(bounds, path)
    for name, trunk in config.trunks.items():
        yield from _prefixes(trunk.limits, ("trunks", name, "limits"))


def _prefixes(section: Bounds | Numbers, path: KeyPath) -> Iterator[Finding]:
    for key in ("allowed_prefixes", "forbidden_prefixes"):
        for number, prefix in enumerate(getattr(section, key)):
            if not E164_PREFIX.fullmatch(prefix):
                yield (
                    (*path, key, number),
                    f"{prefix!r} is not accepted; wanted: + and digits, in quotes",
                )


def _numbers(config: Config) -> Iterator[Finding]:
    if config.numbers.region not in phonenumbers.SUPPORTED_REGIONS:
        yield ("numbers", "region"), f"{config.numbers.region!r} is not a country (ISO 3166)"
    yield from _prefixes(config.numbers, ("numbers",))
    for number, digits in enumerate(config.numbers.outside_lines):
        if not OUTSIDE_LINE.fullmatch(digits):
            yield (
                ("numbers", "outside_lines", number),
                f"{digits!r} is not accepted; wanted: one to four of 0-9 * #, in quotes",
            )
    for key in ("withhold_codes", "show_codes"):
        for number, code in enumerate(getattr(config.numbers, key)):
            if not CODE.fullmatch(code):
                yield (
                    ("numbers", key, number),
                    f"{code!r} is not accepted; wanted: a code like *67 or #31#, in quotes",
                )
