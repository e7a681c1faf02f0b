# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine around its calls: what it frees, what it announces, what it says when it cannot."""

import asyncio
import gc
import json
import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bridge.call.commands import AddRemoteCandidates, OfferMedia, RollbackMedia
from bridge.call.events import MediaConnected, MediaFault
from bridge.call.ids import CallId, Side
from bridge.config import Media
from bridge.errors import ConfigurationError
from bridge.media.embedded.engine import EmbeddedEngine
from bridge.media.embedded.matrix_leg import MatrixLeg
from bridge.media.embedded.session import Session
from bridge.sdp.agreement import matrix_audio, sip_audio
from bridge.sdp.codecs import codecs_of
from bridge.sdp.parser import parse
from tests.media.conftest import SETTINGS
from tests.media.desk import Desk
from tests.simulators.rtp import RtpPeer
from tests.simulators.waiting import until
from tests.simulators.webrtc import Remote, WebRtcPeer

FIXTURES = Path(__file__).parent.parent / "sdp" / "fixtures"
OFFERS = {path.name: path.read_text() for path in FIXTURES.glob("*-offer.sdp")}


def open_files() -> int:
    """How many file descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


async def one_call(desk: Desk, number: int) -> None:
    """A whole call in a way that depends on its number."""
    desk.call = CallId(f"call-{number}")
    desk.events.clear()
    client, phone = WebRtcPeer(), RtpPeer()
    if number % 5 == 0:  # Given up before it was answered.
        await desk.offer(Side.MATRIX, await client.offer())
    elif number % 5 == 1:  # Ended while ICE is at work.
        await desk.offer(Side.MATRIX, await client.offer())
        await desk.answer(Side.SIP, phone.sdp())
    elif number % 5 == 2:
        await desk.phone_calls(client, phone)
    elif number % 5 == 3:  # With a restart of ICE, and transcoding.
        await desk.client_calls(client, phone, formats=(111, 110))
        restart = await desk.offer(Side.MATRIX, await client.offer((111, 110), restart=True))
        await client.connect(restart.answer)
    else:
        await desk.client_calls(client, phone)
        await client.send(*client.sender("PCMU").packets([b"c" * 160] * 3))
        await phone.received.reaches(3)
    await desk.hang_up()
    phone.close()
    await client.close()


async def test_fifty_calls_leave_nothing_behind(desk: Desk) -> None:
    await one_call(desk, 2)
    tasks, files = len(asyncio.all_tasks()), open_files()
    for number in range(50):
        await one_call(desk, number)
    await until(lambda: len(asyncio.all_tasks()) <= tasks, what="every task of the calls ended")
    assert open_files() == files
    gc.collect()
    assert not [o for o in gc.get_objects() if isinstance(o, Session | MatrixLeg)]


async def test_behind_nat_the_public_address_is_announced(
    client: WebRtcPeer, phone: RtpPeer
) -> None:
    settings = SETTINGS.model_copy(update={"public_address": IPv4Address("203.0.113.7")})
    desk = Desk(lambda emit: EmbeddedEngine(settings, emit))
    offered = await desk.offer(Side.MATRIX, await client.offer())
    assert "c=IN IP4 203.0.113.7" in offered.sdp
    assert "127.0.0.1" not in offered.sdp
    answer = await desk.answer(Side.SIP, phone.sdp())
    assert all(" 203.0.113.7 " in line for line in Remote.read(answer).candidates)
    assert "127.0.0.1" not in answer
    # Where it is reached through the NAT, it works: the client's address is all that is needed.
    local = answer.replace("203.0.113.7", "127.0.0.1")
    await client.connect(local)
    await desk.event(MediaConnected)
    await desk.engine.close()


async def test_ports_come_from_the_range(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> None:
    low, high = SETTINGS.rtp_ports
    offered = await desk.offer(Side.MATRIX, await client.offer())
    assert low <= sip_audio(parse(offered.sdp)).port <= high
    answer = await desk.answer(Side.SIP, phone.sdp())
    assert low <= matrix_audio(parse(answer)).port <= high


async def test_a_range_that_is_used_up_fails_the_call_and_frees_the_rest(
    client: WebRtcPeer,
) -> None:
    settings = Media(listen=IPv4Address("127.0.0.1"), rtp_ports=(24000, 24001))
    desk = Desk(lambda emit: EmbeddedEngine(settings, emit))
    offer = await client.offer()
    failed = await desk.refused(
        lambda op: OfferMedia(call=desk.call, op=op, side=Side.MATRIX, sdp=offer)
    )
    assert failed.fault is MediaFault.NO_RESOURCES
    assert "media.rtp_ports" in failed.detail
    files = open_files()
    await desk.hang_up()
    assert open_files() == files - 2
    await desk.engine.close()


def test_an_ice_server_that_cannot_be_understood_stops_the_start() -> None:
    settings = Media.model_validate({"ice_servers": [{"url": "nonsense"}]})
    with pytest.raises(ConfigurationError, match="nonsense"):
        EmbeddedEngine(settings, lambda event: None)


async def test_a_live_call_can_be_looked_at(desk: Desk, client: WebRtcPeer, phone: RtpPeer) -> None:
    assert desk.engine_snapshot() == {}
    await desk.client_calls(client, phone)
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 5))
    await phone.received.reaches(5)
    snapshot = desk.engine_snapshot()
    assert snapshot["matrix_packets_received"] == 5
    assert snapshot["sip_packets_sent"] == 5
    assert snapshot["sip_codec"] == "PCMU/8000"
    assert isinstance(snapshot["connect_s"], float)
    assert isinstance(snapshot["sip_audio_after_s"], float)
    assert "matrix_audio_after_s" not in snapshot
    assert all(isinstance(value, int | float | str) for value in snapshot.values())
    json.dumps(snapshot)


async def test_a_flood_of_candidates_is_cut_off(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await desk.offer(Side.MATRIX, await client.offer(trickle=True))
    flood = tuple(f"candidate:1 1 udp 1 127.0.0.1 {n} typ host" for n in range(1, 1000))
    desk.engine.do(AddRemoteCandidates(call=desk.call, candidates=flood))
    await desk.answer(Side.SIP, phone.sdp())
    await desk.hang_up()


@pytest.mark.parametrize("name", sorted(OFFERS))
async def test_offers_of_real_software_are_understood(
    desk: Desk, phone: RtpPeer, name: str
) -> None:
    """Offers of browsers and phones get through a call's exchange of descriptions."""
    sdp = OFFERS[name]
    if "UDP/TLS/RTP/SAVPF" in sdp:
        offered = await desk.offer(Side.MATRIX, sdp)
        assert codecs_of(sip_audio(parse(offered.sdp)))
        answer = await desk.answer(Side.SIP, phone.sdp(("PCMA",)))
        expected = "opus" if "PCMA" not in sdp else "PCMA"
        assert matrix_audio(parse(answer)).rtpmaps[0].name == expected
    else:
        offered = await desk.offer(Side.SIP, sdp)
        assert codecs_of(matrix_audio(parse(offered.sdp)))


async def test_a_command_that_swallows_its_end_does_not_keep_the_call(
    desk: Desk, client: WebRtcPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As aioice does: it waits for a task of its own that it has cancelled."""
    begun = asyncio.Event()

    async def swallow(_: Session) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

    await desk.offer(Side.MATRIX, await client.offer())
    monkeypatch.setattr(Session, "rollback", swallow)
    desk.engine.do(RollbackMedia(call=desk.call))
    await begun.wait()
    await desk.hang_up()
