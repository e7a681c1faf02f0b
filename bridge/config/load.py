# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading settings: every mistake is found and named, not just the first."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError

from bridge.config import describe
from bridge.config.base import Section
from bridge.config.changes import Changed, modernise
from bridge.config.checks import check
from bridge.config.models import Config
from bridge.config.problems import InvalidConfig, KeyPath, Problem, did_you_mean
from bridge.config.sip import SipTransport, TrunkTls
from bridge.config.source import Raw, apply_environment, holds, read_yaml
from bridge.errors import ConfigurationError

__all__ = [
    "InvalidConfig",
    "Problem",
    "checked",
    "examine",
    "load",
    "outdated",
    "parse",
    "read_file",
    "secrets_of",
]

SQLITE = "sqlite:"


Tls = TypeVar("Tls", SipTransport, TrunkTls)


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Settings from a file and the environment. Raises `ConfigurationError`."""
    return parse(read_file(path), environment, directory=path.absolute().parent, name=str(path))


def read_file(path: Path) -> str:
    """The text of a configuration file. Raises `ConfigurationError`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist",
            remedy="Make one: matrix-sip setup asks for what matters, "
            f"matrix-sip generate-config > {path} for nothing.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path} cannot be read: {reason}") from None


def outdated(text: str, name: str = "config.yaml") -> list[Changed]:
    """Settings of earlier versions in YAML text, which are still understood."""
    return modernise(read_yaml(text, name))


def parse(
    text: str,
    environment: Mapping[str, str] | None = None,
    *,
    directory: Path,
    name: str = "config.yaml",
) -> Config:
    """Settings from YAML text, with paths relative to `directory`. Raises `InvalidConfig`."""
    config, problems = examine(text, environment, directory=directory, name=name)
    if problems or config is None:
        raise InvalidConfig(problems)
    return config


def examine(
    text: str,
    environment: Mapping[str, str] | None = None,
    *,
    directory: Path,
    name: str = "config.yaml",
) -> tuple[Config | None, tuple[Problem, ...]]:
    """As `parse`, but mistakes are given beside what the settings are without them, if they are."""
    raw = read_yaml(text, name)
    if raw.problems and not raw.data:
        return None, tuple(raw.problems)  # It cannot be read at all.
    modernise(raw)
    apply_environment(raw, environment or {}, directory)
    config = _validate(raw)
    if config is not None:
        config = _resolved(config, directory)
        _cross_check(raw, config)
    return config, tuple(raw.problems)


def checked(config: Config) -> Config:
    """The same settings. Raises `InvalidConfig` if they contradict each other."""
    problems = [Problem(path, message) for path, message in check(config)]
    if problems:
        raise InvalidConfig(problems)
    return config


def secrets_of(section: Section) -> Iterator[str]:
    """Every secret that is set, so that it can be kept out of logs."""
    for name in type(section).model_fields:
        yield from _secrets_in(getattr(section, name))


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        if value.get_secret_value():
            yield value.get_secret_value()
    elif isinstance(value, Section):
        yield from secrets_of(value)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _secrets_in(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _secrets_in(each)


def _validate(raw: Raw) -> Config | None:
    """The settings; with mistakes taken out so that what remains can be checked as well."""
    try:
        return Config.model_validate(raw.data)
    except ValidationError as error:
        mended = copy.deepcopy(raw.data)
        for each in error.errors():
            _mend(mended, _complain(raw, each), missing=each["type"] == "missing")
    try:
        return Config.model_validate(mended)
    except ValidationError:
        return None


def _complain(raw: Raw, error: Any) -> KeyPath:
    """Take note of what pydantic found, once per key. Returns the key's path."""
    path: KeyPath
    path, annotation, metadata = describe.walk(Config, error["loc"])
    if error["type"] == "extra_forbidden":
        unknown = str(error["loc"][len(path)])
        known = annotation.model_fields
        path = (*path, unknown)
        raw.complain(path, f"unknown key; {did_you_mean(unknown, known)}")
    elif not any(problem.path == path for problem in raw.problems):
        raw.complain(path, explain(error, annotation, metadata))
    return path


def explain(error: Any, annotation: Any, metadata: tuple[Any, ...]) -> str:
    """What pydantic found, in words: what the value is, and what is wanted."""
    want = describe.wanted(annotation, metadata)
    if error["type"] == "missing":
        return f"is missing; wanted: {want}"
    if describe.is_secret(annotation):
        return f"not accepted (not shown); wanted: {want} (numbers in quotes)"
    if not describe.is_plain(annotation):
        return f"not accepted; wanted: {want}"
    value = error["input"]
    shown = "true" if value is True else "false" if value is False else repr(value)
    if error["type"] == "string_type" and isinstance(value, (bool, int, float)):
        return f"{shown} is not accepted; wanted: {want} (put it in quotes)"
    return f"{shown} is not accepted; wanted: {want}"


def _mend(data: Any, path: KeyPath, *, missing: bool) -> None:
    """Take a faulty value out (of a list: all of it); where one must be there, put some text in."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    *way, last = path
    for key in way:
        if not holds(data, key):
            return
        data = data[key]
    if missing:
        data[last] = "x"
    else:
        data.pop(last, None)


def _cross_check(raw: Raw, config: Config) -> None:
    """Contradictions between settings, except where a value is known to be wrong already."""
    faulty = [problem.path for problem in raw.problems]
    for path, message in check(config):
        if not any(path[: len(each)] == each[: len(path)] for each in faulty if each):
            raw.complain(path, message)


def _resolved(config: Config, directory: Path) -> Config:
    """The same settings with every path absolute."""
    transports = tuple(_anchored(each, directory) for each in config.sip.transports)
    trunks = {
        name: trunk.model_copy(update={"tls": _anchored(trunk.tls, directory)})
        for name, trunk in config.trunks.items()
    }
    url, folder = config.database.url.get_secret_value(), config.voicemail.folder
    if url.startswith(SQLITE):
        file = directory / url.removeprefix(SQLITE)
        url, folder = SQLITE + str(file), folder or file.parent / "voicemail"
    return config.model_copy(
        update={
            "sip": config.sip.model_copy(update={"transports": transports}),
            "trunks": trunks,
            "database": config.database.model_copy(update={"url": SecretStr(url)}),
            "voicemail": config.voicemail.model_copy(
                update={"folder": None if folder is None else directory / folder}
            ),
        }
    )


def _anchored(tls: Tls, directory: Path) -> Tls:
    """The same certificates and keys, by absolute paths."""
    return tls.model_copy(
        update={
            key: directory / path
            for key in ("certificate", "private_key", "ca_list")
            if (path := getattr(tls, key)) is not None
        }
    )
