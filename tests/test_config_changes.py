# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of earlier versions: still understood, and written anew where that is wanted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config import outdated, parse
from bridge.config.changes import ANY, CHANGES, Change, modernise, rewrite
from bridge.config.source import read_yaml

TOKENS = "appservice: {as_token: ours, hs_token: theirs}\nencryption: {mode: off}\n"
TRUNKS = "trunks: {provider: {server: a}}\n"


def rules(text: str) -> list[str]:
    return [rule.format for rule in parse(text, directory=Path("/")).outbound]


def renamed(value: Any, _: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"new": value}


RENAMED = (Change(("section", "old"), renamed),)
SPLIT = (Change(("section", ANY, "old"), lambda value, _: {"one": value, "two": [1, 2]}),)


def test_a_setting_that_has_gone_is_still_understood() -> None:
    text = TOKENS + TRUNKS + "outbound:\n- {trunk: provider, keep_plus: false}\n- trunk: provider\n"
    assert rules(text) == ["plain", "e164"]
    (found,) = outdated(text, "a.yaml")
    assert str(found) == 'a.yaml:5: outbound[0].keep_plus: is now format: "plain"'


def test_what_says_nothing_new_just_goes() -> None:
    text = TOKENS + TRUNKS + "outbound: [{trunk: provider, keep_plus: true}]\n"
    assert rules(text) == ["e164"]
    assert "has gone" in str(outdated(text)[0])
    assert outdated(rewrite(text)) == []


def test_a_mistake_in_what_it_became_is_told_where_it_is() -> None:
    raw = read_yaml("section:\n\n  old: 1\n", "a.yaml")
    assert len(modernise(raw, RENAMED)) == 1
    assert raw.data == {"section": {"new": 1}}
    assert raw.place(("section", "new")) == "a.yaml:3"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "outbound:\n  # x\n  - prefix: '+1'  # all\n    keep_plus: no  # bare\n    strip: 0\n",
            "outbound:\n  # x\n  - prefix: '+1'  # all\n    format: plain  # bare\n    strip: 0\n",
        ),
        (
            "outbound:\n  - keep_plus: true\n    # the trunk\n    trunk: a\n",
            "outbound:\n  - \n    # the trunk\n    trunk: a\n",
        ),
        (
            "outbound:\n  - trunk: a\n"
            "    # false is another word for format: plain. (true or false)\n"
            "    keep_plus: true\n    # Digits\n    strip: 0\n",
            "outbound:\n  - trunk: a\n    # Digits\n    strip: 0\n",
        ),
        (
            "outbound:\n  - trunk: a\n    # my own words\n    keep_plus: true\n",
            "outbound:\n  - trunk: a\n    # my own words\n",
        ),
        ("outbound: [{keep_plus: true, trunk: a}]", "outbound: [{trunk: a}]"),
        ("outbound: [{trunk: a, keep_plus: true}]", "outbound: [{trunk: a}]"),
        ("outbound: [{keep_plus: true}]", "outbound: [{}]"),
        (
            "outbound: [{trunk: a, format: e164, keep_plus: no}, {keep_plus: no, trunk: b}]",
            "outbound: [{trunk: a, format: plain}, {format: plain, trunk: b}]",
        ),
        (
            "outbound: [{trunk: a, format: national, keep_plus: no}]",
            "outbound: [{trunk: a, format: national}]",
        ),
        ("outbound:\n", "outbound:\n"),
        ("", ""),
    ],
)
def test_a_file_is_written_anew_and_keeps_its_comments(before: str, after: str) -> None:
    written = rewrite(before)
    # What stands in for both: `format`, twice in one section, would be a mistake.
    assert written.replace('"plain"', "plain") == after
    raw = read_yaml(before, "a.yaml")
    modernise(raw)
    assert read_yaml(written, "a.yaml").data == raw.data


@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        (
            RENAMED,
            "section:\n  old:\n    # of it\n    deep: 1\n\n  other: 2\n",
            "section:\n  new:\n    # of it\n    deep: 1\n\n  other: 2\n",
        ),
        (RENAMED, "section:\n  old: 'text'  # why\n", "section:\n  new: 'text'  # why\n"),
        (
            SPLIT,
            "section:\n  a:\n    old: 1.50\n  b: {old: yes}\n",
            "section:\n  a:\n    one: 1.50\n    two: [1, 2]\n  b: {one: yes, two: [1, 2]}\n",
        ),
    ],
)
def test_other_changes_than_there_have_been_yet(
    changes: tuple[Change, ...], before: str, after: str
) -> None:
    assert rewrite(before, changes) == after


def test_the_first_configuration_that_had_it_becomes_todays(tmp_path: Path) -> None:
    """As the first version generated its examples, with the disabled lines enabled."""
    text = (
        TOKENS
        + TRUNKS.replace("a}", "a, username: u}")
        + (
            "outbound:\n"
            "  # The number in E.164 starts with this; empty: every number. (text)\n"
            '  - prefix: "+1"\n'
            "    # Name of the trunk. (text)\n"
            '    trunk: "provider"\n'
            "    # Digits to take off the front. (whole number, at least 0)\n"
            "    strip: 0\n"
            "    # What to put in front, after that. (text)\n"
            '    prepend: ""\n'
            "    # Whether the + stays. (true or false)\n"
            "    keep_plus: false\n"
        )
    )
    written = rewrite(text)
    assert outdated(text)
    assert not outdated(written)
    assert parse(text, directory=tmp_path) == parse(written, directory=tmp_path)
    assert "# Whether the + stays." in written


def test_nothing_becomes_what_has_gone() -> None:
    gone = {change.path[-1] for change in CHANGES}
    for change in CHANGES:
        for value in (True, False, yaml.safe_load("no")):
            assert not gone & set(change.becomes(value, {}))
