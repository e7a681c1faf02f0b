# SPDX-License-Identifier: GPL-3.0-or-later
"""The registration: the document by which a homeserver knows the bridge."""

import hashlib
import re
from typing import Any, Final

from bridge.config import AppService, Encryption, EncryptionMode, Homeserver, Portals
from bridge.errors import ConfigurationError
from bridge.matrix.lookups import PROTOCOLS

_ENCRYPTION: Final = {
    # What is for the devices of ghosts comes with the transactions (MSC2409; the second name is
    # that of older homeservers), with counts of keys (MSC3202). Ghosts have devices (MSC4190).
    "receive_ephemeral": True,
    "de.sorunome.msc2409.push_ephemeral": True,
    "org.matrix.msc3202": True,
    "io.element.msc4190": True,
}


def registration(
    homeserver: Homeserver, appservice: AppService, encryption: Encryption
) -> dict[str, Any]:
    """What the homeserver's `app_service_config_files` wants (Application Service API).

    Contains the tokens. Raises `ConfigurationError` where the bot would be taken for a ghost.
    """
    if appservice.bot_localpart.startswith(appservice.ghost_prefix):
        raise ConfigurationError(
            f"appservice.bot_localpart ({appservice.bot_localpart}) starts with"
            f" appservice.ghost_prefix ({appservice.ghost_prefix})",
            remedy="Choose a name for the bot that no ghost could have.",
        )
    prefix, domain = re.escape(appservice.ghost_prefix), re.escape(homeserver.domain)
    return {
        "id": appservice.id,
        "url": appservice.address,
        "as_token": appservice.as_token.get_secret_value(),
        "hs_token": appservice.hs_token.get_secret_value(),
        "sender_localpart": appservice.bot_localpart,
        "rate_limited": False,
        "protocols": [*PROTOCOLS],
        **({} if encryption.mode is EncryptionMode.OFF else _ENCRYPTION),
        "namespaces": {
            "users": [{"exclusive": True, "regex": f"@{prefix}.*:{domain}"}],
            "aliases": [],
            "rooms": [],
        },
    }


def people_registration(
    homeserver: Homeserver, appservice: AppService, portals: Portals
) -> dict[str, Any]:
    """The registration by whose token the bridge acts for people.

    Without a URL the homeserver sends nothing for it; in the first registration, a namespace of
    everybody would bring the bridge every event of every room.
    """
    token = portals.people_token.get_secret_value()
    if not token:
        raise ConfigurationError(
            "portals.people_token is empty",
            remedy="Set it to a long random string, and portals.auto_join to as_token.",
        )
    return {
        "id": f"{appservice.id}-people",
        "url": None,
        "as_token": token,
        # Nobody ever shows this one, as there is no URL to show it at.
        "hs_token": hashlib.sha256(f"{token} is never used".encode()).hexdigest(),
        "sender_localpart": f"{appservice.bot_localpart}-people",
        "rate_limited": False,
        "namespaces": {
            "users": [{"exclusive": False, "regex": f"@.*:{re.escape(homeserver.domain)}"}],
            "aliases": [],
            "rooms": [],
        },
    }
