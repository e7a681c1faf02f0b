# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines, clients and phones on loopback, closed after each test."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from bridge.config import Media
from bridge.media.embedded.engine import EmbeddedEngine
from tests.media.desk import Desk
from tests.simulators.rtp import RtpPeer
from tests.simulators.webrtc import WebRtcPeer

SETTINGS = Media(listen=IPv4Address("127.0.0.1"), rtp_ports=(21000, 21999))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """An embedded engine on loopback."""
    desk = Desk(lambda emit: EmbeddedEngine(SETTINGS, emit))
    yield desk
    await desk.engine.close()


@pytest.fixture
async def client() -> AsyncIterator[WebRtcPeer]:
    """A Matrix client's media."""
    peer = WebRtcPeer()
    yield peer
    await peer.close()


@pytest.fixture
async def phone() -> AsyncIterator[RtpPeer]:
    """A phone's media."""
    peer = RtpPeer()
    yield peer
    peer.close()
