# SPDX-License-Identifier: GPL-3.0-or-later
"""The OpenAPI document, made of the table and its models."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from bridge.web.api.access import Scope
from bridge.web.api.events import EVENTS
from bridge.web.api.models import Problem
from bridge.web.api.problems import CONTENT_TYPE, Kind
from bridge.web.api.table import PREFIX, Endpoint

_REF: Final = "#/components/schemas/"
_ABOUT: Final = (
    "Provisioning of a matrix-sip bridge: accounts, routes and permissions, calls that are started "
    "and ended, and what happens. There is an API where `api.read_token` or `api.write_token` is "
    "set; the first lets a program read, the second everything. Problems are as RFC 9457 has them. "
    "422: a request is not as this document says; 409: it is, but contradicts how things stand."
)
_SCOPES: Final = {Scope.READ: "either token", Scope.WRITE: "the token of `api.write_token`"}
Schema = dict[str, Any]
_EVENT: Final[Schema] = {
    "description": "Each event, by its fields.",
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "For coming back."},
        "event": {"type": "string", "description": "As `type` in `data`."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"oneOf": [{"$ref": _REF + each.__name__} for each in EVENTS]},
        },
    },
}


def document(endpoints: Sequence[Endpoint]) -> Schema:
    """The whole document (OpenAPI 3.1)."""
    schemas = _schemas(endpoints)
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, schemas, endpoints)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    shown = _shown(endpoints)
    return {
        "openapi": "3.1.0",
        "info": {"title": "matrix-sip", "version": "1", "description": _ABOUT},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(each.tag for each in endpoints)],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {name: schema for name, schema in schemas.items() if name not in shown},
        },
    }


def _shown(endpoints: Sequence[Endpoint]) -> set[str]:
    """Models that are only lists of parameters, and are shown as such."""
    given = [model for each in endpoints for model in (each.parameters, each.query) if model]
    return {model.__name__ for model in given}


def _schemas(endpoints: Sequence[Endpoint]) -> dict[str, Schema]:
    modes: dict[type[BaseModel], JsonSchemaMode] = {}
    for endpoint in endpoints:
        for model in (endpoint.parameters, endpoint.query, endpoint.body):
            if model:
                modes[model] = "validation"
        for answered in endpoint.answers.values():
            if answered:
                modes[answered] = "serialization"
    # A problem leaves out what it has nothing to say about.
    every = [*modes.items(), *((event, "serialization") for event in EVENTS)]
    _, found = models_json_schema(
        [*every, (Problem, "validation")],
        ref_template=_REF + "{model}",
    )
    schemas: dict[str, Schema] = found["$defs"]
    return {name: _tidy(schemas[name]) for name in sorted(schemas)}


def _tidy(schema: Any) -> Any:
    """Without the titles that pydantic makes of names."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _tidy(value) for name, value in schema.items()}
    if isinstance(plain.get("title"), str):
        del plain["title"]
    return plain


def _operation(
    endpoint: Endpoint, schemas: dict[str, Schema], endpoints: Sequence[Endpoint]
) -> Schema:
    about = " ".join(filter(None, (endpoint.about, f"Wants {_SCOPES[endpoint.scope]}.")))
    operation: Schema = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": about,
        "responses": {**_answers(endpoint, endpoints), **_problems(endpoint)},
    }
    parameters = [*_parameters(endpoint, schemas)]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body:
        content = {"application/json": {"schema": _ref(endpoint.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(endpoint: Endpoint, schemas: dict[str, Schema]) -> Iterator[Schema]:
    for place, model in (("path", endpoint.parameters), ("query", endpoint.query)):
        if model is None:
            continue
        schema = schemas[model.__name__]
        for name, each in schema["properties"].items():
            value = dict(each)
            parameter = {
                "name": name,
                "in": place,
                "description": value.pop("description", ""),
                "required": name in schema.get("required", ()),
                "schema": _plain(value),
            }
            yield parameter
    if endpoint.handler is None:
        yield {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "As `after`, which counts more.",
            "required": False,
            "schema": {"type": "string"},
        }


def _plain(schema: Schema) -> Schema:
    """Of a parameter, which is left out and never null."""
    choices = [each for each in schema.pop("anyOf", ()) if each != {"type": "null"}]
    if schema.get("default", "") is None:
        del schema["default"]
    return {**choices[0], **schema} if choices else schema


def _answers(endpoint: Endpoint, endpoints: Sequence[Endpoint]) -> dict[str, Schema]:
    answers: dict[str, Schema] = {}
    for status, model in endpoint.answers.items():
        answered: Schema = {"description": HTTPStatus(status).phrase}
        if model:
            answered["content"] = {"application/json": {"schema": _ref(model)}}
        elif endpoint.handler is None:
            answered["content"] = {"text/event-stream": {"schema": _EVENT}}
        if endpoint.method == "POST" and status == HTTPStatus.CREATED:
            where = {"type": "string", "format": "uri-reference"}
            answered["headers"] = {
                "Location": {"description": "Where it is.", "required": True, "schema": where}
            }
        if endpoint.links:
            answered["links"] = dict(_links(endpoint))
        answers[str(status)] = answered
    return answers


def _links(endpoint: Endpoint) -> Iterator[tuple[str, Schema]]:
    for name, parameter in endpoint.links:
        known = f"{{{parameter}}}" in endpoint.path
        value = f"$request.path.{parameter}" if known else f"$response.body#/{parameter}"
        yield name, {"operationId": name, "parameters": {parameter: value}}


def _problems(endpoint: Endpoint) -> dict[str, Schema]:
    return {str(kind.status): _problem(kind) for kind in endpoint.kinds}


def _problem(kind: Kind) -> Schema:
    shown: Schema = {
        "description": kind.title,
        "content": {CONTENT_TYPE: {"schema": _ref(Problem)}},
    }
    header = {Kind.UNAUTHORIZED: "WWW-Authenticate", Kind.TOO_MANY: "Retry-After"}.get(kind)
    if header:
        shown["headers"] = {header: {"schema": {"type": "string"}, "required": True}}
    return shown


def _ref(model: type[BaseModel]) -> Schema:
    return {"$ref": _REF + model.__name__}
