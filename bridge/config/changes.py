# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of earlier versions: what became of each, in settings and in the file itself.

A setting that is renamed, replaced or taken out gets an entry in `CHANGES`, and nothing else: files
that still have it go on to be read, and `matrix-sip upgrade` writes them anew.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from bridge.config.problems import KeyPath, dotted
from bridge.config.source import Raw
from bridge.config.template import in_yaml

ANY: Final = "*"
"""In a path: whatever the item of a list, or the name, is."""

Becomes = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]
"""Given the old value and the settings beside it: the settings that say the same now."""


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that is no more.

    Of `becomes`, the old value itself (`is`) stays as it is written in the file. `comment`: how the
    generated file explained the setting, which goes with it.
    """

    path: tuple[str, ...]
    becomes: Becomes
    comment: str = ""


def _plain(value: Any, beside: Mapping[str, Any]) -> Mapping[str, Any]:
    says_no = str(value).lower() in ("false", "no", "off", "0")
    return {"format": "plain"} if says_no and beside.get("format", "e164") == "e164" else {}


CHANGES: Final = (
    Change(
        ("outbound", ANY, "keep_plus"),
        _plain,
        "false is another word for format: plain. (true or false)",
    ),
)


@dataclass(frozen=True, slots=True)
class Changed:
    """One setting that was found, and what it says now."""

    path: KeyPath
    place: str
    now: Mapping[str, Any]

    def __str__(self) -> str:
        says = ", ".join(f"{key}: {in_yaml(value)}" for key, value in self.now.items())
        fate = f"is now {says}" if says else "has gone, and says nothing that is not so anyway"
        return f"{self.place}: {dotted(self.path)}: {fate}"


def modernise(raw: Raw, changes: tuple[Change, ...] = CHANGES) -> list[Changed]:
    """Replace settings of earlier versions among those that were read; gives what was found."""
    found = []
    for change in changes:
        for path, section in _sections(raw.data, change.path[:-1], ()):
            old = (*path, change.path[-1])
            if change.path[-1] not in section:
                continue
            place = raw.place(old)
            value = section.pop(change.path[-1])
            now = change.becomes(value, section)
            section.update(now)
            raw.places.update({(*path, key): place for key in now})
            found.append(Changed(old, place, now))
    return found


def _sections(
    data: Any, path: tuple[str, ...], way: KeyPath
) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Every section that a path leads to."""
    if not path:
        if isinstance(data, dict):
            yield way, data
        return
    key, *rest = path
    if isinstance(data, list):
        steps: list[tuple[str | int, Any]] = [*enumerate(data)] if key == ANY else []
    elif isinstance(data, dict):
        steps = [(name, each) for name, each in data.items() if key in (ANY, name)]
    else:
        steps = []
    for name, each in steps:
        yield from _sections(each, tuple(rest), (*way, name))


# --- the file itself ------------------------------------------------------------------------------


def rewrite(text: str, changes: tuple[Change, ...] = CHANGES) -> str:
    """The file with settings of earlier versions replaced; everything else stays as it is."""
    for change in changes:
        while (found := _first(text, change)) is not None:
            text = _edited(text, change, *found)
    return text


def _first(text: str, change: Change) -> tuple[yaml.MappingNode, int] | None:
    """The first section of the file that has the setting, and at which place."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for section in _nodes(root, change.path[:-1]):
        for number, (key, _) in enumerate(section.value):
            if key.value == change.path[-1]:
                return section, number
    return None


def _nodes(node: yaml.Node | None, path: tuple[str, ...]) -> Iterator[yaml.MappingNode]:
    if not path:
        if isinstance(node, yaml.MappingNode):
            yield node
        return
    key, *rest = path
    if isinstance(node, yaml.SequenceNode) and key == ANY:
        for item in node.value:
            yield from _nodes(item, tuple(rest))
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if key in (ANY, name.value):
                yield from _nodes(value, tuple(rest))


def _edited(text: str, change: Change, section: yaml.MappingNode, number: int) -> str:
    """The text with one setting replaced."""
    key, value = section.value[number]
    beside = {name.value: _value(each) for name, each in section.value if name is not key}
    old = _value(value)
    now = dict(change.becomes(old, beside))
    begin, end = key.start_mark.index, value.end_mark.index
    # Of a block, the end is where the next key begins.
    end = begin + len(text[begin:end].rstrip())
    edits = [
        (each.start_mark.index, each.end_mark.index, in_yaml(now.pop(name.value)))
        for name, each in section.value
        if name is not key and name.value in now
    ]
    told = [
        name + text[key.end_mark.index : end] if each is old else f"{name}: {in_yaml(each)}"
        for name, each in now.items()
    ]
    if told:
        indent = "\n" + " " * key.start_mark.column
        edits.append((begin, end, (", " if section.flow_style else indent).join(told)))
    elif section.flow_style:
        edits.append((*_with_comma(section, number, begin, end), ""))
    else:
        edits.append((*_with_line(text, begin, end, change.comment), ""))
    for first, last, new in sorted(edits, reverse=True):
        text = text[:first] + new + text[last:]
    return text


def _value(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _with_comma(section: yaml.MappingNode, number: int, begin: int, end: int) -> tuple[int, int]:
    if number + 1 < len(section.value):
        return begin, section.value[number + 1][0].start_mark.index
    if number:
        return section.value[number - 1][1].end_mark.index, end
    return begin, end


def _with_line(text: str, begin: int, end: int, comment: str) -> tuple[int, int]:
    """The whole line, and what the generated file says above, if nothing else is there."""
    first, last = text.rfind("\n", 0, begin) + 1, text.find("\n", end) + 1 or len(text)
    if text[first:begin].strip() or text[end:last].strip():
        return begin, end
    above = text.rfind("\n", 0, max(first - 1, 0)) + 1
    if comment and text[above:first].strip() == f"# {comment}":
        first = above
    return first, last
