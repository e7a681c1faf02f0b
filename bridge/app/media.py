# SPDX-License-Identifier: GPL-3.0-or-later
"""Which media engine the settings ask for, and what there is to see of it."""

import contextlib
from collections.abc import Callable
from ipaddress import IPv6Address

from bridge.config import Config, Media
from bridge.media.garbage import Pauses
from bridge.media.workers.engine import WorkerEngine, workers_for
from bridge.media.workers.template import Template
from bridge.ports import Emit, MediaEngine
from bridge.web.metrics import Metrics


def launch_template(config: Config) -> Template | None:
    """Begin to load what workers need, if there will be any: it takes as long as the rest does."""
    if not workers_for(config.media):
        return None
    template = Template()
    with contextlib.suppress(OSError):  # The engine will find out, and tell.
        template.launch()
    return template


def open_media(
    config: Config, template: Template | None, emit: Emit, metrics: Metrics
) -> MediaEngine:
    """The engine, to be started. Raises ConfigurationError."""
    settings = media_settings(config)
    if template is not None:
        workers = workers_for(settings)
        engine = WorkerEngine(settings, config.logging, emit, workers=workers, template=template)
        _watch(engine, metrics)
        return engine
    # Imported here, as it takes a second and 50 MB, which workers have spent already.
    from bridge.media.embedded.engine import EmbeddedEngine

    pauses = Pauses()
    pauses.watch()
    _watch_pauses(metrics, lambda: pauses.longest)
    return EmbeddedEngine(settings, emit)


def media_settings(config: Config) -> Media:
    """Where nothing is said about it, audio goes the way that SIP does: by IPv6 if that is all."""
    media = config.media
    if media.listen or any(each.listen.version == 4 for each in config.sip.transports):
        return media
    return media.model_copy(update={"listen": IPv6Address("::")})


def _watch(engine: WorkerEngine, metrics: Metrics) -> None:
    metrics.watch("media_workers", "Processes that carry audio.", lambda: float(len(engine.pids)))
    metrics.watch_counts(
        "media_workers_lost", "Processes that carried audio and died.", "worker", engine.losses
    )
    metrics.watch_counts(
        "media_cpu_seconds", "CPU that the processes for audio have used.", "worker", engine.cpu
    )
    _watch_pauses(metrics, lambda: engine.longest_pause)


def _watch_pauses(metrics: Metrics, longest: Callable[[], float]) -> None:
    metrics.watch(
        "media_longest_pause_seconds",
        "For how long the garbage collector has held audio up, at most.",
        longest,
    )
