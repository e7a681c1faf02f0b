# SPDX-License-Identifier: GPL-3.0-or-later
"""What is given to Prometheus and Grafana names metrics and labels that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from bridge.call.causes import Cause
from bridge.call.outcomes import Outcome
from bridge.web.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
PROMETHEUS = ROOT / "docs/how-to/prometheus"
REFERENCE = (ROOT / "docs/reference/metrics.md").read_text()
WATCHED = re.compile(r'watch\w*\(\s*"([a-z_]+)"|^ +\("([a-z_]+)", "', re.MULTILINE)
"""Given to `Metrics.watch` and its like, at once or by a table."""
NAMED = re.compile(r"matrix_sip_([a-z_]+)")


def metrics() -> set[str]:
    """Every name, as Prometheus stores it, without what histograms add."""
    own = {
        family.name.removeprefix("matrix_sip_") + {"counter": "_total"}.get(family.type, "")
        for family in Metrics().registry.collect()
        if family.name.startswith("matrix_sip_")
    }
    for name in ("service", "watched", "media"):
        source = (ROOT / f"bridge/app/{name}.py").read_text()
        for found in WATCHED.finditer(source):
            counts = "watch_counts" in found[0]
            own.add((found[1] or found[2]) + ("_total" if counts else ""))
    return {name.replace("build", "build_info") for name in own} | {"trunk_up"}


def expressions() -> Iterator[str]:
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    panels = json.loads((PROMETHEUS / "dashboard.json").read_text())["panels"]
    yield from (target["expr"] for panel in panels for target in panel["targets"])


def test_every_name_that_is_asked_for_exists() -> None:
    known = metrics()
    for expression in expressions():
        for name in NAMED.findall(expression):
            assert name.removesuffix("_bucket") in known, expression


def test_the_reference_has_every_metric_and_no_other() -> None:
    table = REFERENCE.partition("## Outcomes")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert described == metrics()
    for outcome in Outcome:
        assert f"| `{outcome.value}` |" in REFERENCE


def test_what_is_picked_out_of_outcomes_and_causes_is_one() -> None:
    for expression in expressions():
        for label, kind in (("outcome", Outcome), ("cause", Cause)):
            for picked in re.findall(rf'calls_total{{{label}=~?"([^"]+)"}}', expression):
                for value in picked.split("|"):
                    kind(value)


def test_brackets_match() -> None:
    for expression in expressions():
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing), expression


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((PROMETHEUS / "dashboard.json").read_text())["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, panel["title"]
                assert x < 24
                taken.add((x, y))
