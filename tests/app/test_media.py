# SPDX-License-Identifier: GPL-3.0-or-later
"""Which media engine the settings ask for."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from bridge.app.media import media_settings
from bridge.config import Config, Media, Sip, SipTransport

FOUR = SipTransport(listen=IPv4Address("0.0.0.0"))
SIX = SipTransport(listen=IPv6Address("::"))


@pytest.mark.parametrize(
    ("listeners", "media", "listen"),
    [
        ((FOUR,), Media(), None),
        ((FOUR, SIX), Media(), None),
        ((SIX,), Media(), IPv6Address("::")),
        ((SIX,), Media(listen=IPv4Address("192.0.2.1")), IPv4Address("192.0.2.1")),
    ],
)
def test_audio_goes_by_ipv6_where_sip_has_nothing_else(
    listeners: tuple[SipTransport, ...], media: Media, listen: IPv4Address | IPv6Address | None
) -> None:
    config = Config(sip=Sip(transports=listeners), media=media)
    assert media_settings(config).listen == listen
