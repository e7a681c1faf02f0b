# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference page of the settings, written from the models, as Markdown."""

from collections.abc import Iterator

from pydantic.fields import FieldInfo

from bridge.config import describe
from bridge.config.base import Section
from bridge.config.models import Config
from bridge.config.renewal import Effect, effect_of
from bridge.config.template import default, first_line, in_yaml

INTRODUCTION = """\
# Configuration

Written by `scripts/write_reference.py` from the models in `bridge/config/`.

`matrix-sip generate-config` prints a file with all of these keys; `matrix-sip check` names every
mistake in one. A key that is left out, or left empty, has its default. Unknown keys are errors.
Relative paths start at the configuration file.

## Environment

A variable `MATRIX_SIP_<SECTION>__<KEY>` counts more than the file. Further levels are separated by
`__` too; list items are numbered from 0: `MATRIX_SIP_MEDIA__ICE_SERVERS__0__PASSWORD`. Lists and
whole sections are written as YAML. A secret can be read from a file: its variable is the same with
`_FILE` at the end. A variable that starts with `MATRIX_SIP_` and matches no key is an error; an
empty one counts as not set. `MATRIX_SIP_CONFIG` names the configuration file.

## When a change counts

A bridge that runs reads all this anew when it is told to ([how](../how-to/restart.md)). What is
marked `live` counts from then on, for calls that begin then; `restart`: when the bridge is started
again.
"""


def reference() -> str:
    """The whole page."""
    lines = [INTRODUCTION.rstrip()]
    for name, field in Config.model_fields.items():
        lines += ["", f"## `{name}`", "", *_reference_section(name, field)]
    return "\n".join(lines) + "\n"


def _reference_section(name: str, field: FieldInfo) -> Iterator[str]:
    model = describe.section_in(field.annotation)
    if model is None:
        wanted = f"Wanted: {describe.field_wanted(field)}. Effect: {effect_of(name).value}."
        yield from (field.description or "", "", wanted)
        return
    if isinstance(field.annotation, type):
        yield from (first_line(model), "")
        yield from _table(name, model)
        return
    yield from (f"{field.description} {first_line(model)}", "")
    yield from _table(f"{name}{_kind(field)}", model, effect_of(name))


def _kind(field: FieldInfo) -> str:
    """How one of the sections in a field is written: it is the one, an item, or has a name."""
    if isinstance(field.annotation, type):
        return ""
    return "[…]" if describe.step(field.annotation, 0) is not None else ".<name>"


def _table(path: str, model: type[Section], effect: Effect | None = None) -> Iterator[str]:
    """`effect`: when a change of any of these counts, if it is the same for all."""
    yield from ("| key | wanted | default | meaning | effect |", "|---|---|---|---|---|")
    inner: list[tuple[str, type[Section], Effect]] = []
    for name, field in model.model_fields.items():
        when = effect or effect_of(path, name)
        cells = (
            f"`{path}.{name}`",
            describe.field_wanted(field),
            _shown_default(field),
            field.description or "",
            when.value,
        )
        yield f"| {' | '.join(cells)} |".replace("||", "\\|\\|")
        if held := describe.section_in(field.annotation):
            inner.append((f"{path}.{name}{_kind(field)}", held, when))
    for inner_path, held, when in inner:
        yield from ("", f"### `{inner_path}`", "", first_line(held), "")
        yield from _table(inner_path, held, when)


def _shown_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    usual = default(field)
    if isinstance(field.annotation, type) and describe.section_in(field.annotation):
        return "the defaults below"
    if describe.section_in(field.annotation):
        return "one, with the defaults below" if isinstance(usual, tuple) and usual else ""
    text = in_yaml(usual)
    return "" if text in ("", '""', "[]") else f"`{text}`"
