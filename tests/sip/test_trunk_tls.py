# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS with each trunk's own certificates and authorities, with Kamailio at the other end."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bridge.config import SipTransport, Trunk, TrunkTls
from bridge.sip.trunks import RegistrationState
from tests.simulators.kamailio import DOMAIN, Kamailio, TlsPeer
from tests.simulators.nameserver import NameServer
from tests.simulators.processes import free_port
from tests.simulators.waiting import until
from tests.sip.certificates import Certificates
from tests.sip.phone import LOCALHOST, TRUNK, Bridge, trunk

pytestmark = pytest.mark.e2e

FAILED = RegistrationState.FAILED
REGISTERED = RegistrationState.REGISTERED
NAME = "sip.example.com"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The provider's."""
    return Certificates.make(tmp_path_factory.mktemp("theirs"), NAME)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The client certificate that the provider gave us."""
    return Certificates.make(tmp_path_factory.mktemp("ours"), "client.example.com")


def plain() -> SipTransport:
    """A TLS listener that knows nothing of the trunk's certificates."""
    return SipTransport(protocol="tls", port=free_port())


def account(tls: TrunkTls, server: str = NAME) -> Trunk:
    settings = {"server": server, "transport": "tls", "domain": DOMAIN, "tls": tls}
    return trunk(9, register=True).model_copy(update=settings)


@asynccontextmanager
async def names(port: int) -> AsyncIterator[str]:
    """A name server by which NAME is at this port of this machine, under another name."""
    async with NameServer() as server:
        server.say(f"_sips._tcp.{NAME}", "SRV", f"1 1 {port} node7.example.com.")
        server.say("node7.example.com", "A", LOCALHOST)
        yield server.address


async def registers(kamailio: Kamailio, tls: TrunkTls, server: str = NAME) -> RegistrationState:
    async with names(kamailio.tls_port) as dns:
        async with Bridge(
            {TRUNK: account(tls, server)},
            transports=(plain(),),
            nameservers=(dns,),
            pause=lambda failures, status: 60.0,
        ) as bridge:
            return (await bridge.registration()).state


async def test_name_of_the_domain_is_what_counts(tmp_path: Path, theirs: Certificates) -> None:
    peer = TlsPeer(theirs.chain, theirs.key)
    async with Kamailio(tmp_path, tls=peer) as kamailio:
        assert await registers(kamailio, TrunkTls(ca_list=theirs.authority)) is REGISTERED
        assert kamailio.seen("REGISTER", protocol="tls")


async def test_certificate_for_another_name_is_refused(
    tmp_path: Path, theirs: Certificates
) -> None:
    async with Kamailio(tmp_path, tls=TlsPeer(theirs.chain, theirs.key)) as kamailio:
        tls = TrunkTls(ca_list=theirs.authority, server_name="other.example.com")
        assert await registers(kamailio, tls) is FAILED
        assert kamailio.seen("REGISTER") == []


async def test_name_can_be_said(tmp_path: Path, theirs: Certificates) -> None:
    async with Kamailio(tmp_path, tls=TlsPeer(theirs.chain, theirs.key)) as kamailio:
        tls = TrunkTls(ca_list=theirs.authority, server_name=NAME)
        server = f"{LOCALHOST}:{kamailio.tls_port}"
        assert await registers(kamailio, tls, server) is REGISTERED


async def test_contact_is_the_connection_that_there_is(
    tmp_path: Path, certificates: Certificates
) -> None:
    """The system knows `localhost` too, but elsewhere: nobody is to connect to there."""
    strayed = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        strayed.append(writer.get_extra_info("peername"))
        writer.close()

    peer = TlsPeer(certificates.chain, certificates.key)
    async with (
        Kamailio(tmp_path, address="127.0.0.2", tls=peer) as kamailio,
        await asyncio.start_server(serve, LOCALHOST, kamailio.tls_port),
    ):
        tls = TrunkTls(ca_list=certificates.authority, server_name="localhost")
        settings = account(tls, f"127.0.0.2:{kamailio.tls_port}")
        async with Bridge({TRUNK: settings}, transports=(plain(),)) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            (_, last) = kamailio.seen("REGISTER")
            assert f"@{last['source']};" in last["contact"]
    assert strayed == []


async def test_authority_that_is_not_trusted_is_refused(
    tmp_path: Path, theirs: Certificates, ours: Certificates
) -> None:
    async with Kamailio(tmp_path, tls=TlsPeer(theirs.chain, theirs.key)) as kamailio:
        assert await registers(kamailio, TrunkTls(ca_list=ours.authority)) is FAILED
        assert await registers(kamailio, TrunkTls()) is FAILED
        assert await registers(kamailio, TrunkTls(verify=False)) is REGISTERED


async def test_client_certificate_is_shown(
    tmp_path: Path, theirs: Certificates, ours: Certificates
) -> None:
    peer = TlsPeer(theirs.chain, theirs.key, clients=ours.authority)
    async with Kamailio(tmp_path, tls=peer) as kamailio:
        assert await registers(kamailio, TrunkTls(ca_list=theirs.authority)) is FAILED
        assert kamailio.seen("REGISTER") == []
        tls = TrunkTls(ca_list=theirs.authority, certificate=ours.chain, private_key=ours.key)
        assert await registers(kamailio, tls) is REGISTERED


async def test_each_trunk_has_its_own(
    tmp_path: Path, theirs: Certificates, ours: Certificates
) -> None:
    homes = tmp_path / "one", tmp_path / "other"
    peer = TlsPeer(theirs.chain, theirs.key, clients=ours.authority)
    async with (
        Kamailio(homes[0], tls=peer) as strict,
        Kamailio(homes[1], tls=TlsPeer(ours.chain, ours.key)) as other,
    ):
        tls = TrunkTls(
            ca_list=theirs.authority,
            certificate=ours.chain,
            private_key=ours.key,
            server_name=NAME,
        )
        another = TrunkTls(ca_list=ours.authority, server_name="client.example.com")
        trunks = {
            "strict": account(tls, f"{LOCALHOST}:{strict.tls_port}"),
            "other": account(another, f"{LOCALHOST}:{other.tls_port}"),
        }
        async with Bridge(trunks, transports=(plain(),)) as bridge:
            for _ in trunks:
                assert (await bridge.registration()).state is REGISTERED


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
async def test_old_tls_is_refused(theirs: Certificates, version: ssl.TLSVersion) -> None:
    context = theirs.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            heard.append(await reader.readuntil(b" "))
        writer.close()

    async with await asyncio.start_server(serve, LOCALHOST, 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        tls = TrunkTls(ca_list=theirs.authority, server_name=NAME)
        async with Bridge(
            {TRUNK: account(tls, f"{LOCALHOST}:{port}")},
            transports=(plain(),),
            pause=lambda failures, status: 60.0,
        ) as bridge:
            if version is ssl.TLSVersion.TLSv1_1:
                assert (await bridge.registration()).state is FAILED
                assert heard == []
            else:
                await until(lambda: heard == [b"REGISTER "], what="it registers")


async def test_certificates_that_changed_are_used_by_the_next_connection(
    tmp_path: Path, theirs: Certificates, ours: Certificates
) -> None:
    files = [tmp_path / name for name in ("chain.pem", "key.pem")]
    # What the provider does not know yet.
    for file, source in zip(files, (theirs.chain, theirs.key), strict=True):
        shutil.copy(source, file)
    peer = TlsPeer(theirs.chain, theirs.key, clients=ours.authority)
    tls = TrunkTls(
        ca_list=theirs.authority, certificate=files[0], private_key=files[1], server_name=NAME
    )
    async with Kamailio(tmp_path / "kamailio", tls=peer) as kamailio:
        settings = account(tls, f"{LOCALHOST}:{kamailio.tls_port}")
        async with Bridge(
            {TRUNK: settings}, transports=(plain(),), pause=lambda failures, status: 0.2
        ) as bridge:
            assert (await bridge.registration()).state is FAILED
            for file, source in zip(files, (ours.chain, ours.key), strict=True):
                shutil.copy(source, file)

            def registered() -> bool:
                return bridge.sip.registrations()[TRUNK].state is REGISTERED

            await until(registered, what="the new certificate is shown")
