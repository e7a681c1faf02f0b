# SPDX-License-Identifier: GPL-3.0-or-later
"""Media through a TURN server (coturn) by UDP, TCP and TLS, in a network of its own."""

import asyncio
import hmac
import re
import shutil
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha1
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from bridge.app.check_media import Reached
from bridge.call.events import MediaConnected
from bridge.call.ids import CallId, Side
from bridge.config import Config, Media, TurnServer
from bridge.errors import RemoteError
from bridge.media.embedded.engine import EmbeddedEngine
from bridge.media.embedded.ice_servers import named
from bridge.media.embedded.reach import relayed_at
from bridge.records import IceServer
from tests.media.desk import Desk
from tests.simulators.isolation import isolated
from tests.simulators.processes import Child
from tests.simulators.rtp import RtpPeer, Sender
from tests.simulators.waiting import PATIENCE, until
from tests.simulators.webrtc import Remote, WebRtcPeer
from tests.sip.certificates import Certificates

pytestmark = pytest.mark.e2e

PORT, TLS_PORT = 3478, 5349
HOST = "127.0.0.1"
NAME = "localhost"
"""That of its certificate."""
SECRET = "shared"
HERE, THERE = b"h" * 160, b"t" * 160


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """Loopback only."""
    with isolated():
        yield


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Those of the server, of an authority that nobody knows."""
    return Certificates.make(tmp_path, NAME)


@asynccontextmanager
async def turn_server(
    directory: Path, certificates: Certificates, *options: str
) -> AsyncIterator[Child]:
    """A TURN server at both ports; with `options`, it wants other credentials than usual."""
    binary = shutil.which("turnserver")
    if binary is None:
        pytest.fail("there is no turnserver; install it (Debian: apt-get install coturn)")
    server = await Child.start(
        "turn",
        [
            binary,
            "-n",
            "--no-dtls",
            "--no-cli",
            "--realm=turn.test",
            f"--cert={certificates.chain}",
            f"--pkey={certificates.key}",
            f"--listening-ip={HOST}",
            f"--relay-ip={HOST}",
            f"--listening-port={PORT}",
            f"--tls-listening-port={TLS_PORT}",
            "--allow-loopback-peers",
            "--verbose",
            "--log-file=stdout",
            f"--pidfile={directory / 'turn.pid'}",
            f"--userdb={directory / 'turn.db'}",
            *(options or ("--lt-cred-mech", "--user=bridge:secret")),
        ],
        log=directory / "turn.log",
    )
    await until(
        lambda: "SQLite DB connection success" in server.output(),
        what="the TURN server listens",
    )
    try:
        yield server
    finally:
        await server.stop()


def uri_of(transport: str) -> str:
    """How the server is written where it is to be reached by that transport."""
    if transport == "tls":
        return f"turns:{NAME}:{TLS_PORT}?transport=tcp"
    return f"turn:{HOST}:{PORT}?transport={transport}"


def lent(seconds: float) -> IceServer:
    """The server with user name and password for so long, as a homeserver makes them."""
    name = f"{int(time.time() + seconds)}:bridge"
    digest = hmac.new(SECRET.encode(), name.encode(), sha1).digest()
    return IceServer(url=uri_of("tls"), username=name, password=b64encode(digest).decode())


def engine_desk(servers: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An engine that has no address but what the servers lend it."""
    monkeypatch.setattr("bridge.media.embedded.legs.gathering_addresses", lambda listen: [])
    settings = Media.model_validate(
        {"listen": IPv4Address(HOST), "rtp_ports": (25000, 25999), "ice_servers": servers}
    )
    return Desk(lambda emit: EmbeddedEngine(settings, emit))


async def connect(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> None:
    """A call whose client can reach us at the server alone."""
    offered = await desk.offer(Side.MATRIX, await client.offer())
    phone.aim(offered.sdp)
    answer = await desk.answer(Side.SIP, phone.sdp())
    candidates = Remote.read(answer).candidates
    assert [line.split()[7] for line in candidates] == ["relay"]
    assert {int(line.split()[5]) for line in candidates}.isdisjoint(range(25000, 26000))
    await client.connect(answer)
    await desk.event(MediaConnected)


async def talk(client: Sender, phone: Sender, ends: tuple[WebRtcPeer, RtpPeer]) -> None:
    """Each hears what the other says, and nothing else."""
    browser, telephone = ends
    before, heard = len(telephone.received.packets), len(browser.received.packets)
    await browser.send(*client.packets([HERE] * 20))
    there = await telephone.received.reaches(before + 20)
    telephone.send(*phone.packets([THERE] * 20))
    here = await browser.received.reaches(heard + 20)
    assert {packet.payload for packet in there} == {HERE}
    assert {packet.payload for packet in here} == {THERE}


@pytest.mark.parametrize("by_homeserver", [False, True])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_call_that_can_only_be_relayed(
    client: WebRtcPeer,
    phone: RtpPeer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    certificates: Certificates,
    transport: str,
    by_homeserver: bool,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    server = {"url": uri_of(transport), "username": "bridge", "password": "secret"}
    async with turn_server(tmp_path, certificates) as turn:
        desk = engine_desk([] if by_homeserver else [server], monkeypatch)
        if by_homeserver:
            desk.engine.use_servers([IceServer(**server)])
        await connect(desk, client, phone)
        await talk(client.sender("PCMU"), Sender(0), (client, phone))
        statistics = await desk.hang_up()
        await desk.engine.close()
        await until(lambda: "usage" in turn.output(), what="the allocation was given back")
        closed = re.search(r"closed .*, local 127\.0\.0\.1:(\d+), .* reason: (.*)", turn.output())
    assert closed
    assert int(closed[1]) == (TLS_PORT if transport == "tls" else PORT)
    assert ("TCP connection" in closed[2]) == (transport != "udp")
    assert str(statistics["matrix_pair"]).startswith("relay ")
    assert statistics["matrix_packets_received"] == 20


@pytest.mark.patient
async def test_a_call_that_outlasts_allocation_nonce_and_password(
    client: WebRtcPeer,
    phone: RtpPeer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    certificates: Certificates,
) -> None:
    """Refreshed in time, by a new nonce. Who begins later needs what the homeserver says then.

    Takes the 3 seconds in which a server lets its shortest allocation be refreshed twice.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    short = ("--max-allocate-lifetime=2", "--stale-nonce=1")
    options = ("--use-auth-secret", f"--static-auth-secret={SECRET}", *short)
    async with turn_server(tmp_path, certificates, *options) as turn:
        desk = engine_desk([], monkeypatch)
        first = lent(1)
        desk.engine.use_servers([first])
        await connect(desk, client, phone)
        senders = client.sender("PCMU"), Sender(0)
        await talk(*senders, (client, phone))
        await until(
            lambda: len(re.findall("refreshed, .*lifetime=2", turn.output())) == 2,
            what="the allocation was refreshed",
        )
        assert "438: Stale nonce" in turn.output()
        await talk(*senders, (client, phone))
        with pytest.raises(RemoteError, match="401"):
            await relayed_at(named([first]).turn[0])
        desk.engine.use_servers([lent(60)])
        late = await desk.another(CallId("late")).offer(Side.SIP, phone.sdp())
        assert [line.split()[7] for line in Remote.read(late.sdp).candidates] == ["relay"]
        await desk.engine.close()


class _Greeting(asyncio.Protocol):
    """What a server says that is no TURN server, and has no TLS."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"220 mail.test\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


async def test_a_password_that_the_server_refuses_is_said_to_be(
    client: WebRtcPeer,
    tmp_path: Path,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = {"url": uri_of("udp"), "username": "bridge", "password": "wrong"}
    async with turn_server(tmp_path, certificates):
        desk = engine_desk([server], monkeypatch)
        with capture_logs() as logs:
            await desk.offer(Side.MATRIX, await client.offer())
        await desk.engine.close()
    assert [each["problem"] for each in logs if each["log_level"] == "warning"] == [
        "STUN transaction failed (401 - Unauthorized)"
    ]


async def test_what_check_finds_out_about_servers(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One start of the server for all of it."""
    config = Config(media=Media(listen=IPv4Address(HOST)))
    reached = Reached(config)

    def server(url: str, password: str = "secret") -> TurnServer:
        return TurnServer(url=url, username="bridge", password=SecretStr(password))

    async with turn_server(tmp_path, certificates):
        assert await reached.server(server(f"stun:{HOST}:{PORT}")) == f"sees us at {HOST}"
        with pytest.raises(RemoteError, match=r"gives no relay: .*401") as error:
            await reached.server(server(uri_of("udp"), "wrong"))
        assert "password" in error.value.remedy
        with pytest.raises(RemoteError, match=r"certificate is not trusted: .*issuer") as error:
            await reached.server(server(uri_of("tls")))
        assert "update-ca-certificates" in error.value.remedy
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        for transport in ("udp", "tcp", "tls"):
            told = await reached.server(server(uri_of(transport)))
            assert re.fullmatch(
                rf"{transport} relays at 127\.0\.0\.1:\d+, sees us at 127\.0\.0\.1", told
            )
        with pytest.raises(RemoteError, match=r"is not trusted: .*127\.0\.0\.1") as error:
            await reached.server(server(uri_of("tls").replace(NAME, HOST)))
        assert "name" in error.value.remedy
        wrong = _Greeting()
        loop = asyncio.get_running_loop()
        async with await loop.create_server(lambda: wrong, HOST) as listener:
            port = listener.sockets[0].getsockname()[1]
            with pytest.raises(RemoteError, match="no TLS"):
                await reached.server(server(f"turns:{NAME}:{port}"))
            await asyncio.wait_for(wrong.gone.wait(), PATIENCE)
    assert {str(each) for each in reached.seen} == {HOST}
    assert reached.public_address() == f"{HOST}, as STUN sees it"
