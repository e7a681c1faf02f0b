# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP and TLS, both ways, and listeners that cannot be opened."""

import asyncio
import re
import socket
import ssl
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from bridge.call.commands import AnswerSip, ByeSip
from bridge.call.events import SipAnswered, SipConfirmed, SipEnded, SipInviteReceived, SipProgressed
from bridge.config import SipTransport, Trunk
from bridge.errors import ConfigurationError
from bridge.sip import checks
from bridge.sip.dialog_state import DialogState
from tests.simulators.processes import free_port
from tests.sip.certificates import Certificates
from tests.sip.phone import CALL, LOCALHOST, TRUNK, Bridge, Sipp, description, tcp, tls, trunk
from tests.sip.relay import relay

pytestmark = pytest.mark.e2e

BY_TLS = {"contact": "localhost:9;transport=tls"}


def secure_trunk(port: int) -> Trunk:
    return Trunk(server=f"localhost:{port}", transport="tls", username="me")


async def talk_and_hang_up(bridge: Bridge, phone: Sipp) -> None:
    leg = bridge.call()
    await bridge.expect(SipProgressed)
    await bridge.expect(SipAnswered)
    bridge.sip.do(ByeSip(call=CALL, leg=leg))
    await bridge.expect(SipEnded)
    await phone.succeeds()


async def be_called(bridge: Bridge, phone: Sipp) -> None:
    leg = (await bridge.expect(SipInviteReceived)).leg
    bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
    await bridge.expect(SipConfirmed)
    await bridge.expect(SipEnded)
    await phone.succeeds()


async def test_out_by_tcp(tmp_path: Path) -> None:
    async with (
        Sipp("callee_answers", tmp_path, tcp=True) as phone,
        Bridge({TRUNK: trunk(phone.port, transport="tcp")}, transports=(tcp(),)) as bridge,
    ):
        await talk_and_hang_up(bridge, phone)
        assert "SIP/2.0/TCP" in phone.messages()


async def test_in_by_tcp(tmp_path: Path) -> None:
    listener = tcp()
    async with (
        Bridge({TRUNK: trunk(9)}, transports=(listener,)) as bridge,
        Sipp("caller_hangs_up", tmp_path, calls=listener.port, tcp=True) as phone,
    ):
        await be_called(bridge, phone)


async def test_contact_is_the_address_that_faces_the_peer(tmp_path: Path) -> None:
    async with Sipp("callee_answers", tmp_path) as phone:
        async with Bridge({TRUNK: trunk(phone.port)}, listen="0.0.0.0") as bridge:
            await talk_and_hang_up(bridge, phone)
    assert re.search(rf"Contact: <sip:me@127\.0\.0\.1:{bridge.port}[;>]", phone.messages())


async def test_long_request_stays_on_udp(tmp_path: Path) -> None:
    strayed = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        strayed.append(await reader.read(1))
        writer.close()

    async with Sipp("callee_answers", tmp_path) as phone:
        async with (
            await asyncio.start_server(serve, LOCALHOST, phone.port),
            Bridge({TRUNK: trunk(phone.port)}, transports=(tcp(),)) as bridge,
        ):
            padding = "".join(f"a=x-padding:{number:060}\r\n" for number in range(30))
            leg = bridge.call(sdp=description() + padding)
            await bridge.expect(SipProgressed)
            await bridge.expect(SipAnswered)
            bridge.sip.do(ByeSip(call=CALL, leg=leg))
            await bridge.expect(SipEnded)
            await phone.succeeds()
    assert strayed == []


async def test_out_by_tls(tmp_path: Path, certificates: Certificates) -> None:
    port = free_port()
    async with relay(port, server=certificates.server_context()) as relayed:
        keys = {"contact": f"localhost:{relayed};transport=tls"}
        async with (
            Sipp("callee_answers", tmp_path, port=port, tcp=True, keys=keys) as phone,
            Bridge({TRUNK: secure_trunk(relayed)}, transports=(tls(certificates),)) as bridge,
        ):
            await talk_and_hang_up(bridge, phone)
            assert "SIP/2.0/TLS" in phone.messages()
            assert (
                DialogState.from_json(bridge.dialogs[next(iter(bridge.dialogs))]).transport == "tls"
            )


async def test_server_that_no_authority_vouches_for(
    tmp_path: Path, certificates: Certificates
) -> None:
    port = free_port()
    async with (
        relay(port, server=certificates.server_context()) as relayed,
        Sipp("callee_answers", tmp_path, port=port, tcp=True) as phone,
        Bridge(
            {TRUNK: secure_trunk(relayed)}, transports=(tls(certificates, trusted=False),)
        ) as bridge,
    ):
        bridge.call()
        ended = await bridge.expect(SipEnded)
        assert (ended.status, ended.remote) == (503, True)
        assert phone.messages() == ""


async def test_in_by_tls(tmp_path: Path, certificates: Certificates) -> None:
    listener = tls(certificates)
    async with (
        Bridge({TRUNK: trunk(9)}, transports=(listener,)) as bridge,
        relay(listener.port, client=certificates.client_context()) as relayed,
        Sipp("caller_hangs_up", tmp_path, calls=relayed, tcp=True, keys=BY_TLS) as phone,
    ):
        await be_called(bridge, phone)


async def test_a_call_that_has_to_be_encrypted_comes_by_tls(
    tmp_path: Path, certificates: Certificates
) -> None:
    """Keys that came by UDP may have been read by anybody."""
    listener = tls(certificates)
    demanding = secure_trunk(9).model_copy(update={"srtp": "required"})
    async with Bridge({TRUNK: demanding}, transports=(listener,)) as bridge:
        keys = {"status": "403"}
        async with Sipp("caller_is_refused", tmp_path, calls=bridge.port, keys=keys) as phone:
            await phone.succeeds()
            assert "SIP/2.0 403 TLS required" in phone.messages()
        assert bridge.nothing_more()
        async with (
            relay(listener.port, client=certificates.client_context()) as relayed,
            Sipp("caller_hangs_up", tmp_path, calls=relayed, tcp=True, keys=BY_TLS) as phone,
        ):
            await be_called(bridge, phone)


async def test_old_tls_is_refused(certificates: Certificates) -> None:
    listener = tls(certificates)
    async with Bridge({TRUNK: trunk(9)}, transports=(listener,)):
        context = certificates.client_context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                LOCALHOST, listener.port, ssl=context, server_hostname="localhost"
            )


async def test_port_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind((LOCALHOST, 0))
        taken = SipTransport(listen=IPv4Address(LOCALHOST), port=squatter.getsockname()[1])
        with pytest.raises(ConfigurationError, match=rf"sip.transports.1: .*{taken.port}"):
            async with Bridge({TRUNK: trunk(9)}, transports=(taken,)):
                raise AssertionError("started on a port that is in use")


async def test_trunk_without_a_listener_for_its_transport_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"trunks.provider.transport is tls"):
        async with Bridge({TRUNK: secure_trunk(9)}):
            raise AssertionError("started without a TLS listener")


async def test_listener_on_ipv6_is_named_where_the_stack_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "has_ipv6", lambda: False)
    listener = SipTransport(protocol="tcp", listen=IPv6Address("::"))
    with pytest.raises(ConfigurationError, match=r"sip\.transports\.1\.listen: :: is an IPv6"):
        async with Bridge({TRUNK: trunk(9)}, transports=(listener,)):
            raise AssertionError("started on an address that no call could use")
