# SPDX-License-Identifier: GPL-3.0-or-later
"""Audio encrypted on both legs (SDES), with baresip, whose SRTP is its own."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from pylibsrtp import Error as SrtpError

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.sounding import Sounding
from tests.e2e.stage import KEYED, SECURE, GatedStage
from tests.simulators.baresip import Phone
from tests.simulators.matrix_phone import MatrixCall
from tests.simulators.rtp import RtpPeer
from tests.simulators.sip_party import SipParty
from tests.simulators.srtp import GCM_128, GCM_256, LONG_TAG, Sdes
from tests.simulators.stage import Line
from tests.simulators.waiting import PATIENCE, until_async

KINDS = pytest.mark.parametrize("encrypts", ["srtp", "srtp-mand", ""])
FEW = 2
"""baresip's first RTCP packet leaves before it has a key."""
THEIRS, OURS = LONG_TAG, GCM_256
"""What baresip offers, and what it chooses of our offer."""


@KINDS
async def test_a_telephone_calls(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, encrypts: str
) -> None:
    person, callee = await new_matrix_phone()
    async with stage.phone(KEYED, encrypts=encrypts) as phone:
        await phone.dial(stage.uri(person))
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.hang_up()
        await call.ended()
    statistics = (await stage.bridge.ended(person.user_id)).statistics
    assert statistics.get("sip_srtp") == (THEIRS if encrypts else None)
    assert statistics["matrix_srtp"]
    assert statistics["sip_undecipherable"] <= FEW


@pytest.mark.parametrize("encrypts", ["srtp", ""])
async def test_a_telephone_is_called_held_and_resumed(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, encrypts: str
) -> None:
    person, caller = await new_matrix_phone()
    async with stage.phone(KEYED, encrypts=encrypts) as phone:
        call = await caller.call(await caller.client.direct_room(KEYED.ghost))
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.command("hold")
        await until_async(partial(is_silent, call), what="the client hears silence")
        await phone.command("resume")
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    statistics = (await stage.bridge.ended(person.user_id)).statistics
    assert statistics.get("sip_srtp") == (OURS if encrypts else None)
    assert statistics["sip_undecipherable"] <= FEW
    assert "inline:" not in stage.bridge.output().replace("inline:…", "")


async def test_by_tls_a_telephone_is_called(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    async with secure_phone(stage, SECURE) as phone:
        call = await caller.call(await caller.client.direct_room(SECURE.ghost))
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).statistics["sip_srtp"] == OURS


async def test_by_tls_a_telephone_calls(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone()
    async with secure_phone(stage, SECURE) as phone:
        await phone.dial(f"sip:{person.number}@127.0.0.1:{stage.sips_port};transport=tls")
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.hang_up()
        await call.ended()
    assert (await stage.bridge.ended(person.user_id)).statistics["sip_srtp"] == THEIRS


@pytest.mark.parametrize(("first", "second"), [(GCM_256, GCM_128), (LONG_TAG, GCM_256)])
async def test_a_telephone_changes_its_keys_within_the_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, first: str, second: str
) -> None:
    person, caller = await new_matrix_phone()
    async with (
        Sounding("PCMU", 1000, 0x4444, address=KEYED.address) as phone,
        SipParty(KEYED.address, KEYED.port) as party,
    ):
        call = await caller.call(await caller.client.direct_room(KEYED.ghost))
        offer = await party.rings()
        keys = Sdes(phone.rtp, first, tag=tag_in(offer, first))
        keys.follow(offer)
        await party.answers(phone.rtp.sdp(crypto=[keys.line]))
        phone.speak_to(offer)
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        renewed = Sdes(phone.rtp, second)
        overlooks_what_it_cannot_read(phone.rtp)
        reply = await party.asks(
            "INVITE", phone.rtp.sdp(protocol="RTP/SAVP", crypto=[renewed.line])
        )
        renewed.follow(reply.sdp)
        overlooks_what_it_cannot_read(phone.rtp)
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await asyncio.wait_for(party.hung_up.wait(), PATIENCE)
    statistics = (await stage.bridge.ended(person.user_id)).statistics
    assert statistics["sip_srtp"] == second
    assert statistics["sip_undecipherable"] == 0


def tag_in(sdp: str, suite: str) -> int:
    """The tag of a suite's line."""
    (line,) = (one for one in sdp.splitlines() if one.startswith("a=crypto") and suite in one)
    return int(line.partition(":")[2].split()[0])


def overlooks_what_it_cannot_read(rtp: RtpPeer) -> None:
    """While keys change, some packets come with the other one."""

    def wrapped(read: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        def overlook(data: bytes) -> bytes:
            try:
                return read(data)
            except SrtpError:
                return data

        return overlook

    rtp.unprotect, rtp.unprotect_rtcp = wrapped(rtp.unprotect), wrapped(rtp.unprotect_rtcp)


async def is_silent(call: MatrixCall) -> bool:
    """Whether nothing comes for a while, or nothing but silence."""
    before = (await call.voice.statistics()).received
    await asyncio.sleep(0.3)
    return (await call.voice.statistics()).received == before or call.voice.tone().rms < 0.002


def secure_phone(stage: GatedStage, line: Line) -> Phone:
    """A telephone that speaks TLS and encrypts."""
    return stage.phone(line, encrypts="srtp-mand", certificate=stage.certificate)
