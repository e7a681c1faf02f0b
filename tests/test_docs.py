# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation: what it links to and names exists, and its settings are accepted."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config import InvalidConfig, parse
from bridge.config.template import fresh_tokens
from bridge.media.embedded import streams

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = sorted(
    [README, ROOT / "CHANGELOG.md", ROOT / "tests/README.md", *(ROOT / "docs").rglob("*.md")]
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DESIGN = ROOT / "docs/discussion/design.md"
MODULE = re.compile(r"`(\w+)`")
HOMESERVER_KEYS = {"app_service_config_files", "auto_accept_invites"}
"""Of snippets that are for Synapse."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for link in LINK.findall(CODE.sub("", page.read_text())):
            if not link.startswith(("https://", "http://")):
                yield page, link


def anchors(page: Path) -> set[str]:
    """Names that a heading is given by those who show Markdown."""
    text = CODE.sub("", page.read_text())
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize(("page", "link"), [*links()], ids=lambda each: Path(each).name)
def test_what_is_linked_to_exists(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


@pytest.mark.parametrize("page", [page for page in PAGES if "docs" in page.parts], ids=name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert name(page) in {link.partition("#")[0] for source, link in links() if source == README}


def snippets() -> Iterator[Any]:
    for page in PAGES:
        for number, text in enumerate(YAML.findall(page.read_text()), 1):
            content = yaml.safe_load(text)
            if not HOMESERVER_KEYS & set(content):
                yield pytest.param(content, id=f"{page.stem}-{number}")


@pytest.mark.parametrize("settings", [*snippets()])
def test_settings_are_accepted(settings: dict[str, Any], tmp_path: Path) -> None:
    minimal = {"appservice": fresh_tokens(), "permissions": {"example.org": "call"}}
    parse(yaml.safe_dump(minimal | settings), directory=tmp_path)


def test_a_setting_that_does_not_exist_would_be_noticed(tmp_path: Path) -> None:
    settings = {"appservice": fresh_tokens(), "media": {"no_such_key": 1}}
    with pytest.raises(InvalidConfig):
        parse(yaml.safe_dump(settings), directory=tmp_path)


def statistics_in(text: str) -> set[str]:
    return set(re.findall(r"`(mode|[A-Za-z]+_\w+)`", text))


def test_every_statistic_is_explained() -> None:
    explained = statistics_in((ROOT / "docs/reference/statistics.md").read_text())
    assert explained == statistics_in(streams.__doc__ or "")

    measured = streams.Streams("cname", lambda: None).statistics(0.0)
    assert {re.sub(r"^(?:matrix|sip)_", "S_", key) for key in measured} <= explained


def test_the_picture_is_what_the_script_draws() -> None:
    script = [sys.executable, str(ROOT / "scripts/draw-overview")]
    drawn = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert drawn == (ROOT / "docs/images/overview.svg").read_text(), "run: make docs"


def parts() -> list[tuple[str, str]]:
    """Folders of the source tree, and the modules in them that the page on the design names."""
    rows = re.findall(r"^\| `([\w/]+/)` \| (.*) \|$", DESIGN.read_text(), re.MULTILINE)
    return [(folder, module) for folder, text in rows for module in MODULE.findall(text) or [""]]


@pytest.mark.parametrize(("folder", "module"), parts())
def test_a_part_that_the_design_names_exists(folder: str, module: str) -> None:
    assert (ROOT / folder).is_dir()
    assert (
        not module or any((ROOT / folder).glob(f"{module}.*")) or (ROOT / folder / module).is_dir()
    )


def test_the_design_names_every_folder_of_the_bridge() -> None:
    folders = {name(each.parent) + "/" for each in (ROOT / "bridge").rglob("*.py")}
    assert folders <= {folder for folder, _ in parts()}
