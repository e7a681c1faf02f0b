# SPDX-License-Identifier: GPL-3.0-or-later
"""REFER, redirection, and other parties at the far end, with sipp as that."""

from pathlib import Path

import pytest

from bridge.call.commands import AnswerSip, ByeSip, ReferSip, RejectSip
from bridge.call.events import (
    SipAnswered,
    SipConfirmed,
    SipEnded,
    SipIdentityChanged,
    SipInviteReceived,
    SipReferProgressed,
)
from bridge.call.ids import LegId, OpId
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, description, trunk

pytestmark = pytest.mark.e2e

OP = OpId(7)


@pytest.mark.parametrize(
    ("outcome", "status"), [("200 OK", 200), ("486 Busy Here", 486), ("180 Ringing", 408)]
)
async def test_transfer_is_told_as_it_goes(tmp_path: Path, outcome: str, status: int) -> None:
    keys = {"outcome": outcome, "refer_to": "sip:.12025550199@127.0.0.1"}
    async with (
        Sipp("callee_is_transferred", tmp_path, keys=keys) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        leg = bridge.call()
        assert (await bridge.expect(SipAnswered)).refers
        bridge.sip.do(ReferSip(call=CALL, leg=leg, op=OP, target="+12025550199"))
        accepted = await bridge.expect(SipReferProgressed)
        assert accepted == SipReferProgressed(leg=leg, op=OP, status=100)
        assert (await bridge.expect(SipReferProgressed)).status == 100
        assert (await bridge.expect(SipReferProgressed)).status == status
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_transfer_to_the_party_of_another_leg(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    keys = {"outcome": "200 OK", "refer_to": "sip:.*Replaces="}
    async with (
        Sipp("callee_is_transferred", first, keys=keys) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
        Sipp("caller_waits_for_bye", second, calls=bridge.port) as other,
    ):
        consulted = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(AnswerSip(call=CALL, leg=consulted, sdp=description()))
        await bridge.expect(SipConfirmed)
        leg = bridge.call()
        await bridge.expect(SipAnswered)
        refer = ReferSip(call=CALL, leg=leg, op=OP, target="+12025550111", replaces=consulted)
        bridge.sip.do(refer)
        statuses = [(await bridge.expect(SipReferProgressed)).status for _ in range(3)]
        assert statuses == [100, 100, 200]
        for each in (leg, consulted):
            bridge.sip.do(ByeSip(call=CALL, leg=each))
            await bridge.expect(SipEnded)
        await phone.succeeds()
        await other.succeeds()


async def test_transfer_that_is_refused(tmp_path: Path) -> None:
    async with (
        Sipp("callee_is_not_transferred", tmp_path) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        leg = bridge.call()
        assert not (await bridge.expect(SipAnswered)).refers
        gone = ReferSip(call=CALL, leg=leg, op=OpId(6), target="100", replaces=LegId("gone"))
        bridge.sip.do(gone)
        assert (await bridge.expect(SipReferProgressed)).status == 503
        bridge.sip.do(ReferSip(call=CALL, leg=leg, op=OP, target="100"))
        assert await bridge.expect(SipReferProgressed) == SipReferProgressed(
            leg=leg, op=OP, status=405
        )
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.nothing_more()


async def test_far_end_becomes_somebody_else(tmp_path: Path) -> None:
    async with (
        Sipp("callee_becomes_another", tmp_path) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        leg = bridge.call()
        await bridge.expect(SipAnswered)
        desk = await bridge.expect(SipIdentityChanged)
        assert (desk.leg, desk.address, desk.name) == (leg, "tel:+12025550142", "Front Desk")
        door = await bridge.expect(SipIdentityChanged)
        assert (door.address, door.name) == ("sip:door@pbx.example.org", "")
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_trunk_whose_word_does_not_count(tmp_path: Path) -> None:
    async with Sipp("callee_becomes_another", tmp_path) as phone:
        settings = trunk(phone.port).model_copy(update={"trust_identity": False})
        async with Bridge({TRUNK: settings}) as bridge:
            leg = bridge.call()
            await bridge.expect(SipAnswered)
            await phone.has_received("200", 1)
            bridge.sip.do(ByeSip(call=CALL, leg=leg))
            await bridge.expect(SipEnded)
            await phone.succeeds()


@pytest.mark.parametrize(
    ("contact", "uri"),
    [("+12025550177", "sip:+12025550177@127.0.0.1:9"), ("sip:me@pbx.test", "sip:me@pbx.test")],
)
async def test_caller_is_sent_elsewhere(tmp_path: Path, contact: str, uri: str) -> None:
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("caller_is_refused", tmp_path, calls=bridge.port, keys={"status": "302"}) as phone,
    ):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(RejectSip(call=CALL, leg=leg, status=302, contact=contact))
        ended = await bridge.expect(SipEnded)
        assert (ended.status, ended.remote) == (302, False)
        await phone.succeeds()
        answer = phone.messages().partition("SIP/2.0 302")[2].partition("\n\n")[0]
        assert f"Contact: <{uri}>" in answer
        assert answer.count("Contact:") == 1
        us = answer.partition("\nTo: ")[2].partition(">")[0]
        assert f"Diversion: {us}>;reason=unconditional" in answer
