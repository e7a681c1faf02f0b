# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of voicemail."""

from collections.abc import Iterator

from bridge.config.models import Config
from bridge.config.problems import Finding


def check(config: Config) -> Iterator[Finding]:
    """A mailbox that never answers, or has no place."""
    settings, ring_time = config.voicemail, config.limits.ring_time
    if not settings.enabled:
        return
    if settings.delay >= ring_time:
        yield (
            ("voicemail", "delay"),
            f"{settings.delay:g} is not less than limits.ring_time ({ring_time:g}), when a call is "
            "over; wanted: less",
        )
    if settings.folder is None:
        yield (
            ("voicemail", "folder"),
            "is empty, and the database is no file beside which one could be; wanted: a folder",
        )
