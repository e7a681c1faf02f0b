# SPDX-License-Identifier: GPL-3.0-or-later
"""Ending what a crash left behind, with sipp as the peer that still thinks it is in a call."""

import asyncio
import socket
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, cast

import pytest

from bridge.call.commands import RejectSip, SendSipProgress
from bridge.call.events import SipEnded, SipInviteReceived, SipProgressed
from bridge.call.ids import Address, CallId, Direction, UserId
from bridge.config import Sip, SipTransport
from bridge.records import CallRecord
from bridge.sip.adapter import SipAdapter
from bridge.sip.dialog_state import DialogState
from bridge.sip.early import EarlyState, early_of
from bridge.sip.messages import Message, parse
from tests.simulators.processes import free_port
from tests.simulators.waiting import until
from tests.sip.certificates import Certificates
from tests.sip.phone import CALL, LOCALHOST, LOCALHOST_6, TRUNK, Bridge, Sipp, tcp, tls, trunk
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


def ringing(state: str) -> CallRecord:
    return replace(lost(9), sip_dialog=state)


async def test_what_rings_at_a_telephone_is_cancelled(tmp_path: Path) -> None:
    async with (
        Sipp("callee_is_cancelled", tmp_path) as peer,
        Bridge({TRUNK: trunk(peer.port)}) as crashed,
    ):
        leg = crashed.call()
        await crashed.expect(SipProgressed)
        await Bridge({}).sip.end_orphan(ringing(crashed.dialogs[leg]))
        await peer.succeeds()
        assert "Reason: Q.850;cause=41" in peer.messages()


class Caller(asyncio.DatagramProtocol):
    """Has called us, and is not answered; acknowledges what refuses its call."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self.transport
        response = parse(data.decode())
        self.heard.append(response)
        copied = (f"{name}: {response.first(name)}" for name in ("via", "from", "to", "call-id"))
        ack = ["ACK sip:x SIP/2.0", *copied, f"CSeq: {response.cseq[0]} ACK", "", ""]
        self.transport.sendto("\r\n".join(ack).encode(), addr)


async def test_who_hears_it_ring_is_refused() -> None:
    loop = asyncio.get_running_loop()
    transport, caller = await loop.create_datagram_endpoint(Caller, local_addr=(LOCALHOST, 0))
    port = transport.get_extra_info("sockname")[1]
    ringing_there = parse(
        "SIP/2.0 180 Ringing\r\n"
        f"Via: SIP/2.0/UDP proxy.test;branch=z9hG4bKtop;received={LOCALHOST};rport={port}\r\n"
        "Via: SIP/2.0/UDP phone.test;branch=z9hG4bKfirst\r\n"
        "Record-Route: <sip:proxy.test;lr>\r\n"
        "From: <sip:ann@mx.test>;tag=theirs\r\nTo: <sip:us@mx.test>;tag=ours\r\n"
        "Call-ID: abc\r\nCSeq: 3 INVITE\r\nContact: <sip:us@mx.test>\r\n\r\n"
    )
    state = early_of(ringing_there, "udp", f"{LOCALHOST}:{port}").to_json()
    await Bridge({}).sip.end_orphan(ringing(state))
    transport.close()
    (refusal,) = caller.heard
    assert (refusal.status, refusal.cseq, refusal.first("retry-after")) == (
        503,
        (3, "INVITE"),
        "30",
    )
    assert [via.partition("branch=")[2][:12] for via in refusal.every("via")] == [
        "z9hG4bKtop;r",
        "z9hG4bKfirst",
    ]
    for name in ("from", "to", "call-id", "record-route"):
        assert refusal.first(name) == ringing_there.first(name)


async def test_what_is_known_of_a_call_that_rings_here(tmp_path: Path) -> None:
    keys = {"status": "486"}
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("caller_is_refused", tmp_path, calls=bridge.port, keys=keys) as phone,
    ):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(SendSipProgress(call=CALL, leg=leg, status=180))
        await until(lambda: leg in bridge.dialogs, what="it is known how to end it")
        early = EarlyState.from_json(bridge.dialogs[leg])
        assert early is not None
        assert not early.is_ours
        assert early.peer == f"{LOCALHOST}:{phone.port}"
        assert ";tag=" in dict(early.headers)["to"]
        bridge.sip.do(RejectSip(call=CALL, leg=leg, status=486))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_both_legs_of_a_transfer_are_ended(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    async with (
        Sipp("peer_that_forgot_a_call", tmp_path / "first") as talks,
        Sipp("callee_is_cancelled", tmp_path / "second") as rings,
        Bridge({TRUNK: trunk(rings.port)}) as crashed,
    ):
        leg = crashed.call()
        await crashed.expect(SipProgressed)
        both = f"{lost(talks.port).sip_dialog}\n{crashed.dialogs[leg]}"
        await Bridge({}).sip.end_orphan(ringing(both))
        await talks.succeeds()
        await rings.succeeds()


async def test_what_cannot_be_ended_does_no_harm(tmp_path: Path) -> None:
    bridge = Bridge({TRUNK: trunk(9)})
    records = [
        lost(9, dialog="not JSON"),
        lost(9, dialog="{}"),
        lost(9, dialog="[]"),
        lost(9, dialog='{"rings": {"headers": [1]}}'),
        lost(9, transport="tcp"),
    ]
    await bridge.sip.end_orphans(records)
