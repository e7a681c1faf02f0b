# SPDX-License-Identifier: GPL-3.0-or-later
"""The Grafana dashboard of the documentation, put together from a line for each panel."""

import json
from dataclasses import dataclass
from typing import Any, Final

_PROMETHEUS: Final = {"type": "prometheus", "uid": "${source}"}
_COLUMNS: Final = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """What is drawn. `queries` are PromQL, each with the words that name its lines."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False


def _quantile(share: float, metric: str, by: str) -> str:
    rate = f"rate(matrix_sip_{metric}_bucket[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (le, {by}) ({rate}))"


def _rate(metric: str, by: str, only: str = "") -> str:
    return f"sum by ({by}) (rate(matrix_sip_{metric}_total{only}[$__rate_interval]))"


_DAY: Final = "sum by (outcome) (increase(matrix_sip_calls_total[24h])) > 0"
_WELL: Final = (
    'sum(increase(matrix_sip_calls_total{outcome=~"success|voicemail|caller|callee|policy"}[24h]))'
    " / sum(increase(matrix_sip_calls_total[24h]))"
)
PANELS: Final = (
    Panel("Active calls", (("sum(matrix_sip_calls_active)", ""),), kind="stat", width=4),
    Panel("No failure of ours, 24 h", ((_WELL, ""),), "percentunit", "stat", 4),
    Panel("Trunks", (("matrix_sip_trunk_up", "{{trunk}}"),), kind="stat", width=8),
    Panel("Calls of 24 h by outcome", ((_DAY, "{{outcome}}"),), kind="bargauge", width=8),
    Panel("Calls by direction", (("matrix_sip_calls_active", "{{direction}}"),), stacked=True),
    Panel("Ends by outcome", ((_rate("calls", "outcome"), "{{outcome}}"),), "cps", stacked=True),
    Panel(
        "Failures by cause",
        (
            (
                _rate("calls", "cause", '{outcome=~"trunk|homeserver|media|bridge"}'),
                "{{cause}}",
            ),
        ),
        "cps",
    ),
    Panel(
        "Until it rings, is picked up (median)",
        ((_quantile(0.5, "call_step_seconds", "direction, step"), "{{direction}} {{step}}"),),
        "s",
    ),
    Panel(
        "Until audio is there (95 %)",
        ((_quantile(0.95, "media_setup_seconds", "step"), "{{step}}"),),
        "s",
    ),
    Panel(
        "Calls that another trunk carried",
        ((_rate("calls_uncarried", "trunk"), "not by {{trunk}}"),),
        "cps",
    ),
    Panel(
        "Heard as (MOS): median and worst tenth",
        (
            (_quantile(0.5, "audio_mos", "side"), "from {{side}}"),
            (_quantile(0.1, "audio_mos", "side"), "from {{side}}, worst"),
        ),
    ),
    Panel(
        "Lost packets",
        (
            (
                f"{_rate('audio_packets_lost', 'side, where')} / on (side) group_left "
                f"{_rate('audio_packets', 'side')}",
                "from {{side}}, {{where}} the bridge",
            ),
        ),
        "percentunit",
    ),
    Panel(
        "Jitter and round trip (95 %)",
        (
            (_quantile(0.95, "audio_jitter_seconds", "side"), "jitter from {{side}}"),
            (_quantile(0.95, "audio_round_trip_seconds", "side"), "round trip to {{side}}"),
        ),
        "s",
    ),
    Panel(
        "Dropped packets by reason",
        ((_rate("packets_dropped", "side, reason"), "from {{side}}: {{reason}}"),),
        "pps",
    ),
    Panel("Silences by cause", ((_rate("silences", "side, cause"), "{{side}}: {{cause}}"),), "cps"),
    Panel("Strangers turned away", ((_rate("sip_refused", "reason"), "{{reason}}"),), "pps"),
    Panel(
        "Event loop late by",
        tuple(
            (
                f"histogram_quantile({share}, "
                "rate(matrix_sip_loop_lag_seconds_bucket[$__rate_interval]))",
                words,
            )
            for share, words in ((0.5, "median"), (0.99, "99 %"))
        ),
        "s",
    ),
    Panel(
        "What waits",
        (
            ("matrix_sip_writes_waiting", "writes to the database"),
            ("matrix_sip_events_waiting", "events to be read"),
            ("matrix_sip_sends_waiting", "events to be sent"),
            ("matrix_sip_sip_waiting", "for the SIP thread"),
        ),
    ),
    Panel(
        "Processors",
        (
            ("rate(process_cpu_seconds_total[$__rate_interval])", "signalling"),
            (_rate("media_cpu_seconds", "worker"), "audio {{worker}}"),
        ),
        "percentunit",
    ),
    Panel("Memory", (("process_resident_memory_bytes", "signalling"),), "bytes"),
    Panel(
        "People's own accounts",
        (
            ("matrix_sip_accounts", "all"),
            ("matrix_sip_accounts_registered", "registered"),
        ),
    ),
)


def dashboard() -> str:
    """The file that Grafana imports."""
    return json.dumps(_dashboard(), indent=1) + "\n"


def _dashboard() -> dict[str, Any]:
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "title": "matrix-sip",
        "uid": "matrix-sip",
        "description": "Calls, trunks, audio and load of a matrix-sip bridge.",
        "tags": ["matrix-sip"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [source]},
        "panels": _placed(),
    }


def _placed() -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = []
    x = y = 0
    for number, panel in enumerate(PANELS, 1):
        height = 4 if panel.kind != "timeseries" else 8
        if x + panel.width > _COLUMNS:
            x, y = 0, y + placed[-1]["gridPos"]["h"]
        position = {"x": x, "y": y, "w": panel.width, "h": height}
        placed.append(_drawn(panel, number, position))
        x += panel.width
    return placed


def _drawn(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind == "timeseries":
        mode = "normal" if panel.stacked else "none"
        defaults["custom"] = {
            "fillOpacity": 25 if panel.stacked else 5,
            "stacking": {"mode": mode},
        }
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "datasource": _PROMETHEUS,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _PROMETHEUS,
                "expr": query,
                "legendFormat": words or "__auto",
            }
            for index, (query, words) in enumerate(panel.queries)
        ],
    }
