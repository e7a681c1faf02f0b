# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw settings and where each came from: a YAML document and the environment."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bridge.config import describe
from bridge.config.models import Config
from bridge.config.problems import KeyPath, Problem, did_you_mean

PREFIX = "MATRIX_SIP_"
RESERVED = frozenset({"MATRIX_SIP_CONFIG"})
"""Variables that are not settings: the command line reads them."""


@dataclass(slots=True)
class Raw:
    """Unchecked settings, the place that each came from, and what is wrong already."""

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath) -> str:
        """Where the value at `path` came from, or the nearest section around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, "")

    def complain(self, path: KeyPath, message: str, place: str | None = None) -> None:
        """Take note of a problem."""
        self.problems.append(Problem(path, message, self.place(path) if place is None else place))


def read_yaml(text: str, name: str) -> Raw:
    """Parse a YAML document. `name` is the file's, for messages."""
    raw = Raw(places={(): name})
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return raw
        if not isinstance(node, yaml.MappingNode):
            raw.complain((), "the file must consist of sections (key: value)")
            return raw
        _note_places(raw, node, (), name)
        raw.data = _without_empty(loader.construct_document(node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raw.complain((), f"not valid YAML: {error.problem or error.context}", place)
    except yaml.YAMLError as error:
        raw.complain((), f"not valid YAML: {error}")
    finally:
        if loader:
            loader.dispose()
    return raw


def _note_places(raw: Raw, node: yaml.Node, path: KeyPath, name: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            raw.places[*path, index] = f"{name}:{item.start_mark.line + 1}"
            _note_places(raw, item, (*path, index), name)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = (*path, str(key.value))
        place = f"{name}:{key.start_mark.line + 1}"
        if here in raw.places:
            raw.complain(here, f"given twice; first at {raw.places[here]}", place)
        raw.places[here] = place
        _note_places(raw, value, here, name)


def _without_empty(value: Any) -> Any:
    """A key without a value means its default."""
    if isinstance(value, dict):
        return {str(k): _without_empty(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_empty(each) for each in value]
    return value


def apply_environment(raw: Raw, environment: Mapping[str, str], directory: Path) -> None:
    """Lay `MATRIX_SIP_<SECTION>__<KEY>` over the settings; `…_FILE` names a file with a secret.

    An empty variable counts as not set, one that matches no setting is a problem.
    """
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in RESERVED or not environment[variable]:
            continue
        place = f"environment variable {variable}"
        path = _find(raw.data, variable.removeprefix(PREFIX))
        if path is not None:
            _assign(raw, path, environment[variable], place)
            continue
        secret = variable.removesuffix("_FILE")
        path = _find(raw.data, secret.removeprefix(PREFIX)) if secret != variable else None
        if path is None:
            raw.complain((), f"no such setting; {did_you_mean(variable, _variables())}", place)
        elif not describe.is_secret(describe.walk(Config, path)[1]):
            raw.complain(path, "only secrets can be read from a file", place)
        elif environment.get(secret):
            raw.complain(path, f"{secret} is set too; which one counts?", place)
        elif (value := _read_secret(raw, path, directory / environment[variable], place)) != "":
            _assign(raw, path, value, place)


def _read_secret(raw: Raw, path: KeyPath, file: Path, place: str) -> str:
    try:
        value = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raw.complain(path, f"cannot read {file}: {getattr(error, 'strerror', error)}", place)
        return ""
    if not value:
        raw.complain(path, f"{file} is empty; wanted: the secret", place)
    return value


def _find(data: Any, name: str) -> KeyPath | None:
    """The setting that a variable's name stands for, if there is one."""
    annotation: Any = Config
    path: KeyPath = ()
    for word in name.split("__"):
        key = _key(data, word)
        found = describe.step(annotation, key)
        if found is None or (isinstance(key, int) and not holds(data, key)):
            return None
        annotation, path = found[0], (*path, key)
        data = data[key] if holds(data, key) else {}
    return path


def _key(data: Any, word: str) -> str | int:
    if isinstance(data, list):
        return int(word) if word.isascii() and word.isdigit() else word
    for key in data if isinstance(data, dict) else ():
        if _folded(key) == _folded(word):
            return str(key)
    return word.lower()


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def holds(data: Any, key: str | int) -> bool:
    """Whether a list or mapping has something at this place."""
    if isinstance(data, list):
        return isinstance(key, int) and key < len(data)
    return isinstance(data, dict) and key in data


def _assign(raw: Raw, path: KeyPath, text: str, place: str) -> None:
    annotation = describe.walk(Config, path)[1]
    value: Any = text
    if not describe.is_plain(annotation):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raw.complain(path, f"not valid YAML; wanted: {describe.wanted(annotation)}", place)
            return
    target: Any = raw.data
    for key in path[:-1]:
        if isinstance(target, dict):
            target = target.setdefault(str(key), {})
        elif isinstance(target, list):
            target = target[int(key)]
    if isinstance(target, (dict, list)):
        target[path[-1]] = value  # type: ignore[index]
        raw.places[path] = place


def _variables() -> Iterator[str]:
    for section, field_info in Config.model_fields.items():
        yield PREFIX + section.upper()
        model = field_info.annotation
        if isinstance(model, type) and (held := describe.section_in(model)):
            for key in held.model_fields:
                yield f"{PREFIX}{section}__{key}".upper()
