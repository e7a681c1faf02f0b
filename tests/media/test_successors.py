# SPDX-License-Identifier: GPL-3.0-or-later
"""Another SIP peer takes the present one's place: what the client hears of that is a new voice."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from bridge.call.commands import DropSuccessor, OfferSuccessor, SwitchMedia
from bridge.call.events import MediaFault, MediaOfferReady, MediaSwitched
from bridge.call.terms import Srtp, Terms
from tests.media.desk import Desk
from tests.simulators.rtp import RtpPeer, Sender
from tests.simulators.waiting import until
from tests.simulators.webrtc import WebRtcPeer

OLD, NEW = b"o" * 160, b"n" * 160


@pytest.fixture
async def successor() -> AsyncIterator[RtpPeer]:
    """Another telephone."""
    phone = RtpPeer()
    yield phone
    phone.close()


async def offered(desk: Desk, terms: Terms | None = None) -> str:
    event = await desk.ask(lambda op: OfferSuccessor(call=desk.call, op=op, terms=terms))
    assert isinstance(event, MediaOfferReady), event
    return event.sdp


async def switched(desk: Desk, sdp: str, *, offers: bool = False) -> str:
    event = await desk.ask(lambda op: SwitchMedia(call=desk.call, op=op, sdp=sdp, offered=offers))
    assert isinstance(event, MediaSwitched), event
    return event.sdp


@pytest.mark.parametrize("offers", [False, True])
async def test_the_clients_stream_goes_on_without_a_gap(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, successor: RtpPeer, offers: bool
) -> None:
    old, new = Sender(0), Sender(0, ssrc=0x5678, sequence=7)
    await desk.client_calls(client, phone)
    phone.send(*old.packets([OLD] * 20))
    await client.received.reaches(20)
    if offers:
        successor.aim(await switched(desk, successor.sdp(("PCMU",)), offers=True))
    else:
        successor.aim(await offered(desk))
        await switched(desk, successor.sdp(("PCMU",)))
    successor.send(*new.packets([NEW] * 20))
    packets = await client.received.reaches(40)
    assert [packet.payload for packet in packets] == [OLD] * 20 + [NEW] * 20
    assert len({packet.ssrc for packet in packets}) == 1
    for before, after in pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1

    await client.send(*client.sender("PCMU").packets([OLD] * 10))
    await successor.received.reaches(10)
    assert not phone.received.packets
    phone.send(*old.packets([OLD] * 5))
    successor.send(*new.packets([NEW]))
    assert (await client.received.reaches(41))[-1].payload == NEW


async def test_the_present_peer_talks_on_while_another_is_asked(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    sender = Sender(0)
    await desk.client_calls(client, phone)
    await offered(desk)
    phone.send(*sender.packets([OLD] * 5))
    await client.received.reaches(5)
    desk.engine.do(DropSuccessor(call=desk.call))
    phone.send(*sender.packets([OLD] * 5))
    await client.received.reaches(10)


async def test_a_successor_with_another_codec_is_transcoded(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, successor: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    successor.aim(await offered(desk))
    await switched(desk, successor.sdp(("G722",)))
    await client.send(*client.sender("PCMU").packets([OLD] * 30))
    await successor.received.reaches(20)
    statistics = await desk.hang_up()
    assert (statistics["mode"], statistics["sip_codec"]) == ("transcode", "G722/8000")


async def test_a_successor_without_keys_where_they_are_required(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, successor: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    sdp = await offered(desk, Terms(srtp=Srtp.REQUIRED))
    assert "RTP/SAVP" in sdp
    failed = await desk.refused(
        lambda op: SwitchMedia(call=desk.call, op=op, sdp=successor.sdp(("PCMU",)))
    )
    assert failed.fault is MediaFault.NOT_ENCRYPTED
    phone.send(*Sender(0).packets([OLD] * 5))
    await client.received.reaches(5)


async def test_the_sockets_of_a_successor_are_freed_with_the_call(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.client_calls(client, phone)
    await offered(desk)
    await offered(desk)
    await desk.hang_up()
    await until(lambda: not desk.engine_snapshot(), what="the call is gone")
