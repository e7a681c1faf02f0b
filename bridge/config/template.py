# SPDX-License-Identifier: GPL-3.0-or-later
"""The commented configuration file, written from the models.

In the file, comments start with `# `; a `#` directly before a key (or before its indentation)
disables an example, so that taking that one character away enables it.
"""

import json
import secrets
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bridge.config import describe
from bridge.config.base import Off, Section
from bridge.config.models import Config

WIDTH = 100
TOKENS = ("as_token", "hs_token")
PEOPLE_TOKEN = "people_token"
SECRET_KEY = "secret_key"
WEB_TOKEN = "token"


def configuration(
    *, tokens: Mapping[str, str] | None = None, settings: Mapping[str, Any] | None = None
) -> str:
    """A complete configuration file, with `settings` (as YAML gives them) in place of defaults.

    Without `tokens`, their keys stay empty.
    """
    head = [
        "# Configuration of matrix-sip. Every key is listed, with its default.",
        "# Any key can be set by the environment too: MATRIX_SIP_<SECTION>__<KEY>, and secrets by",
        "# MATRIX_SIP_<SECTION>__<KEY>_FILE, which names a file. Relative paths start here.",
        "# `matrix-sip check` looks for mistakes.",
    ]
    known = settings or {}
    lines = head + [
        line
        for name in Config.model_fields
        for line in ("", *_section(name, tokens or {}, known.get(name)))
    ]
    return "\n".join(lines) + "\n"


def fresh_tokens() -> dict[str, str]:
    """Two random tokens that nobody can guess."""
    return {name: secrets.token_urlsafe(32) for name in TOKENS}


def fresh_secrets() -> dict[str, str]:
    """Everything secret that a new configuration needs: tokens, and the key of the database."""
    names = (PEOPLE_TOKEN, SECRET_KEY, WEB_TOKEN)
    return {**fresh_tokens(), **{name: secrets.token_urlsafe(32) for name in names}}


def _section(name: str, tokens: Mapping[str, str], settings: Any) -> Iterator[str]:
    field = Config.model_fields[name]
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield from _comment(first_line(annotation), "")
        yield f"{name}:"
        yield from _keys(annotation, "  ", {**tokens, **(settings or {})})
        return
    model = describe.section_in(annotation)
    more = f" {first_line(model)}" if model else ""
    yield from _comment(f"{field.description}{more}", "")
    yield from _entries(name, field, settings, "") if settings else _examples(name, field, "")


def _examples(name: str, field: FieldInfo, indent: str) -> Iterator[str]:
    """The examples of a mapping or list, disabled."""
    shown = [f"{indent}{name}:"]
    for example in field.examples or ():
        entries = example if describe.step(field.annotation, 0) is None else [example]
        shown += list(_entries(name, field, entries, indent))[1:]
    yield from (f"#{line}" for line in shown)


def _entries(name: str, field: FieldInfo, entries: Any, indent: str) -> Iterator[str]:
    """What a mapping or list holds."""
    model = describe.section_in(field.annotation)
    yield f"{indent}{name}:"
    if isinstance(entries, Mapping):
        for key, value in entries.items():
            if model is None:
                yield f"{indent}  {_scalar(key)}: {_scalar(value)}"
            else:
                yield f"{indent}  {_name(key)}:"
                yield from _keys(model, f"{indent}    ", value)
    elif model is not None:
        for each in entries:
            values = each.model_dump(exclude_unset=True) if isinstance(each, Section) else each
            yield from _item(model, values, f"{indent}  ")


def _keys(model: type[Section], indent: str, values: Mapping[str, Any]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        value = values[name] if name in values else default(field)
        value = _as_meant(field, value)
        yield from _comment(f"{field.description} ({describe.field_wanted(field)})", indent)
        inner = describe.section_in(field.annotation)
        if inner is None:
            yield f"{indent}{name}: {in_yaml(value)}".rstrip()
        elif describe.is_section(field.annotation):
            yield f"{indent}{name}:"
            yield from _keys(inner, indent + "  ", value if isinstance(value, Mapping) else {})
        elif not value:
            yield from _examples(name, field, indent)
        else:
            yield from _entries(name, field, value, indent)


def _as_meant(field: FieldInfo, value: Any) -> Any:
    """A value as YAML gave it, as the default would be."""
    if value is False and Off in field.metadata:
        value = "off"
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Enum) and isinstance(value, str):
        return next((each for each in kind if each.value == value), value)
    return value


def _item(model: type[Section], values: Mapping[str, Any], indent: str) -> list[str]:
    """One item of a list: its first key carries the dash."""
    lines = list(_keys(model, indent + "  ", values))
    first = next(i for i, line in enumerate(lines) if not line.strip().startswith("#"))
    lines[:first] = [line.removeprefix("  ") for line in lines[:first]]
    lines[first] = f"{indent}- {lines[first].strip()}"
    return lines


def _name(key: str) -> str:
    """A name as a key of YAML."""
    return key if key.replace("-", "_").isidentifier() else _scalar(key)


def _comment(text: str, indent: str) -> Iterator[str]:
    mark = f"{indent}# "
    return iter(textwrap.wrap(text, WIDTH, initial_indent=mark, subsequent_indent=mark))


def first_line(model: type[Section]) -> str:
    """What a section is for."""
    return (model.__doc__ or "").partition("\n")[0]


def default(field: FieldInfo) -> Any:
    """What a setting is when nobody sets it; None for one that must be set."""
    return None if field.is_required() else field.get_default(call_default_factory=True)


def in_yaml(value: Any) -> str:
    """A plain value, or a list of them, as YAML on one line."""
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """A value as YAML; text is quoted as JSON, which YAML contains."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case SecretStr():
            return json.dumps(value.get_secret_value())
        case Enum():
            return str(value.value)
        case _:
            return json.dumps(str(value), ensure_ascii=False)
