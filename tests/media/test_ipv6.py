# SPDX-License-Identifier: GPL-3.0-or-later
"""Audio by IPv6, on one side or on both."""

from ipaddress import IPv6Address

import pytest

from bridge.config import Media
from bridge.media.embedded.engine import EmbeddedEngine
from tests.media.desk import Desk
from tests.media.sound import heard, tone
from tests.simulators.rtp import PAYLOAD_TYPES, RtpPeer, Sender
from tests.simulators.webrtc import WebRtcPeer

HERE = "::1"


async def talk(client: WebRtcPeer, phone: RtpPeer) -> None:
    to_phone, to_client = tone("PCMU", 440), tone("PCMU", 1000)
    await client.send(*client.sender("PCMU").packets(to_phone), extended=True)
    at_phone = await phone.received.reaches(50)
    assert heard("PCMU", (packet.payload for packet in at_phone)).is_near(440)
    assert {packet.source[0] for packet in at_phone} == {HERE}
    phone.send(*Sender(PAYLOAD_TYPES["PCMU"], 160).packets(to_client))
    at_client = await client.received.reaches(50)
    assert heard("PCMU", (packet.payload for packet in at_client)).is_near(1000)


@pytest.mark.parametrize("client_host", ["127.0.0.1", HERE])
async def test_a_phone_that_calls_by_ipv6(client_host: str) -> None:
    listen = IPv6Address(HERE) if client_host == HERE else None
    settings = Media(listen=listen, rtp_ports=(21000, 21999))
    desk, client, phone = (
        Desk(lambda emit: EmbeddedEngine(settings, emit)),
        WebRtcPeer(client_host),
        RtpPeer(HERE),
    )
    await desk.phone_calls(client, phone)
    assert phone.target
    assert phone.target[0] == HERE
    await talk(client, phone)
    await desk.hang_up()
    await desk.engine.close()
    await client.close()
    phone.close()


async def test_a_phone_that_is_called_by_ipv6() -> None:
    settings = Media(listen=IPv6Address(HERE), rtp_ports=(21000, 21999))
    desk, client, phone = (
        Desk(lambda emit: EmbeddedEngine(settings, emit)),
        WebRtcPeer(HERE),
        RtpPeer(HERE),
    )
    await desk.client_calls(client, phone)
    assert phone.target
    assert phone.target[0] == HERE
    await talk(client, phone)
    await desk.hang_up()
    await desk.engine.close()
    await client.close()
    phone.close()
