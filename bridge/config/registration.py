# SPDX-License-Identifier: GPL-3.0-or-later
"""The registration that tells the homeserver about the bridge."""

import re
from typing import Any

import yaml

from bridge.config.models import Config

PROTOCOLS = (
    "m.protocol.pstn",
    "im.vector.protocol.pstn",
    "m.protocol.sip_native",
    "im.vector.protocol.sip_native",
    "m.protocol.sip_virtual",
    "im.vector.protocol.sip_virtual",
)
"""Third-party protocols that clients ask for: their dial pads and number look-ups (MSC2746)."""


def registration(config: Config) -> dict[str, Any]:
    """The registration's content.

    https://spec.matrix.org/v1.15/application-service-api/#registration
    """
    service = config.appservice
    domain = re.escape(config.homeserver.domain)
    names = [re.escape(service.bot_localpart), re.escape(service.ghost_prefix) + ".*"]
    return {
        "id": service.id,
        "url": service.address,
        "as_token": service.as_token.get_secret_value(),
        "hs_token": service.hs_token.get_secret_value(),
        "sender_localpart": service.bot_localpart,
        "rate_limited": False,
        "namespaces": {
            "users": [{"exclusive": True, "regex": f"^@{name}:{domain}$"} for name in names],
            "aliases": [],
            "rooms": [],
        },
        "protocols": list(PROTOCOLS),
        "receive_ephemeral": True,
    }


def registration_yaml(config: Config) -> str:
    """The registration as a file for the homeserver; it contains both tokens."""
    head = (
        "# Tells the homeserver about matrix-sip. Keep it secret: it contains both tokens.\n"
        "# Synapse: name this file under app_service_config_files and restart.\n"
    )
    return head + yaml.safe_dump(registration(config), sort_keys=False)
