# SPDX-License-Identifier: GPL-3.0-or-later
"""What the metrics show of parts that keep their own numbers."""

import asyncio
from collections.abc import Callable, Sequence

from bridge.app.accounts import PersonalAccounts
from bridge.app.in_force import InForce
from bridge.app.load import Load
from bridge.app.reload import Reload
from bridge.app.voicemails import Voicemails
from bridge.call.ids import TrunkName
from bridge.driver import Driver
from bridge.matrix.adapter import MatrixAdapter
from bridge.sip.adapter import SipAdapter
from bridge.sip.trunks import Registration, RegistrationState
from bridge.store.writer import Writer
from bridge.web.metrics import Metrics


def trunks_of(sip: SipAdapter, in_force: InForce) -> dict[str, Registration]:
    """How the trunks of the configuration stand; people's own accounts are theirs to look after."""
    known = sip.registrations()
    names = [name for name in in_force.config.trunks if name in known]
    return {name: known[TrunkName(name)] for name in names}


def watch_lines(
    metrics: Metrics, sip: SipAdapter, in_force: InForce, accounts: PersonalAccounts
) -> None:
    """Trunks, accounts, and who was turned away."""
    metrics.watch_trunks(
        lambda: {name: each.usable for name, each in trunks_of(sip, in_force).items()}
    )
    metrics.watch_states(
        "trunk_state",
        "How the registration of a trunk stands, or what its probes say.",
        "trunk",
        [each.value for each in RegistrationState],
        lambda: {name: each.state.value for name, each in trunks_of(sip, in_force).items()},
    )
    metrics.watch("accounts", "People's own SIP accounts.", lambda: float(accounts.total))
    metrics.watch(
        "accounts_registered",
        "Those of them that are registered.",
        lambda: float(accounts.working),
    )
    metrics.watch_counts(
        "sip_refused",
        "SIP messages turned away, by the reason.",
        "reason",
        lambda: sip.refused,
    )
    metrics.watch_counts(
        "calls_refused",
        "Calls that SIP refused before the rest of the bridge heard of them, by cause.",
        "cause",
        lambda: sip.refused_calls,
    )


def watch_life(metrics: Metrics, draining: Callable[[], bool], reload: Reload) -> None:
    """Whether the bridge is about to stop, and how often its settings were read anew."""
    metrics.watch_counts(
        "reloads",
        "Times that the settings were read anew, by what came of it.",
        "outcome",
        lambda: reload.counts,
    )
    metrics.watch(
        "draining",
        "Whether the bridge only waits for calls to end, before it stops.",
        lambda: float(draining()),
    )


def watch_voicemail(metrics: Metrics, voicemails: Voicemails) -> None:
    """Messages on their way."""
    metrics.watch(
        "voicemails_waiting",
        "Voice messages that callers leave, or that wait to be posted.",
        lambda: voicemails.waiting,
    )


def busy(driver: Driver, load: Load, metrics: Metrics, writer: Writer) -> Sequence[tuple[str, str]]:
    """Names and values of what has work to do, for the admin page."""
    return [
        ("calls", str(driver.active)),
        ("processor", f"{load.share:.0%}"),
        ("processes for audio", f"{metrics.total('media_workers'):.0f}"),
        ("their processor", f"{load.audio_share:.0%}"),
        ("event loop late by", f"{load.lag * 1000:.1f} ms"),
        ("writes that wait", str(writer.waiting)),
    ]


def watch_queues(metrics: Metrics, matrix: MatrixAdapter, sip: SipAdapter, writer: Writer) -> None:
    """What waits."""
    for name, meaning, waiting in (
        ("writes_waiting", "Writes that wait for the database.", lambda: writer.waiting),
        ("events_waiting", "Matrix events that wait to be read.", lambda: matrix.waiting[0]),
        ("sends_waiting", "Matrix events that wait to be sent.", lambda: matrix.waiting[1]),
        ("sip_waiting", "What waits for the SIP thread.", lambda: sip.waiting),
        ("tasks", "Tasks of the event loop.", lambda: len(asyncio.all_tasks())),
    ):
        metrics.watch(name, meaning, waiting)
