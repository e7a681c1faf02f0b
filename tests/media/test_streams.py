# SPDX-License-Identifier: GPL-3.0-or-later
"""What the settings and the far end's reports do to the audio that is made."""

import asyncio

import pytest

from bridge.media.embedded.ringback import Ringback
from bridge.media.embedded.rtp import HEADER, HEADER_SIZE, VERSION
from bridge.media.embedded.srtp import Outlet, Packet
from bridge.media.embedded.streams import Streams
from bridge.sdp.codecs import OPUS, PCMU
from tests.media.sound import agreed, tone
from tests.simulators.waiting import until


def made(bitrate: int, losing: int = 0) -> list[bytes]:
    """Opus for the client, of half a second of a telephone's sound that changes."""
    streams = Streams("cname", lambda: None, lambda *_: None, bitrate)
    payloads: list[bytes] = []

    def keep(packet: bytes | Packet) -> None:
        payloads.append(bytes(packet[HEADER_SIZE:]))

    streams.to_matrix.lead(Outlet(keep))
    streams.follow(agreed(OPUS, 111), agreed(PCMU, 0))
    streams.matrix_rtcp.far_end.losing = losing
    streams.tick(0.0)
    sound = [payload for hertz in (300, 500, 700, 900) for payload in tone("PCMU", hertz, 6)]
    for number, payload in enumerate(sound):
        header = HEADER.pack(VERSION, 0, number, number * 160, 1)
        streams.to_matrix.receive(memoryview(bytearray(header + payload)), number * 0.02)
    assert len(payloads) == len(sound)
    return payloads


def test_the_bit_rate_of_opus_is_that_of_the_settings() -> None:
    assert sum(map(len, made(12000))) < 0.7 * sum(map(len, made(32000)))


async def test_the_tone_of_ringing_has_that_bit_rate_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.media.embedded.ringback.FIRST", 0.0)

    async def rung(bitrate: int) -> int:
        streams = Streams("cname", lambda: None, lambda *_: None, bitrate)
        sizes: list[int] = []
        streams.to_sip.lead(Outlet(lambda packet: sizes.append(len(packet))))
        streams.follow(agreed(PCMU, 0), agreed(OPUS, 111))
        ringback = Ringback(streams.to_sip, streams.opus_bitrate)
        ringback.start(agreed(OPUS, 111))
        await until(lambda: len(sizes) >= 12, what="it rings", every=0.005)
        ringback.stop()
        return sum(sizes[2:12])

    few, many = await asyncio.gather(rung(8000), rung(64000))
    assert few < 0.7 * many


def test_redundancy_is_made_for_a_client_that_reports_loss() -> None:
    assert made(32000) == made(32000, losing=0) != made(32000, losing=10)
