# SPDX-License-Identifier: GPL-3.0-or-later
"""The document that the homeserver loads."""

import re

import pytest
from pydantic import SecretStr

from bridge import config
from bridge.errors import ConfigurationError
from bridge.matrix.registration import registration

HOMESERVER = config.Homeserver(domain="example.org")
OFF = config.Encryption(mode=config.EncryptionMode.OFF)
APPSERVICE = config.AppService(as_token=SecretStr("as"), hs_token=SecretStr("hs"))


def test_it_says_who_we_are_and_whose_users_are_ours() -> None:
    document = registration(HOMESERVER, APPSERVICE, OFF)
    [users] = document.pop("namespaces")["users"]
    assert document == {
        "id": "matrix-sip",
        "url": "http://127.0.0.1:29330",
        "as_token": "as",
        "hs_token": "hs",
        "sender_localpart": "sipbot",
        "rate_limited": False,
        "protocols": ["m.protocol.pstn", "im.vector.protocol.pstn"],
    }
    assert users["exclusive"] is True
    assert re.fullmatch(users["regex"], "@sip_12025550123:example.org")
    assert not re.match(users["regex"], "@sip_12025550123:example-org")
    assert not re.match(users["regex"], "@sipbot:example.org")


def test_the_bot_must_not_look_like_a_ghost() -> None:
    appservice = APPSERVICE.model_copy(update={"bot_localpart": "sip_bot"})
    with pytest.raises(ConfigurationError, match="bot_localpart") as caught:
        registration(HOMESERVER, appservice, OFF)
    assert caught.value.remedy


@pytest.mark.parametrize("mode", ["allow", "default", "require"])
def test_with_encryption_keys_come_with_transactions(mode: str) -> None:
    encryption = config.Encryption(mode=config.EncryptionMode(mode))
    document = registration(HOMESERVER, APPSERVICE, encryption)
    for key in (
        "receive_ephemeral",
        "de.sorunome.msc2409.push_ephemeral",
        "org.matrix.msc3202",
        "io.element.msc4190",
    ):
        assert document[key] is True
        assert key not in registration(HOMESERVER, APPSERVICE, OFF)
