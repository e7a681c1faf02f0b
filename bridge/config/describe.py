# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings in words: what a value must look like, read off the models' types."""

import types
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AwareDatetime, SecretStr
from pydantic.fields import FieldInfo

from bridge.config.base import Section
from bridge.config.problems import KeyPath

_SIMPLE: Mapping[Any, str] = {
    bool: "true or false",
    str: "text",
    SecretStr: "text",
    Path: "file",
    IPv4Address: "IP address",
    IPv6Address: "IP address",
    IPv4Network: "IP network",
    IPv6Network: "IP network",
    AwareDatetime: "time with its zone",
    datetime: "time",
}


def wanted(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """What a value of this type looks like, for a person: `whole number, 1 to 65535`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        base, *more = arguments
        return wanted(base, (*metadata, *_constraints(more)))
    if origin in (Union, types.UnionType):
        words = dict.fromkeys(wanted(each) for each in arguments if each is not type(None))
        return _either([*words]) + (", or empty" if type(None) in arguments else "")
    if origin is Literal:
        return _either([str(each) for each in arguments])
    if origin is tuple:
        return _wanted_tuple(arguments)
    if origin is dict:
        return f"names, each with {wanted(arguments[1])}"
    if annotation in (int, float):
        return _wanted_number(annotation, metadata)
    if issubclass(annotation, Enum):
        return _either([each.value for each in annotation])
    if issubclass(annotation, Section):
        return "a section of keys"
    return _SIMPLE[annotation] + _pattern(metadata)


def field_wanted(field: FieldInfo) -> str:
    """What a field's value looks like, for a person."""
    return wanted(field.annotation, tuple(field.metadata))


def _constraints(metadata: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for each in metadata:
        flat += each.metadata if isinstance(each, FieldInfo) else [each]
    return flat


def _wanted_tuple(arguments: tuple[Any, ...]) -> str:
    if arguments[-1] is Ellipsis:
        return "list of sections" if section_in(arguments[0]) else f"list of {wanted(arguments[0])}"
    return f"list of {len(arguments)}: " + "; ".join(dict.fromkeys(map(wanted, arguments)))


def _wanted_number(kind: type, metadata: tuple[Any, ...]) -> str:
    low = next((each.ge for each in metadata if isinstance(each, Ge)), None)
    high = next((each.le for each in metadata if isinstance(each, Le)), None)
    above = next((each.gt for each in metadata if isinstance(each, Gt)), None)
    text = "whole number" if kind is int else "number"
    if low is not None and high is not None:
        return f"{text}, {low} to {high}"
    if low is not None:
        return f"{text}, at least {low}"
    return text if above is None else f"{text} above {above}"


def _pattern(metadata: tuple[Any, ...]) -> str:
    pattern = next((p for each in metadata if (p := getattr(each, "pattern", None))), None)
    if pattern:
        return f" matching {pattern}"
    return " that is not empty" if any(isinstance(each, MinLen) for each in metadata) else ""


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def is_secret(annotation: Any) -> bool:
    """Whether values of this type must never be shown."""
    return annotation is SecretStr


def is_plain(annotation: Any) -> bool:
    """Whether a value is one word or number, not a list, section or mapping."""
    origin = get_origin(annotation)
    if origin in (tuple, dict):
        return False
    if origin in (Union, types.UnionType, Annotated):
        return all(is_plain(each) for each in get_args(annotation) if isinstance(each, type))
    return section_in(annotation) is None


def is_section(annotation: Any) -> bool:
    """Whether values of this type are a section, rather than holding some."""
    return isinstance(annotation, type) and issubclass(annotation, Section)


def section_in(annotation: Any) -> type[Section] | None:
    """The model that values of this type are, or hold (in a list or mapping), if any."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for each in get_args(annotation):
        if found := section_in(each):
            return found
    return None


def step(annotation: Any, key: str | int) -> tuple[Any, tuple[Any, ...]] | None:
    """The type (and constraints) of what is found under `key`, or None if nothing can be there."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        field = annotation.model_fields.get(str(key))
        return (field.annotation, tuple(field.metadata)) if field else None
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict and isinstance(key, str):
        return arguments[1], ()
    if origin is tuple and isinstance(key, int):
        return arguments[0 if arguments[-1] is Ellipsis else key], ()
    return None


def walk(root: type[Section], path: KeyPath) -> tuple[KeyPath, Any, tuple[Any, ...]]:
    """As far along `path` as settings go: the way that exists, its type and its constraints."""
    annotation: Any = root
    metadata: tuple[Any, ...] = ()
    for depth, key in enumerate(path):
        found = step(annotation, key)
        if found is None:
            return path[:depth], annotation, metadata
        annotation, metadata = found
    return path, annotation, metadata
