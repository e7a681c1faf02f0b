# SPDX-License-Identifier: GPL-3.0-or-later
"""The far end changes a call: hold with music, another codec, another address, another stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.sounding import Sounding
from tests.e2e.stage import DESK, PCMU, GatedStage
from tests.simulators.matrix_phone import MatrixCall
from tests.simulators.sip_party import SipParty
from tests.simulators.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("stage")


@asynccontextmanager
async def talking(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> AsyncIterator[tuple[SipParty, Sounding, MatrixCall]]:
    """A person with an old client talks to a telephone that says 1000 Hz, in PCMU."""
    _, caller = await new_matrix_phone(version=0, renegotiates=False)
    async with (
        Sounding("PCMU", 1000, 0x1111) as phone,
        SipParty(DESK.address, DESK.port) as party,
    ):
        call = await caller.call(await caller.client.direct_room(DESK.ghost))
        offer = await party.rings()
        await party.answers(phone.rtp.sdp(("PCMU",)))
        phone.speak_to(offer)
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        yield party, phone, call
        await call.hang_up()
        await asyncio.wait_for(party.hung_up.wait(), PATIENCE)


async def test_call_is_placed_where_its_trunk_points_to(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, caller = await new_matrix_phone()
    async with (
        Sounding("PCMU", 1000, 0x1111) as phone,
        SipParty(PCMU.address, PCMU.port) as away,
        SipParty(DESK.address, DESK.port) as there,
    ):
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await away.rings()
        away.points_to(f"sip:{DESK.number}@{PCMU.address}")
        offer = await there.rings()
        assert "G722" in offer, "the offer is not one for this trunk"
        await there.answers(phone.rtp.sdp(("PCMU",)))
        phone.speak_to(offer)
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await asyncio.wait_for(there.hung_up.wait(), PATIENCE)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_music_on_hold_reaches_the_person(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, method: str
) -> None:
    async with (
        Sounding("PCMU", 1500, 0x2222) as music,
        talking(stage, new_matrix_phone) as (party, phone, call),
    ):
        reply = await party.asks(method, music.rtp.sdp(("PCMU",), direction="sendonly"))
        assert reply.status == 200
        assert "a=recvonly" in reply.sdp
        music.speak_to(reply.sdp)
        await call.voice.hears(1500)
        reply = await party.asks(method, phone.rtp.sdp(("PCMU",)))
        assert "a=sendrecv" in reply.sdp
        await music.stop()
        await call.voice.hears(1000)
        await phone.hears(440)


@pytest.mark.parametrize("direction", ["inactive", "sendonly at 0.0.0.0"])
async def test_hold_without_music(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, direction: str
) -> None:
    async with talking(stage, new_matrix_phone) as (party, phone, call):
        word, _, address = direction.partition(" at ")
        held = phone.rtp.sdp(("PCMU",), direction=word, address=address or None)
        reply = await party.asks("INVITE", held)
        assert f"a={'recvonly' if address else 'inactive'}" in reply.sdp
        reply = await party.asks("INVITE", phone.rtp.sdp(("PCMU",)))
        assert "a=sendrecv" in reply.sdp
        await call.voice.hears(1000)
        await phone.hears(440)


async def test_codec_address_and_stream_change(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    async with (
        AsyncExitStack() as phones,
        talking(stage, new_matrix_phone) as (party, phone, call),
    ):
        before = phone
        for number, (codec, hertz) in enumerate((("PCMA", 1300), ("G722", 700), ("PCMU", 1600))):
            after = await phones.enter_async_context(Sounding(codec, hertz, 0x3333 + number))
            reply = await party.asks("INVITE", after.rtp.sdp((codec,)))
            assert reply.status == 200
            after.speak_to(reply.sdp)
            if before is not phone:
                await before.stop()
            await call.voice.hears(hertz)
            await after.hears(440)
            before = after
        reply = await party.asks("INVITE", phone.rtp.sdp(("PCMU",)))
        await before.stop()
        await call.voice.hears(1000)


async def test_what_is_not_wanted_is_declined_in_its_place_and_fax_refused(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    async with talking(stage, new_matrix_phone) as (party, phone, call):
        more = "m=video 6000 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
        more += "m=text 6002 RTP/AVP 98\r\na=rtpmap:98 t140/1000\r\n"
        reply = await party.asks("INVITE", phone.rtp.sdp(("PCMU",)) + more)
        assert reply.status == 200
        kinds = [line.split()[:2] for line in reply.sdp.splitlines() if line[:2] == "m="]
        assert [kind for kind, _ in kinds] == ["m=audio", "m=video", "m=text"]
        assert [port == "0" for _, port in kinds] == [False, True, True]
        before, _, _ = phone.rtp.sdp(("PCMU",)).partition("m=audio")
        fax = f"{before}m=image 6004 udptl t38\r\na=T38FaxVersion:0\r\n"
        reply = await party.asks("INVITE", fax)
        assert reply.status == 488
        await call.voice.hears(1000)
        await phone.hears(440)


async def test_offerless_offers_are_answered_with_what_is_in_use(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    async with (
        Sounding("PCMU", 1500, 0x2222) as music,
        talking(stage, new_matrix_phone) as (party, phone, call),
    ):
        reply = await party.asks("INVITE", ack=music.rtp.sdp(("PCMU",)))
        assert reply.status == 200
        assert "m=audio" in reply.sdp
        music.speak_to(reply.sdp)
        await call.voice.hears(1500)
        await music.hears(440)
        await music.stop()
        await party.asks("UPDATE", phone.rtp.sdp(("PCMU",)))
        await call.voice.hears(1000)
