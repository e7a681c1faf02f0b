# SPDX-License-Identifier: GPL-3.0-or-later
"""Media through a TURN server (coturn), in a network of its own."""

import re
import shutil
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pydantic import SecretStr

from bridge.app.check_media import Reached
from bridge.call.events import MediaConnected
from bridge.call.ids import Side
from bridge.config import Config, Media, TurnServer
from bridge.errors import RemoteError
from bridge.media.embedded.engine import EmbeddedEngine
from bridge.records import IceServer
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
    monkeypatch.setattr("bridge.media.embedded.legs.gathering_addresses", lambda listen: [])
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


async def test_what_check_finds_out_about_servers(turn: str) -> None:
    """One start of the server for all of it."""
    config = Config(media=Media(listen=IPv4Address("127.0.0.1")))
    reached = Reached(config)

    def server(url: str, password: str = "secret") -> TurnServer:
        return TurnServer(url=url, username="bridge", password=SecretStr(password))

    stun = turn.replace("turn:", "stun:")
    assert await reached.server(server(stun)) == "sees us at 127.0.0.1"
    for transport in ("udp", "tcp"):
        told = await reached.server(server(f"{turn}?transport={transport}"))
        assert re.fullmatch(
            rf"{transport} relays at 127\.0\.0\.1:\d+, sees us at 127\.0\.0\.1", told
        )
    with pytest.raises(RemoteError, match=r"gives no relay: .*401") as error:
        await reached.server(server(turn, "wrong"))
    assert "password" in error.value.remedy
    assert {str(each) for each in reached.seen} == {"127.0.0.1"}
    assert reached.public_address() == "127.0.0.1, as STUN sees it"
