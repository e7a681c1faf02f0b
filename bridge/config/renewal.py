# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings take effect while the bridge runs, and what comes of a file that was changed."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

from bridge.config.base import Section
from bridge.config.models import Config
from bridge.config.problems import KeyPath


class Effect(Enum):
    """When a changed setting counts."""

    LIVE = "live"
    """As soon as the settings are read anew, for what begins then."""
    RESTART = "restart"
    """When the bridge is started again."""


_LIVE, _RESTART = Effect.LIVE, Effect.RESTART

EFFECTS: Final[Mapping[str, Mapping[str, Effect] | Effect]] = {
    "homeserver": _RESTART,
    "appservice": _RESTART,
    "database": _RESTART,
    "encryption": _RESTART,
    "portals": {
        "auto_join": _RESTART,
        "people_token": _RESTART,
        "leave_unanswered_after": _LIVE,
    },
    "permissions": _LIVE,
    "sip": {
        "transports": _RESTART,
        "user_agent": _RESTART,
        "max_calls": _LIVE,
        "strangers": _LIVE,
        "log_messages": _LIVE,
        "nameservers": _RESTART,
    },
    "trunks": _LIVE,
    "accounts": _LIVE,
    "outbound": _LIVE,
    "inbound": _LIVE,
    "callers": _LIVE,
    "numbers": {
        # Rooms and ghosts are named by what numbers are read as.
        "region": _RESTART,
        "allowed_prefixes": _LIVE,
        "forbidden_prefixes": _LIVE,
        "forbidden_kinds": _LIVE,
        "outside_lines": _LIVE,
        "withhold_codes": _LIVE,
        "show_codes": _LIVE,
    },
    "limits": _LIVE,
    "notices": _LIVE,
    # Greetings are where the folder was when they were made.
    "voicemail": {
        "enabled": _LIVE,
        "folder": _RESTART,
        "delay": _LIVE,
        "answers": _LIVE,
        "max_length": _LIVE,
        "silence": _LIVE,
        "max_waiting": _LIVE,
    },
    "media": _RESTART,
    "shutdown": _LIVE,
    "records": _LIVE,
    "logging": _LIVE,
    "web": _RESTART,
    "api": _RESTART,
}
"""Each section: as a whole, or key by key, and then every key of it."""


def effect_of(section: str, key: str = "") -> Effect:
    """When a change of a setting counts."""
    effect = EFFECTS[section]
    return effect if isinstance(effect, Effect) else effect[key]


def merged(running: Config, wanted: Config) -> Config:
    """What counts once `wanted` was read: of it, what needs no restart."""
    return running.model_copy(
        update={
            section: _merged(effect, getattr(running, section), getattr(wanted, section))
            for section, effect in EFFECTS.items()
        }
    )


def _merged(effect: Mapping[str, Effect] | Effect, running: Any, wanted: Any) -> Any:
    if isinstance(effect, Effect):
        return wanted if effect is _LIVE else running
    live = {key: getattr(wanted, key) for key, each in effect.items() if each is _LIVE}
    return running.model_copy(update=live)


def differences(before: Config, after: Config) -> list[KeyPath]:
    """The keys whose values differ; never the values, which may be secret."""
    return list(_differ((), before, after))


def _differ(path: KeyPath, before: Any, after: Any) -> Iterator[KeyPath]:
    if before == after:
        return
    if isinstance(before, Section) and isinstance(after, type(before)):
        for key in type(before).model_fields:
            yield from _differ((*path, key), getattr(before, key), getattr(after, key))
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            yield from _differ((*path, key), before.get(key), after.get(key))
    else:
        yield path
