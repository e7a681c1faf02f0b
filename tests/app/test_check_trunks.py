# SPDX-License-Identifier: GPL-3.0-or-later
"""`check` asks trunks: a registration, OPTIONS, and the certificates that their servers show."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from bridge.app.check_network import trunk_tls
from bridge.app.check_trunks import Tries, judge
from bridge.app.verdicts import Doubt, NotTried
from bridge.config import Config, Sip, SipTransport, Trunk, TrunkTls
from bridge.errors import BridgeError, RemoteError
from bridge.sip.messages import Message
from bridge.sip.trunks import Registration, RegistrationState
from tests.simulators.processes import free_port
from tests.sip.certificates import Certificates
from tests.sip.phone import LOCALHOST, trunk
from tests.sip.udp_peer import Answer, UdpPeer, granted

CHALLENGE = 'WWW-Authenticate: Digest realm="a", nonce="b", algorithm=MD5'


def config(**trunks: Trunk) -> Config:
    listener = SipTransport(listen=ip_address(LOCALHOST), port=free_port())
    return Config(sip=Sip(transports=(listener,)), trunks=trunks)


def registrar(request: Message) -> Answer | None:
    if request.method != "REGISTER":
        return 200, ()
    if "right" not in request.first("authorization"):
        return (403, ()) if request.first("authorization") else (401, (CHALLENGE,))
    return granted(request)


@pytest.fixture
async def peer() -> AsyncIterator[UdpPeer]:
    async with UdpPeer(registrar) as found:
        yield found


async def test_every_trunk_is_tried_at_the_same_time(peer: UdpPeer) -> None:
    right = trunk(peer.port, register=True).model_copy(update={"auth_username": "right"})
    tries = Tries(
        config(
            right=right,
            wrong=trunk(peer.port, register=True),
            pbx=trunk(peer.port),
            away=trunk(9).model_copy(update={"answer_within": 0.5}),
        ),
        None,
        5.0,
    )
    assert await tries.of("right") == "registered, for 300 s at a time"
    assert await tries.of("pbx") == "answers OPTIONS (200 Whatever)"
    with pytest.raises(RemoteError, match="refused: 403") as error:
        await tries.of("wrong")
    assert "password" in error.value.remedy
    with pytest.raises(Doubt, match="does not answer OPTIONS"):
        await tries.of("away")
    # What was registered is not left behind.
    last = [each for each in peer.requests if each.method == "REGISTER"][-1]
    assert last.first("expires") == "0"


async def test_who_says_nothing_has_not_answered(peer: UdpPeer) -> None:
    peer.answer = lambda request: None
    tries = Tries(config(provider=trunk(peer.port, register=True)), None, 0.3)
    with pytest.raises(RemoteError, match="no answer"):
        await tries.of("provider")


@pytest.mark.parametrize(
    ("state", "raised"),
    [("registered", None), ("answers", None), ("not_used", NotTried), ("failed", RemoteError)],
)
async def test_a_bridge_that_runs_has_tried_already(
    state: str, raised: type[BridgeError] | None
) -> None:
    settings = config(provider=trunk(9))
    tries = Tries(settings, {"trunks": {"provider": state}})
    if raised is None:
        assert "says the bridge that runs" in await tries.of("provider")
        return
    with pytest.raises(raised):
        await tries.of("provider")


async def test_a_port_that_is_taken_is_told_once(peer: UdpPeer) -> None:
    settings = config(provider=trunk(peer.port))
    taken = settings.sip.transports[0].model_copy(update={"port": peer.port})
    settings = settings.model_copy(update={"sip": Sip(transports=(taken,))})
    with pytest.raises(NotTried, match="does not start"):
        await Tries(settings, None).of("provider")


def test_a_registration_that_fails_otherwise() -> None:
    with pytest.raises(RemoteError, match="fails: 408 Timeout") as error:
        judge(Registration(RegistrationState.FAILED, 408, "Timeout"), trunk(9))
    assert "firewalls" in error.value.remedy


class TlsServer:
    """Shows a certificate, and hangs up."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(
            lambda _, writer: writer.close(),
            LOCALHOST,
            0,
            ssl=self._certificates.server_context(),
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


def by_tls(port: int, **tls: Any) -> tuple[Trunk, Sip]:
    settings = Trunk(server=f"{LOCALHOST}:{port}", transport="tls", tls=TrunkTls(**tls))
    return settings, Sip(transports=(SipTransport(protocol="tls"),))


async def test_the_certificate_that_a_server_shows(tmp_path: Path) -> None:
    certificates = Certificates.make(tmp_path)
    async with TlsServer(certificates) as port:
        trusted = {"ca_list": certificates.authority, "server_name": "localhost"}
        with pytest.raises(Doubt, match="localhost's certificate expires on"):  # In an hour.
            await trunk_tls(*by_tls(port, **trusted))
        with pytest.raises(RemoteError, match=r"not trusted.*mismatch") as error:
            await trunk_tls(*by_tls(port, **trusted | {"server_name": "sip.example.com"}))
        assert "tls.server_name" in error.value.remedy
        with pytest.raises(RemoteError, match="not trusted"):
            await trunk_tls(*by_tls(port, server_name="localhost"))
        with pytest.raises(Doubt, match="expires on"):
            await trunk_tls(*by_tls(port, server_name="localhost", verify=False))
    with pytest.raises(RemoteError, match="no TLS: "):
        await trunk_tls(*by_tls(port))


async def test_a_server_that_is_reached_without_tls_shows_none() -> None:
    with pytest.raises(NotTried):
        await trunk_tls(Trunk(server=f"{LOCALHOST}:9", transport="auto"), Sip())
