# SPDX-License-Identifier: GPL-3.0-or-later
"""`matrix-sip setup`: a few answers become the commented configuration and the registration."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import phonenumbers
import yaml

from bridge.app.files import write_private
from bridge.app.questions import KEEP, NONE, PBX, PROVIDER, Answers, is_near
from bridge.app.registration import registration_file
from bridge.config import Config, InvalidConfig, parse
from bridge.config.changes import modernise
from bridge.config.load import read_file
from bridge.config.source import read_yaml
from bridge.config.template import configuration, fresh_secrets
from bridge.errors import ConfigurationError

Settings = dict[str, Any]
"""As YAML gives them."""
ETC: Final = Path("/etc")
STATE: Final = Path("/var/lib/matrix-sip")
"""Where the systemd unit keeps the database."""


@dataclass(frozen=True, slots=True)
class Written:
    """What setup has made."""

    config: Config
    copies: tuple[Path, ...]
    """Of files that were there before."""


def settings_before(path: Path) -> Settings:
    """What an existing configuration says; nothing if there is none. Raises ConfigurationError."""
    if not path.exists():
        return {}
    raw = read_yaml(read_file(path), str(path))
    if raw.problems:
        raise InvalidConfig(raw.problems)
    modernise(raw)
    return raw.data


def answers_before(settings: Settings) -> Answers:
    """The answers that would give these settings."""
    if not settings:
        return {}
    known: dict[str, Any] = {
        "homeserver": settings.get("homeserver", {}).get("address"),
        "domain": settings.get("homeserver", {}).get("domain"),
        "bridge": settings.get("appservice", {}).get("address"),
        "public_address": settings.get("media", {}).get("public_address"),
        "trunk": KEEP if settings.get("trunks") else None,
    }
    levels = settings.get("permissions", {})
    admins = [key for key, level in levels.items() if level == "admin"]
    callers = [key for key, level in levels.items() if level == "call"]
    known |= {"admin": next(iter(admins), None), "callers": ", ".join([*admins[1:], *callers])}
    return {key: str(value) for key, value in known.items() if value}


def settings_of(answers: Answers, before: Settings, path: Path) -> Settings:
    """The settings before, with the answers laid over them."""
    settings = _merged(before, _plain(answers))
    if "database" not in before and ETC in path.absolute().parents:
        settings["database"] = {"url": f"sqlite:{STATE}/matrix-sip.db"}
    settings["permissions"] = dict(_permissions(answers, before.get("permissions", {})))
    settings.setdefault("sip", {})["transports"] = [*_listeners(answers, before)]
    name = answers["trunk"]
    if name in (KEEP, NONE):
        return settings
    settings["trunks"] = _merged(before.get("trunks", {}), {name: dict(_trunk(answers))})
    rule = {"prefix": "+", "trunk": name} if name == PROVIDER else {"trunk": name}
    rings = {"trunk": name, "person": answers["admin"]}
    for section, entry in (("outbound", rule), ("inbound", rings)):
        rules = [*before.get(section, [])]
        if not any(name in (each.get("trunk"), *each.get("trunks", ())) for each in rules):
            rules.append(entry)
        settings[section] = rules
    return settings


def write(
    answers: Answers,
    path: Path,
    registration: Path,
    environment: Mapping[str, str],
    now: datetime,
) -> Written:
    """Write both files; nothing is lost that was there. Raises ConfigurationError, LocalError."""
    before = settings_before(path)
    settings = settings_of(answers, _without_empty_secrets(before), path)
    text = configuration(tokens=fresh_secrets(), settings=settings)
    config = parse(text, environment, directory=path.absolute().parent, name=str(path))
    copies = (
        write_private(path, text, now),
        write_private(registration, registration_file(config), now),
    )
    return Written(config, tuple(each for each in copies if each))


def read_answers(text: str) -> Mapping[str, Any]:
    """A file of answers. Raises ConfigurationError."""
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"the answers are not valid YAML: {error}") from error
    if not isinstance(given, dict):
        raise ConfigurationError("the answers must be lines of `question: answer`")
    return given


# --- answers as settings --------------------------------------------------------------------------


def _plain(answers: Answers) -> Settings:
    """What an answer says as it is."""
    bridge = urlsplit(answers["bridge"])
    number = answers.get("number", "")
    region = _region(number)
    near = is_near(answers["bridge"])
    return {
        "homeserver": {"address": answers["homeserver"], "domain": answers["domain"]},
        "appservice": {
            "address": answers["bridge"],
            "port": bridge.port or 29330,
            "listen": str(_listen(bridge.hostname or "", near=near)),
        },
        "media": {"public_address": answers["public_address"] or None},
        **({"numbers": {"region": region}} if region else {}),
    }


def _listen(host: str, *, near: bool) -> IPv4Address | IPv6Address:
    six = ":" in host
    if near:
        return IPv6Address("::1") if six else IPv4Address("127.0.0.1")
    return IPv6Address("::") if six else IPv4Address("0.0.0.0")


def _region(number: str) -> str | None:
    """The country that national numbers most likely belong to."""
    if not number.startswith("+"):
        return None
    return phonenumbers.region_code_for_number(phonenumbers.parse(number))


def _permissions(answers: Answers, before: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    named = [each for each in answers["callers"].split(", ") if each]
    for key, level in before.items():
        if level not in ("call", "admin"):
            yield key, level
    for key in named:
        yield key, "admin" if before.get(key) == "admin" else "call"
    yield answers["admin"], "admin"


def _listeners(answers: Answers, before: Settings) -> Iterator[Settings]:
    """Those before, and one that the trunk needs; TLS needs no certificate to connect."""
    known = before.get("sip", {}).get("transports") or [{"protocol": "udp"}]
    public = {"public_address": answers["public_address"] or None}
    for each in known:
        yield {**each, **public}
    wanted = answers.get("transport", "auto")
    if wanted != "auto" and wanted not in {each.get("protocol", "udp") for each in known}:
        yield {"protocol": wanted, "port": 5061 if wanted == "tls" else 5060, **public}


def _trunk(answers: Answers) -> Iterator[tuple[str, Any]]:
    yield "server", answers["server"]
    yield "transport", answers["transport"]
    yield "register", answers["trunk"] == PROVIDER
    for key in ("username", "password"):
        if answers.get(key):
            yield key, answers[key]
    if answers["number"]:
        yield "caller_id", answers["number"]
    if answers["trunk"] == PBX:
        # Whether it is there, as there is no registration to tell.
        yield "probe_interval", 60


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> Settings:
    """Sections within each other, those of `over` counting."""
    found = dict(under)
    for key, value in over.items():
        below = found.get(key)
        deeper = isinstance(value, dict) and isinstance(below, dict)
        found[key] = _merged(below, value) if deeper else value  # type: ignore[arg-type]
    return found


def _without_empty_secrets(settings: Settings) -> Settings:
    """Fresh ones go where none were; those that there are must last."""
    names = fresh_secrets().keys()
    return {
        section: {k: v for k, v in value.items() if k not in names or v}
        if isinstance(value, dict)
        else value
        for section, value in settings.items()
    }


HOMESERVER: Final = """\
# homeserver.yaml (Synapse). Its user has to be able to read the registration, and nobody else:
# install -o matrix-synapse -m 0400 {registration} /etc/matrix-synapse/matrix-sip.yaml
app_service_config_files:
  - /etc/matrix-synapse/matrix-sip.yaml
# Calls in encrypted rooms:
experimental_features:
  msc2409_to_device_messages_enabled: true
  msc3202_transaction_extensions: true
# Calls ring at once, without an invitation to accept first:
auto_accept_invites:
  enabled: true
  only_for_direct_messages: true
  only_from_local_users: true
"""


def for_homeserver(registration: Path) -> str:
    """What the homeserver's configuration needs."""
    return HOMESERVER.format(registration=registration.absolute())
