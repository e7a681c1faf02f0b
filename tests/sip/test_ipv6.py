# SPDX-License-Identifier: GPL-3.0-or-later
"""SIP over IPv6, with sipp at ::1; and IPv4 beside it, as it always was."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from bridge.call.commands import AnswerSip, ByeSip
from bridge.call.events import SipAnswered, SipConfirmed, SipEnded, SipInviteReceived, SipProgressed
from bridge.config import SipTransport
from bridge.sip.loader import has_ipv6
from bridge.sip.trunks import RegistrationState
from tests.simulators.processes import free_port
from tests.sip.certificates import Certificates
from tests.sip.phone import (
    CALL,
    LOCALHOST,
    LOCALHOST_6,
    TRUNK,
    Bridge,
    Sipp,
    description,
    tcp,
    tls,
    trunk,
)
from tests.sip.relay import relay

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not has_ipv6(), reason="pjsua2 was built without IPv6: make setup"),
]

SDP = description().replace("IP4 127.0.0.1", "IP6 ::1")


async def talk_and_hang_up(bridge: Bridge, phone: Sipp, sdp: str = SDP) -> None:
    leg = bridge.call(sdp=sdp)
    await bridge.expect(SipProgressed)
    await bridge.expect(SipAnswered)
    bridge.sip.do(ByeSip(call=CALL, leg=leg))
    await bridge.expect(SipEnded)
    await phone.succeeds()


async def be_called(bridge: Bridge, phone: Sipp, sdp: str = SDP) -> None:
    leg = (await bridge.expect(SipInviteReceived)).leg
    bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=sdp))
    await bridge.expect(SipConfirmed)
    await bridge.expect(SipEnded)
    await phone.succeeds()


async def test_out_by_udp(tmp_path: Path) -> None:
    async with (
        Sipp("callee_answers", tmp_path, address=LOCALHOST_6) as phone,
        Bridge({TRUNK: trunk(phone.port, host=LOCALHOST_6)}, listen=LOCALHOST_6) as bridge,
    ):
        await talk_and_hang_up(bridge, phone)
        sent = phone.messages()
    assert f"Contact: <sip:me@[::1]:{bridge.port}" in sent
    assert f"Via: SIP/2.0/UDP [::1]:{bridge.port}" in sent
    assert "c=IN IP6 ::1" in sent


async def test_in_by_udp(tmp_path: Path) -> None:
    async with (
        Bridge({TRUNK: trunk(9, host=LOCALHOST_6)}, listen=LOCALHOST_6) as bridge,
        Sipp("caller_hangs_up", tmp_path, calls=bridge.port, address=LOCALHOST_6) as phone,
    ):
        await be_called(bridge, phone)
        assert f"Contact: <sip:me@[::1]:{bridge.port}" in phone.messages()


async def test_out_by_tcp(tmp_path: Path) -> None:
    async with (
        Sipp("callee_answers", tmp_path, tcp=True, address=LOCALHOST_6) as phone,
        Bridge(
            {TRUNK: trunk(phone.port, transport="tcp", host=LOCALHOST_6)},
            transports=(tcp(LOCALHOST_6),),
        ) as bridge,
    ):
        await talk_and_hang_up(bridge, phone)
        assert "SIP/2.0/TCP [::1]" in phone.messages()


async def test_in_by_tcp(tmp_path: Path) -> None:
    listener = tcp(LOCALHOST_6)
    async with (
        Bridge({TRUNK: trunk(9, host=LOCALHOST_6)}, transports=(listener,)) as bridge,
        Sipp(
            "caller_hangs_up", tmp_path, calls=listener.port, tcp=True, address=LOCALHOST_6
        ) as phone,
    ):
        await be_called(bridge, phone)


async def test_out_by_tls(tmp_path: Path, certificates: Certificates) -> None:
    port, context = free_port(), certificates.server_context()
    async with relay(port, server=context, host=LOCALHOST_6, target_host=LOCALHOST_6) as relayed:
        keys = {"contact": f"[local_ip]:{relayed};transport=tls"}
        # Many a machine's localhost is IPv4 only; the certificate is for ::1, too.
        secure = trunk(relayed, transport="tls", host=LOCALHOST_6)
        async with (
            Sipp(
                "callee_answers", tmp_path, port=port, tcp=True, keys=keys, address=LOCALHOST_6
            ) as phone,
            Bridge({TRUNK: secure}, transports=(tls(certificates, host=LOCALHOST_6),)) as bridge,
        ):
            await talk_and_hang_up(bridge, phone)
            assert "SIP/2.0/TLS [::1]" in phone.messages()


async def test_in_by_tls(tmp_path: Path, certificates: Certificates) -> None:
    listener = tls(certificates, host=LOCALHOST_6)
    keys = {"contact": "localhost:9;transport=tls"}
    context = certificates.client_context()
    async with (
        Bridge({TRUNK: trunk(9, host=LOCALHOST_6)}, transports=(listener,)) as bridge,
        relay(listener.port, client=context, target_host=LOCALHOST_6) as relayed,
        Sipp("caller_hangs_up", tmp_path, calls=relayed, tcp=True, keys=keys) as phone,
    ):
        # What is said by IPv6 may still be about audio by IPv4.
        await be_called(bridge, phone, description())


async def test_registers(tmp_path: Path) -> None:
    async with Sipp("registrar", tmp_path, address=LOCALHOST_6) as registrar:
        settings = trunk(registrar.port, register=True, host=LOCALHOST_6)
        async with Bridge({TRUNK: settings}, listen=LOCALHOST_6) as bridge:
            assert (await bridge.registration()).state is RegistrationState.REGISTERED
        await registrar.succeeds()


async def test_text_out(tmp_path: Path) -> None:
    async with (
        Sipp("text_taker", tmp_path, address=LOCALHOST_6, keys={"status": "200"}) as phone,
        Bridge({TRUNK: trunk(phone.port, host=LOCALHOST_6)}, listen=LOCALHOST_6) as bridge,
    ):
        assert await bridge.sip.send_message(TRUNK, "100", "hello") == 200
        await phone.succeeds()


@pytest.mark.parametrize("host", [LOCALHOST, LOCALHOST_6])
async def test_both_side_by_side(tmp_path: Path, host: str) -> None:
    other = SipTransport(listen=ip_address(LOCALHOST_6), port=free_port())
    sdp = SDP if ":" in host else description()
    out, back = tmp_path / "out", tmp_path / "in"
    out.mkdir()
    back.mkdir()
    async with (
        Sipp("callee_answers", out, address=host) as phone,
        Bridge({TRUNK: trunk(phone.port, host=host)}, transports=(other,)) as bridge,
    ):
        await talk_and_hang_up(bridge, phone, sdp)
        port = other.port if ":" in host else bridge.port
        ours = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        assert f"Contact: <sip:me@{ours}" in phone.messages()
        async with Sipp("caller_hangs_up", back, calls=port, address=host) as caller:
            await be_called(bridge, caller, sdp)
            assert f"Contact: <sip:me@{ours}" in caller.messages()
