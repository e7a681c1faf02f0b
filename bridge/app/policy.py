# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings as the core wants them."""

from dataclasses import replace
from functools import partial

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from bridge import config as settings
from bridge.app.voicemail_files import terms_of
from bridge.call.bounds import Bounds, NumberKind
from bridge.call.ids import TrunkName, UserId
from bridge.call.notices import Notices
from bridge.call.policy import Access, Limits, Policy
from bridge.call.rules import Caller, InboundRule, NumberFormat, OutboundRule, TrunkPolicy
from bridge.call.terms import Keypad, Srtp, Terms
from bridge.config import Accounts, AppService, Config, Permission, Trunk
from bridge.config.provisioned import called
from bridge.numbers import meanings, without_code, written

_SATELLITE = ("+870", "+881", "+882", "+883")
"""Inmarsat, other satellites, and networks of no country (ITU-T E.164)."""
_KINDS = {
    PhoneNumberType.PREMIUM_RATE: NumberKind.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberKind.SHARED_COST,
    PhoneNumberType.PERSONAL_NUMBER: NumberKind.PERSONAL,
    PhoneNumberType.PAGER: NumberKind.PAGER,
    PhoneNumberType.UAN: NumberKind.UAN,
    PhoneNumberType.VOIP: NumberKind.VOIP,
}
_ACCESS = {
    Permission.BLOCKED: Access.BLOCKED,
    Permission.RECEIVE: Access.RECEIVE,
    Permission.CALL: Access.CALL,
    Permission.ADMIN: Access.ADMIN,
}


def policy_of(config: Config) -> Policy:
    """Who may call what, and which way."""
    limits = config.limits
    return Policy(
        access={key: _ACCESS[each] for key, each in config.permissions.items()},
        trunks={TrunkName(name): _trunk(each) for name, each in config.trunks.items()},
        accounts=_of_accounts(config.accounts),
        outbound=[
            _outbound(rule, name)
            for rule, name in zip(config.outbound, called(config.outbound), strict=True)
        ],
        inbound=[
            _inbound(rule, name, config.homeserver.domain, config.appservice)
            for rule, name in zip(config.inbound, called(config.inbound), strict=True)
        ],
        allowed_prefixes=config.numbers.allowed_prefixes,
        callers={key: _caller(each) for key, each in config.callers.items()},
        forbidden_prefixes=config.numbers.forbidden_prefixes,
        forbidden_kinds=frozenset(map(NumberKind, config.numbers.forbidden_kinds)),
        limits=Limits(
            calls_per_person=limits.calls_per_person,
            calls_per_minute=limits.calls_per_minute,
            ring_time=limits.ring_time,
            max_duration=limits.max_duration,
            seconds_per_day=_seconds(limits.minutes_per_day),
            vanished_after=limits.vanished_after,
        ),
        people={key: _bounds(each) for key, each in limits.people.items()},
        notices=Notices(config.notices.level),
        voicemail=terms_of(config.voicemail),
        kind_of=partial(kind_of, config.numbers.region),
        meanings=partial(
            meanings,
            region=config.numbers.region,
            outside_lines=config.numbers.outside_lines,
        ),
        write=partial(written, region=config.numbers.region),
        unwrap=partial(
            without_code,
            region=config.numbers.region,
            hiding=config.numbers.withhold_codes,
            showing=config.numbers.show_codes,
        ),
    )


def _outbound(rule: settings.OutboundRule, name: str) -> OutboundRule:
    names = (rule.trunk,) if rule.trunk else rule.trunks
    return OutboundRule(
        trunks=tuple(map(TrunkName, names)),
        prefix=rule.prefix,
        pattern=rule.pattern,
        sip_domain=rule.sip_domain,
        people=rule.people,
        format=NumberFormat(rule.format),
        strip=rule.strip,
        prepend=rule.prepend,
        caller_id=rule.caller_id,
        name=name,
    )


def _caller(caller: settings.Caller) -> Caller:
    return Caller(numbers=caller.numbers, name=caller.name, withhold=caller.withhold)


def _inbound(
    rule: settings.InboundRule, name: str, server: str, appservice: AppService
) -> InboundRule:
    people = (rule.person,) if rule.person is not None else rule.people
    return InboundRule(
        people=tuple(UserId(person) for person in people),
        server=server if rule.localpart else "",
        reserved=(f"{appservice.ghost_prefix}*", appservice.bot_localpart),
        trunk=None if rule.trunk is None else TrunkName(rule.trunk),
        number=rule.number,
        name=name,
    )


def kind_of(region: str, number: str) -> NumberKind:
    """What kind of number (`+12025550123`, `911`) it is."""
    if phonenumbers.is_emergency_number(number, region):
        return NumberKind.EMERGENCY
    if not number.startswith("+"):
        return NumberKind.ORDINARY
    if number.startswith(_SATELLITE):
        return NumberKind.SATELLITE
    try:
        kind = phonenumbers.number_type(phonenumbers.parse(number))
    except NumberParseException:
        return NumberKind.ORDINARY
    return _KINDS.get(kind, NumberKind.ORDINARY)


def _bounds(bounds: settings.Bounds) -> Bounds:
    kinds = bounds.forbidden_kinds
    return Bounds(
        calls=bounds.calls,
        calls_per_minute=bounds.calls_per_minute,
        seconds_per_day=_seconds(bounds.minutes_per_day),
        max_duration=bounds.max_duration,
        allowed_prefixes=bounds.allowed_prefixes,
        forbidden_prefixes=bounds.forbidden_prefixes,
        forbidden_kinds=None if kinds is None else frozenset(map(NumberKind, kinds)),
    )


def _seconds(minutes: float | None) -> float | None:
    return None if minutes is None else minutes * 60


_KEYPADS = {"auto": Keypad.AUTO, "rfc4733": Keypad.EVENTS}
"""All others say how SIP INFO is written."""


def _trunk(trunk: Trunk) -> TrunkPolicy:
    return TrunkPolicy(
        caller_id=trunk.caller_id,
        callers=trunk.callers,
        caller_format=NumberFormat(trunk.caller_format),
        withhold=trunk.withhold,
        early_media=trunk.early_media == "connect",
        follows=trunk.redirects == "follow",
        refers=trunk.refer,
        bounds=_bounds(trunk.limits),
        terms=replace(_terms(trunk), codecs=trunk.codecs),
    )


def _of_accounts(accounts: Accounts) -> TrunkPolicy:
    return TrunkPolicy(early_media=accounts.early_media == "connect", terms=_terms(accounts))


def _terms(way: Trunk | Accounts) -> Terms:
    return Terms(
        srtp=Srtp(way.srtp),
        keypad=_KEYPADS.get(way.dtmf, Keypad.INFO),
        video=way.video == "relay",
    )
