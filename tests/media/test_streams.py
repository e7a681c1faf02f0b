# SPDX-License-Identifier: GPL-3.0-or-later
"""What the settings and the far end's reports do to the audio that is made."""

from bridge.media.embedded.rtp import HEADER, HEADER_SIZE, VERSION
from bridge.media.embedded.srtp import Packet
from bridge.media.embedded.streams import Streams
from bridge.sdp.agreement import LegMedia
from bridge.sdp.codecs import OPUS, PCMU, Codec
from bridge.sdp.description import MediaDirection
from tests.media.sound import tone


def leg(codec: Codec, kind: int) -> LegMedia:
    """A leg that agreed on a codec."""
    return LegMedia(
        codec=codec,
        payload_type=kind,
        receive={kind: codec},
        event=None,
        event_payload_type=None,
        ptime=20,
        parameters="useinbandfec=1",
        direction=MediaDirection.SENDRECV,
        address=("192.0.2.1", 4000),
        rtcp_address=("192.0.2.1", 4001),
        rtcp_mux=False,
    )


def made(bitrate: int, losing: int = 0) -> list[bytes]:
    """Opus for the client, of half a second of a telephone's sound that changes."""
    streams = Streams("cname", lambda: None, lambda *_: None, bitrate)
    payloads: list[bytes] = []

    def keep(packet: bytes | Packet) -> None:
        payloads.append(bytes(packet[HEADER_SIZE:]))

    streams.to_matrix.lead(keep)
    streams.follow(leg(OPUS, 111), leg(PCMU, 0))
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


def test_redundancy_is_made_for_a_client_that_reports_loss() -> None:
    assert made(32000) == made(32000, losing=0) != made(32000, losing=10)
