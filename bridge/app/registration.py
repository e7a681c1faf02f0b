# SPDX-License-Identifier: GPL-3.0-or-later
"""The registration as a file for the homeserver."""

import yaml

from bridge.config import Config
from bridge.matrix.registration import people_registration, registration

HEAD = (
    "# Tells the homeserver about matrix-sip. Keep it secret: it contains both tokens.\n"
    "# Synapse: name this file under app_service_config_files, and restart.\n"
)
PEOPLE_HEAD = (
    "# Lets matrix-sip join rooms for the people of this homeserver. Keep it secret: who has the\n"
    "# token can act as anybody here. Synapse: name this file under app_service_config_files too.\n"
)


def registration_file(config: Config) -> str:
    """What `app_service_config_files` names; contains both tokens."""
    content = registration(config.homeserver, config.appservice, config.encryption)
    return HEAD + yaml.safe_dump(content, sort_keys=False)


def people_registration_file(config: Config) -> str:
    """The second file to name there, for `portals.auto_join`; contains its token."""
    content = people_registration(config.homeserver, config.appservice, config.portals)
    return PEOPLE_HEAD + yaml.safe_dump(content, sort_keys=False)
