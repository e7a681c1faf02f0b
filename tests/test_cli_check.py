# SPDX-License-Identifier: GPL-3.0-or-later
"""`matrix-sip check`: each finding, its verdict and its remedy."""

import re
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.app.check import check
from bridge.app.check_trunks import Tries
from bridge.app.open_files import raise_limit
from bridge.app.verdicts import Verdict
from bridge.config.load import examine
from bridge.store.database import open_database
from bridge.store.secrets import open_sealer
from tests.checked import FakeHomeserver, World
from tests.simulators.nameserver import NameServer
from tests.simulators.processes import free_port
from tests.sip.certificates import Certificates
from tests.store.older import make_older


@pytest.fixture(autouse=True)
def _nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trunks are tried in tests/app/test_check_trunks.py."""

    async def of(tries: Tries, name: str) -> str:
        return f"{name} of {', '.join(tries._config.trunks)} answers"

    monkeypatch.setattr(Tries, "of", of)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    homeserver = FakeHomeserver()
    async with TestServer(homeserver.application()) as server:
        port = free_port()
        homeserver.way_back = f"http://127.0.0.1:{port}"
        settings: dict[str, Any] = {
            "homeserver": {"address": str(server.make_url("/")), "domain": "mx.test"},
            "appservice": {
                "address": homeserver.way_back,
                "port": port,
                "as_token": "ours",
                "hs_token": "theirs",
            },
            "encryption": {"mode": "off"},
            "permissions": {"mx.test": "call"},
            "sip": {"transports": [{"listen": "127.0.0.1", "port": free_port(socket.SOCK_DGRAM)}]},
            "trunks": {"provider": {"server": "localhost:5099"}},
            "outbound": [{"trunk": "provider"}],
            "inbound": [{"person": "@alice:mx.test"}],
            "media": {"listen": "127.0.0.1", "rtp_ports": [42000, 42019]},
            "web": {"port": free_port()},
        }
        yield World(homeserver, settings, tmp_path)


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
        other.bind(("127.0.0.1", free_port(socket.SOCK_DGRAM)))
        yield other


async def test_all_is_well(world: World) -> None:
    findings = await world.findings()
    assert findings.pop("dial pad").verdict is Verdict.SKIPPED  # No bridge runs.
    assert {each.verdict for each in findings.values()} == {Verdict.OK}, findings
    assert list(findings) == [
        "database",
        "homeserver",
        "clock",
        "as_token",
        "hs_token",
        "encryption",
        "pjsua2",
        "sip.transports[0]",
        "trunks.provider",
        "trunks.provider, OPTIONS",
        "media.rtp_ports",
        "TURN of the homeserver",
        "public address",
        "codecs",
        "open files",
    ]
    assert (world.directory / "matrix-sip.db").exists()


async def test_no_homeserver(world: World) -> None:
    world.settings["homeserver"]["address"] = "http://127.0.0.1:1"
    findings = await world.findings()
    assert findings["homeserver"].verdict is Verdict.FAILED
    assert (
        findings["homeserver"].message == "http://127.0.0.1:1 does not answer: Connection refused"
    )
    assert "homeserver.address" in findings["homeserver"].remedy
    for what in ("clock", "as_token", "hs_token", "TURN of the homeserver"):
        assert findings[what].verdict is Verdict.SKIPPED
    assert findings["pjsua2"].verdict is Verdict.OK


async def test_listener_on_ipv6_with_a_stack_that_has_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.sip.checks.has_ipv6", lambda: False)
    assert (await world.finding("pjsua2")).verdict is Verdict.OK
    world.settings["sip"]["transports"] = [{"listen": "::1", "port": free_port()}]
    finding = await world.finding("pjsua2")
    assert finding.verdict is Verdict.FAILED
    assert finding.message.startswith("sip.transports.0.listen: ::1 is an IPv6 address")
    assert "make setup" in finding.remedy


async def test_something_else_than_a_homeserver(world: World) -> None:
    world.homeserver.is_one = False
    finding = await world.finding("homeserver")
    assert finding.verdict is Verdict.FAILED
    assert "no homeserver" in finding.message


@pytest.mark.parametrize(("seconds", "word"), [(60, "behind"), (-60, "ahead of")])
async def test_clocks_that_differ(world: World, seconds: int, word: str) -> None:
    world.homeserver.skew = timedelta(seconds=seconds)
    finding = await world.finding("clock")
    assert finding.verdict is Verdict.FAILED
    assert word in finding.message
    assert "NTP" in finding.remedy


async def test_a_clock_that_cannot_be_read(world: World) -> None:
    world.homeserver.date = "noon"
    finding = await world.finding("clock")
    assert (finding.verdict, finding.message) == (
        Verdict.SKIPPED,
        "not compared: 'noon' is no date",
    )


async def test_a_token_that_the_homeserver_does_not_know(world: World) -> None:
    world.homeserver.as_token = "another"
    findings = await world.findings()
    assert findings["as_token"].verdict is Verdict.FAILED
    assert "M_UNKNOWN_TOKEN" in findings["as_token"].message
    assert "generate-registration" in findings["as_token"].remedy
    assert findings["hs_token"].message == "not tried, as as_token is not well"


async def test_a_token_of_somebody_else(world: World) -> None:
    world.homeserver.bot = "@other:mx.test"
    finding = await world.finding("as_token")
    assert finding.message == "it is that of @other:mx.test, not of @sipbot:mx.test"


async def test_a_homeserver_that_shows_another_token(world: World) -> None:
    world.homeserver.hs_token = "another"
    finding = await world.finding("hs_token")
    assert finding.verdict is Verdict.FAILED
    assert finding.message == "the homeserver shows another token"


async def test_a_homeserver_that_does_not_reach_us(world: World) -> None:
    world.homeserver.way_back = "http://127.0.0.1:1"
    finding = await world.finding("hs_token")
    assert finding.verdict is Verdict.FAILED
    assert "does not reach http://127.0.0.1" in finding.message
    assert "appservice.address" in finding.remedy


async def test_a_homeserver_that_cannot_ping(world: World) -> None:
    world.homeserver.knows_ping = False
    finding = await world.finding("hs_token")
    assert finding.verdict is Verdict.WARNING
    assert "knows no ping" in finding.message


@asynccontextmanager
async def running_bridge(world: World, **details: Any) -> AsyncIterator[None]:
    """A bridge that says of itself what it does."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"ready": True, **details})

    application = web.Application()
    application.router.add_get("/health", health)
    async with TestServer(application) as running:
        assert running.port is not None
        world.settings["web"]["port"] = running.port
        yield


async def test_a_dial_pad_that_is_offered(world: World) -> None:
    async with running_bridge(world):
        assert (await world.finding("dial pad")).message == "offered to clients"


async def test_the_dial_pad_is_not_asked_about_while_nobody_could_answer(world: World) -> None:
    world.homeserver.protocols = None
    finding = await world.finding("dial pad")
    assert finding.verdict is Verdict.SKIPPED
    assert "would remember that" in finding.message


@pytest.mark.parametrize("protocols", [None, (), ("m.protocol.pstn",)])
async def test_a_homeserver_without_the_dial_pad(
    world: World, protocols: tuple[str, ...] | None
) -> None:
    world.homeserver.protocols = protocols
    async with running_bridge(world):
        finding = await world.finding("dial pad")
    assert finding.verdict is Verdict.WARNING
    assert "clients show none" in finding.message
    assert finding.remedy


async def test_encryption_that_is_off_needs_nothing(world: World) -> None:
    world.homeserver.makes_devices = False
    assert (await world.finding("encryption")).verdict is Verdict.OK


async def test_ghosts_can_have_devices(world: World) -> None:
    allow_encryption(world, "allow")
    finding = await world.finding("encryption")
    assert finding.verdict is Verdict.OK
    assert "can have devices" in finding.message
    path = "/_matrix/client/v3/devices/MATRIX_SIP_CHECK"
    assert world.homeserver.seen == [f"PUT {path}", f"DELETE {path}"]


@pytest.mark.parametrize(
    ("mode", "verdict"), [("allow", Verdict.WARNING), ("require", Verdict.FAILED)]
)
async def test_a_homeserver_without_devices_for_ghosts(
    world: World, mode: str, verdict: Verdict
) -> None:
    allow_encryption(world, mode)
    world.homeserver.makes_devices = False
    finding = await world.finding("encryption")
    assert finding.verdict is verdict
    assert "MSC4190" in finding.message
    assert "msc3202_transaction_extensions" in finding.remedy


@pytest.mark.parametrize(("works", "verdict"), [(True, Verdict.OK), (False, Verdict.WARNING)])
async def test_the_bridge_that_runs_knows_whether_encryption_works(
    world: World, works: bool, verdict: Verdict
) -> None:
    allow_encryption(world, "allow")
    async with running_bridge(world, encryption=works):
        assert (await world.finding("encryption")).verdict is verdict
    assert world.homeserver.seen == []


def allow_encryption(world: World, mode: str) -> None:
    world.settings["encryption"]["mode"] = mode
    world.settings["database"] = {"secret_key": "0123456789abcdef0123456789abcdef"}


@pytest.mark.parametrize(
    ("bot", "verdict"),
    [("@sipbot-people:mx.test", Verdict.OK), ("@sipbot:mx.test", Verdict.FAILED)],
)
async def test_the_second_registration(world: World, bot: str, verdict: Verdict) -> None:
    world.settings["portals"] = {"auto_join": "as_token", "people_token": "people"}
    world.homeserver.people_bot = bot
    finding = await world.finding("portals.people_token")
    assert finding.verdict is verdict
    assert verdict is Verdict.OK or "--people" in finding.remedy


async def test_a_second_registration_that_is_not_loaded(world: World) -> None:
    world.settings["portals"] = {"auto_join": "as_token", "people_token": "unknown"}
    finding = await world.finding("portals.people_token")
    assert finding.verdict is Verdict.FAILED
    assert "does not accept it" in finding.message


async def test_a_sip_port_that_is_taken(world: World, taken: socket.socket) -> None:
    world.settings["sip"]["transports"][0]["port"] = taken.getsockname()[1]
    finding = await world.finding("sip.transports[0]")
    assert finding.verdict is Verdict.FAILED
    assert "Address already in use" in finding.message
    assert "another port" in finding.remedy


async def test_the_ports_of_a_running_bridge_are_its_own(
    world: World, taken: socket.socket
) -> None:
    async def health(request: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    application = web.Application()
    application.router.add_get("/health", health)
    async with TestServer(application) as running:
        world.settings["sip"]["transports"][0]["port"] = taken.getsockname()[1]
        world.settings["web"]["port"] = running.port
        findings = await world.findings()
    assert findings["bridge"].message == "is running; its ports are its own"
    assert findings["sip.transports[0]"].verdict is Verdict.OK


async def test_an_address_that_is_not_ours(world: World) -> None:
    world.settings["sip"]["transports"][0]["listen"] = "192.0.2.1"
    finding = await world.finding("sip.transports[0]")
    assert finding.verdict is Verdict.FAILED
    assert "an address of this machine" in finding.remedy


async def test_a_trunk_without_an_address(world: World) -> None:
    world.settings["trunks"]["provider"]["server"] = "nowhere.invalid"
    finding = await world.finding("trunks.provider")
    assert finding.verdict is Verdict.FAILED
    assert finding.message.startswith("nowhere.invalid has no address")


async def test_where_a_trunk_is(world: World) -> None:
    async with NameServer() as names:
        records = ("1 1 5070 a.example.com.", "2 1 5060 b.example.com.")
        names.say("_sip._udp.example.com", "SRV", *records)
        names.say("a.example.com", "A", "192.0.2.1")
        names.say("b.example.com", "A", "192.0.2.2")
        world.settings["sip"]["nameservers"] = [names.address]
        world.settings["trunks"]["provider"]["server"] = "example.com"
        finding = await world.finding("trunks.provider")
        assert finding.message == "example.com is udp 192.0.2.1:5070, then udp 192.0.2.2:5060"
        world.settings["trunks"]["provider"]["outbound_proxy"] = ["b.example.com"]
        finding = await world.finding("trunks.provider")
        assert finding.message == "b.example.com is udp 192.0.2.2:5060"


async def test_a_trunk_that_no_listener_can_reach(world: World) -> None:
    world.settings["trunks"]["provider"]["server"] = "[2001:db8::1]"
    finding = await world.finding("trunks.provider")
    assert finding.verdict is Verdict.FAILED
    assert finding.message.endswith("that a listener in sip.transports is for: 2001:db8::1")


async def test_certificates_of_a_trunk(world: World, tmp_path: Path) -> None:
    files = Certificates.make(tmp_path)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nothing")
    trunk = world.settings["trunks"]["provider"]
    trunk.update(server="192.0.2.1", transport="auto")
    trunk["tls"] = {"certificate": str(files.chain), "private_key": str(files.key)}
    finding = await world.finding("trunks.provider")
    assert finding.verdict is Verdict.WARNING
    assert finding.message.startswith("the certificate expires on")
    trunk["tls"]["private_key"] = str(nonsense)
    finding = await world.finding("trunks.provider")
    assert finding.message.startswith("certificate or private key cannot be used")
    trunk["tls"] = {"ca_list": str(nonsense)}
    finding = await world.finding("trunks.provider")
    assert finding.message.startswith(f"no certificate authorities can be read from {nonsense}")


def two_neighbours() -> tuple[socket.socket, socket.socket]:
    """Two ports in a row, taken."""
    while True:
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        first.bind(("127.0.0.1", 0))
        try:
            second.bind(("127.0.0.1", first.getsockname()[1] + 1))
        except (OSError, OverflowError):
            first.close()
            second.close()
        else:
            return first, second


async def test_rtp_ports_that_are_taken(world: World) -> None:
    first, second = two_neighbours()
    port = first.getsockname()[1]
    world.settings["media"]["rtp_ports"] = [port, port + 1]
    with closing(first), closing(second):
        finding = await world.finding("media.rtp_ports")
    assert finding.verdict is Verdict.FAILED
    assert "most ports" in finding.message


async def test_a_database_that_cannot_be_opened(world: World) -> None:
    world.settings["database"] = {"url": "sqlite:missing/a.db"}
    finding = await world.finding("database")
    assert finding.verdict is Verdict.FAILED
    assert "missing/a.db" in finding.message


def write_certificate(directory: Path, lasts: timedelta) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sip.mx.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + lasts)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.mark.parametrize(
    ("days", "verdict", "words"),
    [
        (365, Verdict.OK, "certificate good until"),
        (5, Verdict.WARNING, "the certificate expires on"),
        (-5, Verdict.FAILED, "the certificate expired on"),
    ],
)
async def test_certificates(world: World, days: int, verdict: Verdict, words: str) -> None:
    write_certificate(world.directory, timedelta(days=days))
    world.settings["sip"]["transports"].append(
        {
            "protocol": "tls",
            "listen": "127.0.0.1",
            "port": free_port(),
            "certificate": "cert.pem",
            "private_key": "key.pem",
        }
    )
    finding = await world.finding("sip.transports[1]")
    assert finding.verdict is verdict
    assert words in finding.message


async def test_a_certificate_without_its_key(world: World) -> None:
    write_certificate(world.directory, timedelta(days=100))
    (world.directory / "key.pem").write_text("nothing")
    world.settings["sip"]["transports"].append(
        {
            "protocol": "tls",
            "listen": "127.0.0.1",
            "port": free_port(),
            "certificate": "cert.pem",
            "private_key": "key.pem",
        }
    )
    finding = await world.finding("sip.transports[1]")
    assert finding.verdict is Verdict.FAILED
    assert "cannot be used" in finding.message


async def test_a_web_server_that_is_no_homeserver(world: World) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    application = web.Application()
    application.router.add_get("/_matrix/client/versions", page)
    async with TestServer(application) as server:
        world.settings["homeserver"]["address"] = str(server.make_url("/"))
        finding = await world.finding("homeserver")
    assert finding.verdict is Verdict.FAILED
    assert "not that of a homeserver" in finding.message


async def test_an_id_that_is_not_the_registrations(world: World) -> None:
    world.settings["appservice"]["id"] = "another"
    finding = await world.finding("hs_token")
    assert finding.verdict is Verdict.FAILED
    assert "does not let 'another' ping" in finding.message
    assert finding.remedy.startswith("Look at appservice.id.")


async def test_advice_for_what_is_probably_not_meant(world: World) -> None:
    for key in ("permissions", "outbound", "inbound"):
        del world.settings[key]
    findings = await world.findings()
    for key in ("permissions", "outbound", "inbound"):
        assert findings[key].verdict is Verdict.WARNING
    del world.settings["trunks"]
    assert (await world.finding("trunks")).message == "none is set up"


async def test_advice_where_everybody_is_an_admin(world: World) -> None:
    world.settings["permissions"] = {"@chief:mx.test": "admin", "mx.test": "call"}
    assert "permissions" not in await world.findings()
    world.settings["permissions"] = {"mx.test": "admin"}
    assert "everybody of mx.test" in (await world.finding("permissions")).message


async def test_advice_where_the_admin_page_is_for_everybody_to_listen_to(world: World) -> None:
    port = world.settings["web"]
    world.settings["web"] = {**port, "token": "a-token-of-the-page"}
    assert "web" not in await world.findings()
    world.settings["web"] = {**port, "token": "a-token-of-the-page", "listen": "0.0.0.0"}
    assert "its token travels without TLS" in (await world.finding("web")).message
    world.settings["web"] = {**port, "listen": "0.0.0.0"}
    assert "web" not in await world.findings()
    world.settings["api"] = {"read_token": "a-token-of-a-program"}
    assert "the API is on 0.0.0.0" in (await world.finding("web")).message


async def test_a_key_that_does_not_open_the_database(world: World) -> None:
    world.settings["database"] = {"secret_key": "what nobody could ever guess"}
    assert (await world.finding("database")).verdict is Verdict.OK
    async with open_database(world.config.database.url.get_secret_value()) as database:
        await open_sealer(database, "another one, of some length")
    finding = await world.finding("database")
    assert finding.verdict is Verdict.FAILED
    assert "database.secret_key" in finding.message


async def test_a_database_of_an_earlier_version_is_not_migrated_by_looking(world: World) -> None:
    await make_older(world.config.database.url.get_secret_value(), 3)
    for _ in range(2):
        finding = await world.finding("database")
        assert finding.verdict is Verdict.WARNING
        assert "earlier version" in finding.message
        assert "matrix-sip upgrade" in finding.remedy


async def test_what_mistakes_in_the_settings_are_about_is_not_tried(world: World) -> None:
    world.settings["trunks"]["good"] = {"server": "localhost:5098"}
    del world.settings["trunks"]["provider"]["server"]
    world.settings["media"]["listen"] = "home"
    config, problems = examine(yaml.safe_dump(world.settings), directory=world.directory)
    assert config
    findings = {finding.what: finding async for finding in check(config, problems)}
    wrong = {what for what, each in findings.items() if "settings are wrong" in each.message}
    assert wrong == {
        "trunks.provider",
        "media.rtp_ports",
        "TURN of the homeserver",
        "public address",
    }
    assert findings["as_token"].verdict is Verdict.OK
    assert findings["trunks.provider, OPTIONS"].verdict is Verdict.SKIPPED
    assert findings["trunks.good, OPTIONS"].message == "good of good answers"


@pytest.mark.parametrize(
    ("files", "verdict"), [(65536, Verdict.OK), (1024, Verdict.WARNING), (64, Verdict.FAILED)]
)
async def test_open_files(
    world: World, monkeypatch: pytest.MonkeyPatch, files: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, files))
    finding = await world.finding("open files")
    assert finding.verdict is verdict
    assert verdict is Verdict.OK or "LimitNOFILE" in finding.remedy


def test_as_many_files_as_are_allowed_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    for limits in ((1024, 4096), (1024, 1 << 20), (1024, resource.RLIM_INFINITY), (4096, 4096)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        raise_limit()
    assert asked == [(4096, 4096), (65536, 1 << 20), (65536, resource.RLIM_INFINITY)]


def test_where_limits_may_not_even_be_read_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the systemd unit has it (SystemCallFilter=~@resources)."""

    def refused(_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(resource, "getrlimit", refused)
    raise_limit()


async def test_every_line_is_in_the_reference(world: World) -> None:
    page = (Path(__file__).parents[1] / "docs/reference/check.md").read_text()
    world.settings["trunks"]["provider"].update(transport="auto")
    world.settings["trunks"]["other"] = {
        **{"server": "localhost:5098", "register": True},
        **{"username": "me", "password": "secret"},
    }
    world.settings["portals"] = {"auto_join": "as_token", "people_token": "people"}
    world.settings["media"]["ice_servers"] = [{"url": "stun:127.0.0.1:9"}]
    for key in ("permissions", "outbound", "inbound"):
        del world.settings[key]
    for what in await world.findings():
        name = re.sub(r"\[\d+\]", "[…]", re.sub(r"trunks\.\w+", "trunks.…", what))
        assert f"`{name}`" in page, name
