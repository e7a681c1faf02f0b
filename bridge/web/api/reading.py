# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests, read as the models say; what is wrong is said field by field."""

import json
from collections.abc import Iterable
from typing import Any, Final, NoReturn, TypeVar

from aiohttp import web
from pydantic import ValidationError

from bridge.config import Section
from bridge.config.describe import walk
from bridge.config.load import explain
from bridge.config.problems import did_you_mean, dotted
from bridge.web.api.problems import Kind, Refused

LONGEST: Final = 64 * 1024
"""Bytes of a body."""
_JSON: Final = "application/json"
Model = TypeVar("Model", bound=Section)


def of_strings(model: type[Model], pairs: Iterable[tuple[str, str]]) -> Model:
    """What an address says. Raises Refused."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            refuse([(name, "is there twice; wanted: once")])
        values[name] = value
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        refuse(_problems(model, error))


async def of_body(model: type[Model], request: web.Request) -> Model:
    """What a body says. Raises Refused."""
    if request.content_type != _JSON:
        raise Refused(Kind.NO_JSON, f"Wanted: Content-Type: {_JSON}.")
    body = await request.read()
    if len(body) > LONGEST:
        raise Refused(Kind.TOO_LARGE, f"Wanted: at most {LONGEST} bytes.")
    try:
        return model.model_validate_json(_whole(body), strict=True)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise Refused(Kind.MALFORMED, f"{error.errors()[0]['msg']}.") from None
        refuse(_problems(model, error))


def _whole(body: bytes) -> str:
    """The same JSON with 7 for 7.0, which is a whole number, too (JSON Schema 2020-12 4.2.3)."""

    def number(text: str) -> int | float:
        value = float(text)
        return int(value) if value.is_integer() else value

    try:
        return json.dumps(json.loads(body, parse_float=number))
    except (ValueError, RecursionError):
        raise Refused(Kind.MALFORMED, "It cannot be read.") from None


def _problems(model: type[Section], error: ValidationError) -> list[tuple[str, str]]:
    """Each field once, with what is wanted there."""
    found: dict[str, str] = {}
    for each in error.errors():
        path, annotation, metadata = walk(model, each["loc"])
        if each["type"] == "extra_forbidden":
            unknown = str(each["loc"][len(path)])
            text = f"is not known here; {did_you_mean(unknown, annotation.model_fields)}"
            path = (*path, unknown)
        elif each["type"] in ("string_too_long", "string_too_short"):
            bound = each["ctx"]
            most = "max_length" in bound
            length = bound["max_length"] if most else bound["min_length"]
            text = f"wanted: {'at most' if most else 'at least'} {length} characters"
        else:
            text = explain(each, annotation, metadata)
        found.setdefault(dotted(path) or "body", text + _example(model, path))
    return list(found.items())


def _example(model: type[Section], path: tuple[Any, ...]) -> str:
    """How a field is written, where that is known."""
    field = model.model_fields.get(str(path[0])) if len(path) == 1 else None
    return f", like {field.examples[0]}" if field is not None and field.examples else ""


def refuse(errors: list[tuple[str, str]]) -> NoReturn:
    """Raise Refused for what is wrong with these fields."""
    detail = "; ".join(f"{field} {text}" for field, text in errors) + "."
    raise Refused(Kind.INVALID, detail, errors=errors)
