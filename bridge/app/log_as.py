# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging as the settings want it."""

from bridge import logs
from bridge.config import Config, secrets_of


def log_as(config: Config) -> None:
    """From now on; none of these settings' secrets is written."""
    logs.configure(
        config.logging.level,
        config.logging.format,
        full_numbers=config.logging.full_numbers,
        secrets=list(secrets_of(config)),
    )
