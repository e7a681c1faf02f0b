# SPDX-License-Identifier: GPL-3.0-or-later
"""Session descriptions as other software writes them, and our ends of a call."""

from dataclasses import replace
from pathlib import Path

from bridge.sdp.description import Fingerprint, MediaDirection, SessionDescription
from bridge.sdp.ends import LocalRtp, LocalWebRtc
from bridge.sdp.parser import parse

FIXTURES = Path(__file__).parent / "fixtures"

LOCAL_RTP = LocalRtp(session_id=1001, address="192.0.2.1", port=30000)
LOCAL_WEBRTC = LocalWebRtc(
    session_id=1002,
    address="192.0.2.1",
    port=40000,
    ice_ufrag="Gr8t",
    ice_pwd="c2VjcmV0IGljZSBwYXNzd29yZA",
    candidates=(
        "1 1 udp 2130706431 192.0.2.1 40000 typ host",
        "2 1 udp 1694498815 203.0.113.1 40000 typ srflx raddr 192.0.2.1 rport 40000",
    ),
    fingerprints=(Fingerprint("sha-256", "AB:CD:EF"),),
    ssrc=3735928559,
    cname="bridge",
    stream_id="stream",
    track_id="track",
)


def text(name: str) -> str:
    """A recorded or typical session description."""
    return (FIXTURES / f"{name}.sdp").read_bytes().decode()


def names() -> list[str]:
    """All of them."""
    return sorted(path.stem for path in FIXTURES.glob("*.sdp"))


def load(name: str) -> SessionDescription:
    """One of them, parsed."""
    return parse(text(name))


def plain(formats: str = "8 101", *lines: str, port: int = 4000) -> SessionDescription:
    """A short description of a SIP peer."""
    return parse(
        "\r\n".join(
            (
                "v=0",
                "o=- 1 1 IN IP4 198.51.100.9",
                "s=-",
                "c=IN IP4 198.51.100.9",
                "t=0 0",
                f"m=audio {port} RTP/AVP {formats}",
                "a=rtpmap:101 telephone-event/8000",
                *lines,
            )
        )
    )


def directed(description: SessionDescription, direction: MediaDirection) -> SessionDescription:
    """The same with another direction in its first section."""
    first, *others = description.media
    return replace(description, media=(replace(first, direction=direction), *others))
