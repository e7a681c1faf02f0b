# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation: what it links to and names exists, and its settings are accepted."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from bridge.app import history
from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId
from bridge.config import InvalidConfig, parse
from bridge.config.template import fresh_tokens
from bridge.media.embedded import streams
from bridge.media.embedded.video import streams as video_streams
from bridge.records import CallRecord, LadderEntry

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
FOREIGN_KEYS = {
    *("app_service_config_files", "auto_accept_invites", "experimental_features"),
    "scrape_configs",
}
"""Of snippets that are for Synapse, and for Prometheus."""


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
            if not FOREIGN_KEYS & set(content):
                yield pytest.param(content, id=f"{page.stem}-{number}")


@pytest.mark.parametrize("settings", [*snippets()])
def test_settings_are_accepted(settings: dict[str, Any], tmp_path: Path) -> None:
    minimal = {
        "appservice": fresh_tokens(),
        "permissions": {"example.org": "call"},
    }
    key = {"MATRIX_SIP_DATABASE__SECRET_KEY": "what nobody could ever guess"}
    parse(yaml.safe_dump(minimal | settings), key, directory=tmp_path)


def test_a_setting_that_does_not_exist_would_be_noticed(tmp_path: Path) -> None:
    settings = {"appservice": fresh_tokens(), "media": {"no_such_key": 1}}
    with pytest.raises(InvalidConfig):
        parse(yaml.safe_dump(settings), directory=tmp_path)


def example(command: str) -> list[str]:
    """What the page on failed calls shows as a command's output."""
    page = (ROOT / "docs/how-to/read-a-failed-call.md").read_text()
    shown = re.search(rf"^\$ {command}.*\n((?:.+\n)*?)```$", page, re.MULTILINE)
    assert shown
    return shown[1].splitlines()


def record(number: int, cause: str, by: str, **more: Any) -> CallRecord:
    started = datetime.fromisoformat(f"2026-03-01 10:{more.pop('at')}").timestamp()
    talked = more.pop("talked", None)
    ended = {"answered_at": started, "ended_at": started + talked} if talked is not None else {}
    known: dict[str, Any] = {
        "direction": Direction.TO_SIP,
        "address": Address("tel:+12025550123"),
        "ended_at": started,
    }
    return CallRecord(
        call=CallId(f"5f3c9a12-{number}"),
        person=UserId("@alice:example.org"),
        trunk=TrunkName("provider"),
        started_at=started,
        cause=cause,
        ended_by=by,
        **known | ended | more,
    )


BUSY = record(7, "busy", "sip", at="12:40", status=486, statistics={"matrix_packets_received": 0})
HEARD = record(
    6,
    "normal",
    "sip",
    at="09:02",
    talked=65,
    direction=Direction.TO_MATRIX,
    address=Address("tel:+12025550144"),
)
SILENT = record(5, "ice_failed", "media", at="02:11", talked=0)


def test_calls_prints_what_is_shown() -> None:
    console = Console(width=200)
    with console.capture() as printed:
        console.print(history.table([BUSY, HEARD, SILENT]))
    assert [line.rstrip() for line in printed.get().splitlines()] == example("matrix-sip calls")


def test_ladder_prints_what_is_shown() -> None:
    shown = example("matrix-sip ladder")
    assert shown.pop().strip() == "…"
    rungs = re.findall(r"^ +(\d+) ms  (\w+) +([→←]?) +(.*)$", "\n".join(shown), re.MULTILINE)
    ways = {"→": "in", "←": "out", "": ""}
    entries = [
        LadderEntry(
            at=BUSY.started_at + int(passed) / 1000, leg=leg, direction=ways[arrow], summary=summary
        )
        for passed, leg, arrow, summary in rungs
    ]
    assert {entry.leg for entry in entries} == {"bridge", "matrix", "media", "sip"}
    assert [line.plain for line in history.ladder(BUSY, entries, full=False)] == shown


def statistics_in(text: str) -> set[str]:
    return set(re.findall(r"`(mode|[A-Za-z]+_\w+)`", text))


def test_every_statistic_of_video_is_explained() -> None:
    _, _, text = (ROOT / "docs/reference/statistics.md").read_text().partition("\n## Video")
    explained = statistics_in(text.partition("\n## ")[0])
    assert explained == statistics_in(video_streams.__doc__ or "")


def test_every_statistic_is_explained() -> None:
    text, _, _ = (ROOT / "docs/reference/statistics.md").read_text().partition("\n## ")
    explained = statistics_in(text)
    assert explained == statistics_in(streams.__doc__ or "")

    measured = streams.Streams("cname", lambda: None, lambda *_: None).statistics(0.0)
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
