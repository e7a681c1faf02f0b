# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings need a restart: said of every one, and true of what is merged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.config import Config, OutboundRule, Permission, Section, Trunk
from bridge.config.problems import dotted
from bridge.config.renewal import EFFECTS, Effect, differences, effect_of, merged

GUIDE = Path(__file__).parents[1] / "docs/reference/configuration.md"


def keys() -> Iterator[tuple[str, str]]:
    """Every section and key; a section that is a list or a table has none."""
    for section, field in Config.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, Section):
            yield from ((section, key) for key in model.model_fields)
        else:
            yield section, ""


def test_of_every_setting_it_is_said_when_a_change_counts() -> None:
    for section, key in keys():
        assert isinstance(effect_of(section, key), Effect)


def test_it_is_said_of_nothing_else() -> None:
    assert set(EFFECTS) == set(Config.model_fields)
    known = set(keys())
    named = {
        (section, key)
        for section, effect in EFFECTS.items()
        for key in ([] if isinstance(effect, Effect) else effect)
    }
    assert named <= known


@pytest.mark.parametrize(("section", "key"), list(keys()))
def test_a_change_is_taken_where_it_needs_no_restart_and_left_where_it_does(
    section: str, key: str
) -> None:
    running, another = Config(), object()
    if key:
        inner = getattr(running, section).model_copy(update={key: another})
        wanted = running.model_copy(update={section: inner})
    else:
        wanted = running.model_copy(update={section: another})
    found = merged(running, wanted)
    value: Any = getattr(found, section)
    value = getattr(value, key) if key else value
    assert (value is another) is (effect_of(section, key) is Effect.LIVE)


def test_what_differs_is_named_without_its_value() -> None:
    before = Config(
        permissions={"a.test": Permission.CALL, "b.test": Permission.CALL},
        trunks={"pbx": Trunk(server="192.0.2.1"), "old": Trunk(server="192.0.2.2")},
    )
    after = Config(
        permissions={"a.test": Permission.CALL, "b.test": Permission.RECEIVE},
        trunks={
            "pbx": Trunk(server="192.0.2.1", password=SecretStr("x")),
            "new": Trunk(server="192.0.2.3"),
        },
        outbound=(OutboundRule(trunk="pbx"),),
    )
    assert differences(before, before) == []
    assert [dotted(path) for path in differences(before, after)] == [
        "permissions.b.test",
        "trunks.pbx.password",
        "trunks.old",
        "trunks.new",
        "outbound",
    ]


def test_the_reference_says_it() -> None:
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    said = {row.split("`")[1]: row.rstrip(" |").rpartition("| ")[2] for row in rows}
    for section, key in keys():
        if key:
            assert said[f"{section}.{key}"] == effect_of(section, key).value
