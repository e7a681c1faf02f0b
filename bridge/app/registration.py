# SPDX-License-Identifier: GPL-3.0-or-later
"""The registration as a file for the homeserver."""

import yaml

from bridge.config import Config
from bridge.matrix.registration import registration

HEAD = (
    "# Tells the homeserver about matrix-sip. Keep it secret: it contains both tokens.\n"
    "# Synapse: name this file under app_service_config_files, and restart.\n"
)


def registration_file(config: Config) -> str:
    """What `app_service_config_files` names; contains both tokens."""
    content = registration(config.homeserver, config.appservice)
    return HEAD + yaml.safe_dump(content, sort_keys=False)
