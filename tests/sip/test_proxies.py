# SPDX-License-Identifier: GPL-3.0-or-later
"""Registering with Kamailio, and calls through it."""

from pathlib import Path
from typing import Literal

import pytest

from bridge.call.commands import AnswerSip, ByeSip
from bridge.call.events import (
    SipAnswered,
    SipConfirmed,
    SipEnded,
    SipInviteReceived,
    SipProgressed,
)
from bridge.config import Trunk
from bridge.sip.trunks import RegistrationState
from tests.simulators.kamailio import DOMAIN, Kamailio
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, description, trunk

pytestmark = pytest.mark.e2e

ACCOUNTS = {"me-auth": "secret"}
REGISTERED = RegistrationState.REGISTERED


def account(port: int, **settings: object) -> Trunk:
    return trunk(port, register=True).model_copy(update={"domain": DOMAIN, **settings})


async def call_out(bridge: Bridge, phone: Sipp) -> None:
    leg = bridge.call()
    await bridge.expect(SipProgressed)
    await bridge.expect(SipAnswered)
    bridge.sip.do(ByeSip(call=CALL, leg=leg))
    await bridge.expect(SipEnded)
    await phone.succeeds()


async def be_called(bridge: Bridge, phone: Sipp) -> SipInviteReceived:
    invite = await bridge.expect(SipInviteReceived)
    bridge.sip.do(AnswerSip(call=CALL, leg=invite.leg, sdp=description()))
    await bridge.expect(SipConfirmed)
    await bridge.expect(SipEnded)
    await phone.succeeds()
    return invite


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_registers_by_digest(tmp_path: Path, algorithm: Literal["MD5", "SHA-256"]) -> None:
    async with Kamailio(tmp_path, accounts=ACCOUNTS, algorithm=algorithm) as kamailio:
        async with Bridge({TRUNK: account(kamailio.port)}) as bridge:
            assert (await bridge.registration()).state is REGISTERED


async def test_wrong_password_is_told(tmp_path: Path) -> None:
    async with Kamailio(tmp_path, accounts={"me-auth": "other"}) as kamailio:
        async with Bridge({TRUNK: account(kamailio.port)}, pause=lambda *_: 60.0) as bridge:
            assert (await bridge.registration()).status == 401


async def test_through_an_edge_with_path_and_a_proxy_that_stays_in_the_way(
    tmp_path: Path,
) -> None:
    out, back = tmp_path / "out", tmp_path / "in"
    out.mkdir()
    back.mkdir()
    async with (
        Kamailio(tmp_path / "core", accounts=ACCOUNTS) as core,
        Kamailio(tmp_path / "edge", next_hop=core.uri, address="127.0.0.2") as edge,
    ):
        settings = account(
            edge.port, server=DOMAIN, outbound_proxy=(f"{edge.address}:{edge.port}",)
        )
        async with Bridge({TRUNK: settings}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            (first, *_), (inside, *_) = edge.seen("REGISTER"), core.seen("REGISTER")
            assert first["supported"] == "path"
            assert first["route"] == f"<sip:{edge.address}:{edge.port};lr>"
            assert inside["source"] == f"{edge.address}:{edge.port}"
            async with Sipp(
                "caller_by_proxy",
                back,
                calls=core.port,
                address="127.0.0.3",
                keys={"domain": DOMAIN},
            ) as phone:
                invite = await be_called(bridge, phone)
            assert invite.dialled == "me"
            assert edge.seen("INVITE")[0]["source"] == f"{core.address}:{core.port}"
            assert len(edge.seen("BYE")) == 1


async def test_service_route_is_gone_by(tmp_path: Path) -> None:
    async with (
        Kamailio(tmp_path / "service", address="127.0.0.2") as service,
        Kamailio(tmp_path / "registrar", service_route=f"{service.uri};lr") as registrar,
        Sipp("callee_answers", tmp_path, address="127.0.0.3") as phone,
    ):
        settings = account(registrar.port, domain=f"127.0.0.3:{phone.port}")
        async with Bridge({TRUNK: settings}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            await call_out(bridge, phone)
        assert service.seen("INVITE")
