# SPDX-License-Identifier: GPL-3.0-or-later
"""Media through a TURN server (coturn), in a network of its own."""

import shutil
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bridge.call.events import MediaConnected
from bridge.call.ids import Side
from bridge.config import Media
from bridge.media.embedded.engine import EmbeddedEngine
from bridge.ports import IceServer
from tests.media.desk import Desk
from tests.simulators.isolation import isolated
from tests.simulators.processes import Child
from tests.simulators.rtp import RtpPeer, Sender
from tests.simulators.waiting import until
from tests.simulators.webrtc import Remote, WebRtcPeer

pytestmark = pytest.mark.e2e

PORT = 3478


@pytest.fixture
def network() -> Iterator[None]:
    """Loopback only."""
    with isolated():
        yield


@pytest.fixture
async def turn(network: None, tmp_path: Path) -> AsyncIterator[str]:
    """A TURN server; its URI."""
    binary = shutil.which("turnserver")
    if binary is None:
        pytest.fail("there is no turnserver; install it (Debian: apt-get install coturn)")
    server = await Child.start(
        "turn",
        [
            binary,
            "-n",
            "--no-tls",
            "--no-dtls",
            "--no-cli",
            "--lt-cred-mech",
            "--user=bridge:secret",
            "--realm=turn.test",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            f"--listening-port={PORT}",
            "--allow-loopback-peers",
            "--log-file=stdout",
            f"--pidfile={tmp_path / 'turn.pid'}",
            f"--userdb={tmp_path / 'turn.db'}",
        ],
        log=tmp_path / "turn.log",
    )
    await until(
        lambda: "SQLite DB connection success" in server.output(),
        what="the TURN server listens",
    )
    yield f"turn:127.0.0.1:{PORT}"
    await server.stop()


@pytest.mark.parametrize("by_homeserver", [False, True])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_call_that_can_only_be_relayed(
    turn: str,
    client: WebRtcPeer,
    phone: RtpPeer,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
    by_homeserver: bool,
) -> None:
    monkeypatch.setattr("bridge.media.embedded.session.gathering_addresses", lambda listen: [])
    uri = f"{turn}?transport={transport}"
    server = {"url": uri, "username": "bridge", "password": "secret"}
    settings = Media.model_validate(
        {
            "listen": IPv4Address("127.0.0.1"),
            "rtp_ports": (25000, 25999),
            "ice_servers": [] if by_homeserver else [server],
        }
    )
    desk = Desk(lambda emit: EmbeddedEngine(settings, emit))
    if by_homeserver:
        desk.engine.use_servers([IceServer(**server)])
    offered = await desk.offer(Side.MATRIX, await client.offer())
    phone.aim(offered.sdp)
    answer = await desk.answer(Side.SIP, phone.sdp())
    assert [line.split()[7] for line in Remote.read(answer).candidates] == ["relay"]
    await client.connect(answer)
    await desk.event(MediaConnected)
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 20))
    await phone.received.reaches(20)
    phone.send(*Sender(0).packets([b"p" * 160] * 20))
    await client.received.reaches(20)
    statistics = await desk.hang_up()
    assert str(statistics["matrix_pair"]).startswith("relay ")
    assert statistics["matrix_packets_received"] == 20
    await desk.engine.close()
