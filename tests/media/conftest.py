# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines, clients and phones on loopback, closed after each test."""

from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address

import pytest

from bridge.config import Media
from bridge.media.embedded.engine import EmbeddedEngine
from bridge.media.embedded.path import Path as AudioPath
from bridge.media.embedded.srtp import Packet
from tests.media.desk import Desk
from tests.media.page import Page
from tests.simulators.audio import sine, write_wav
from tests.simulators.isolation import isolated
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


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each packet that a path of audio has seen."""
    seen: list[int] = []
    receive = AudioPath.receive

    def count(path: AudioPath, packet: Packet, now: float) -> None:
        seen.append(len(seen))
        receive(path, packet, now)

    monkeypatch.setattr(AudioPath, "receive", count)
    return seen


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    """Loopback only."""
    with isolated():
        yield


@pytest.fixture(scope="module")
def only_page(network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Chromium with a microphone that hears 440 Hz."""
    microphone = tmp_path_factory.mktemp("chromium") / "microphone.wav"
    write_wav(microphone, sine(440, 10, 48000), 48000)
    page = Page(microphone)
    yield page
    page.close()


@pytest.fixture
async def page(only_page: Page) -> Page:
    """A page as new."""
    await only_page.renew()
    return only_page
