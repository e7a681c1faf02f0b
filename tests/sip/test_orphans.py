# SPDX-License-Identifier: GPL-3.0-or-later
"""Ending what a crash left behind, with sipp as the peer that still thinks it is in a call."""

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import pytest

from bridge.call.ids import Address, CallId, Direction, UserId
from bridge.config import Sip, SipTransport
from bridge.ports import CallRecord
from bridge.sip.adapter import SipAdapter
from bridge.sip.dialog_state import DialogState
from tests.simulators.processes import free_port
from tests.sip.certificates import Certificates
from tests.sip.phone import LOCALHOST, LOCALHOST_6, TRUNK, Bridge, Sipp, tcp, tls, trunk
from tests.sip.relay import relay

pytestmark = pytest.mark.e2e


def lost(
    port: int,
    *,
    call: str = "lost",
    transport: Literal["udp", "tcp", "tls"] = "udp",
    dialog: str = "",
    host: str = LOCALHOST,
) -> CallRecord:
    """The record of a call with a phone at `port`."""
    state = DialogState(
        trunk=TRUNK,
        transport=transport,
        peer=f"{host}:{port}",
        call_id=f"{call}@{LOCALHOST}",
        local="<sip:me@mx.test>;tag=ours",
        remote='"Ann" <sip:+12025550111@mx.test>;tag=theirs',
        target=f"sip:phone@{LOCALHOST}:{port}",
        routes=(f"<sip:{LOCALHOST}:{port};lr>",),
        cseq=7,
    )
    return CallRecord(
        call=CallId(call),
        direction=Direction.TO_SIP,
        person=UserId("@ann:example.org"),
        address=Address("tel:+12025550111"),
        trunk=TRUNK,
        started_at=1.0,
        sip_dialog=dialog or state.to_json(),
    )


async def test_bye_from_our_port_with_credentials(tmp_path: Path) -> None:
    async with Sipp("peer_of_a_lost_call", tmp_path) as peer:
        bridge = Bridge({TRUNK: trunk(peer.port)})
        await bridge.sip.end_orphan(lost(peer.port))
        await peer.succeeds()
        messages = peer.messages()
    assert f"Via: SIP/2.0/UDP {LOCALHOST}:{bridge.port};rport" in messages
    assert "CSeq: 1007 BYE" in messages
    assert "CSeq: 1008 BYE" in messages
    assert f"Route: <sip:{LOCALHOST}:{peer.port};lr>" in messages


async def test_several_at_once_and_then_the_port_is_free(tmp_path: Path) -> None:
    async with Sipp("peer_that_forgot_a_call", tmp_path, times=3) as peer:
        bridge = Bridge({TRUNK: trunk(peer.port)})
        await bridge.sip.end_orphans([lost(peer.port, call=f"lost{n}") for n in range(3)])
        await peer.succeeds()
        async with bridge:
            pass


async def test_by_ipv6_beside_ipv4(tmp_path: Path) -> None:
    listener = SipTransport(listen=ip_address(LOCALHOST_6), port=free_port(socket.SOCK_DGRAM))
    async with Sipp("peer_that_forgot_a_call", tmp_path, address=LOCALHOST_6) as peer:
        bridge = Bridge({TRUNK: trunk(peer.port, host=LOCALHOST_6)}, transports=(listener,))
        await bridge.sip.end_orphan(lost(peer.port, host=f"[{LOCALHOST_6}]"))
        await peer.succeeds()
        assert f"Via: SIP/2.0/UDP [::1]:{listener.port};rport" in peer.messages()


async def test_by_tcp(tmp_path: Path) -> None:
    async with Sipp("peer_that_forgot_a_call", tmp_path, tcp=True) as peer:
        bridge = Bridge({TRUNK: trunk(peer.port)}, transports=(tcp(),))
        await bridge.sip.end_orphan(lost(peer.port, transport="tcp"))
        await peer.succeeds()


async def test_by_tls(tmp_path: Path, certificates: Certificates) -> None:
    port = free_port()
    async with (
        relay(port, server=certificates.server_context()) as relayed,
        Sipp("peer_that_forgot_a_call", tmp_path, port=port, tcp=True) as peer,
    ):
        bridge = Bridge({TRUNK: trunk(9)}, transports=(tls(certificates),))
        await bridge.sip.end_orphan(lost(relayed, transport="tls"))
        await peer.succeeds()
        assert "Via: SIP/2.0/TLS" in peer.messages()


async def test_listening_everywhere_the_route_to_the_peer_names_us(tmp_path: Path) -> None:
    async with Sipp("peer_that_forgot_a_call", tmp_path) as peer:
        anywhere = SipTransport(port=free_port(socket.SOCK_DGRAM))
        adapter = SipAdapter(
            Sip(transports=(anywhere,)),
            {TRUNK: trunk(peer.port)},
            emit=print,
            tap=print,
            normalise=lambda user, host: Address(f"sip:{user}@{host}"),
        )
        await adapter.end_orphan(lost(peer.port))
        await peer.succeeds()
        assert f"Via: SIP/2.0/UDP {LOCALHOST}:{anywhere.port};rport" in peer.messages()


async def test_what_cannot_be_ended_does_no_harm(tmp_path: Path) -> None:
    bridge = Bridge({TRUNK: trunk(9)})
    records = [
        lost(9, dialog="not JSON"),
        lost(9, dialog="{}"),
        lost(9, transport="tcp"),
    ]
    await bridge.sip.end_orphans(records)
