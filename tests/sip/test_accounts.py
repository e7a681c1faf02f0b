# SPDX-License-Identifier: GPL-3.0-or-later
"""Trunks that come and go while the bridge runs, with sipp as their registrar."""

import asyncio
import itertools
import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge.call.commands import AnswerSip, ByeSip, RejectSip
from bridge.call.events import SipConfirmed, SipEnded, SipInviteReceived
from bridge.call.ids import TrunkName
from bridge.errors import ConfigurationError, LocalError
from bridge.sip.trunks import RegistrationState
from tests.simulators.waiting import until
from tests.sip.phone import CALL, Bridge, Sipp, description, trunk

pytestmark = pytest.mark.e2e

ACCOUNT = TrunkName("account:@person:mx.test")


def folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


async def test_account_registers_is_called_and_leaves(tmp_path: Path) -> None:
    async with Bridge({}) as bridge, Sipp("registrar", folder(tmp_path, "registrar")) as registrar:
        settings = trunk(registrar.port, register=True)
        await bridge.sip.add_trunk(ACCOUNT, settings, personal=True)
        # The registrar may have answered already.
        first = bridge.sip.registrations()[ACCOUNT].state
        assert first in {RegistrationState.TRYING, RegistrationState.REGISTERED}
        assert (await bridge.registration()).state is RegistrationState.REGISTERED
        line = re.search(r"Contact: <[^>]*(;line=\w+)", registrar.messages())
        assert line
        keys = {"status": "486", "line": line[1]}
        async with Sipp(
            "caller_is_refused", folder(tmp_path, "in"), calls=bridge.port, keys=keys
        ) as phone:
            invite = await bridge.expect(SipInviteReceived)
            assert invite.trunk == ACCOUNT
            bridge.sip.do(RejectSip(call=CALL, leg=invite.leg, status=486))
            await bridge.expect(SipEnded)
            await phone.succeeds()
        await bridge.sip.remove_trunk(ACCOUNT)
        await registrar.succeeds()
        assert "Expires: 0" in registrar.messages()
        assert bridge.sip.registrations() == {}
        keys["status"] = "403"
        async with Sipp(
            "caller_is_refused", folder(tmp_path, "late"), calls=bridge.port, keys=keys
        ) as phone:
            await phone.succeeds()
        assert bridge.registrations.empty()


async def test_call_goes_on_when_its_account_is_removed(tmp_path: Path) -> None:
    async with Bridge({}) as bridge:
        for turn in ("first", "second"):
            await bridge.sip.add_trunk(ACCOUNT, trunk(9))
            home = folder(tmp_path, turn)
            async with Sipp("caller_waits_for_bye", home, calls=bridge.port) as phone:
                leg = (await bridge.expect(SipInviteReceived)).leg
                bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
                await bridge.expect(SipConfirmed)
                await bridge.sip.remove_trunk(ACCOUNT)
                bridge.sip.do(ByeSip(call=CALL, leg=leg))
                assert not (await bridge.expect(SipEnded)).remote
                await phone.succeeds()


async def test_many_accounts_come_and_go(tmp_path: Path) -> None:
    names = [TrunkName(f"account:@p{number}:mx.test") for number in range(250)]
    async with Bridge({}) as bridge:
        for turn in ("once", "again"):
            async with Sipp("registrar_of_many", folder(tmp_path, turn), times=250) as registrar:
                settings = trunk(registrar.port, register=True)
                await asyncio.gather(*(bridge.sip.add_trunk(name, settings) for name in names))
                await until(
                    lambda: all(
                        each.state is RegistrationState.REGISTERED
                        for each in bridge.sip.registrations().values()
                    ),
                    what="all are registered",
                )
                assert len(bridge.sip.registrations()) == 250
                await asyncio.gather(*(bridge.sip.remove_trunk(name) for name in names))
                await registrar.succeeds()
                assert bridge.sip.registrations() == {}


async def add_for_ever(bridge: Bridge) -> None:
    names = (TrunkName(f"account:@p{number}:mx.test") for number in itertools.count())
    while some := [*itertools.islice(names, 50)]:
        await asyncio.gather(*(bridge.sip.add_trunk(name, trunk(9)) for name in some))


async def test_no_room_for_another_account() -> None:
    async with Bridge({}) as bridge:
        with pytest.raises(LocalError, match="takes no account"):
            await add_for_ever(bridge)
        first, *others = list(bridge.sip.registrations())
        assert len(others) >= 250
        await bridge.sip.remove_trunk(first)
        await bridge.sip.add_trunk(TrunkName("other"), trunk(9))


async def test_wrong_password_is_told_with_the_status(tmp_path: Path) -> None:
    async with Bridge({}, pause=lambda *_: 3600.0) as bridge:
        async with Sipp("registrar_refuses", tmp_path) as registrar:
            await bridge.sip.add_trunk(ACCOUNT, trunk(registrar.port, register=True))
            state = await bridge.registration()
            assert (state.state, state.status) == (RegistrationState.FAILED, 403)
            await registrar.succeeds()
        await bridge.sip.remove_trunk(ACCOUNT)
        await bridge.sip.remove_trunk(ACCOUNT)


async def test_trunks_that_cannot_be_added() -> None:
    async with Bridge({}) as bridge:
        await bridge.sip.add_trunk(ACCOUNT, trunk(9))
        with pytest.raises(ConfigurationError, match="there is a trunk"):
            await bridge.sip.add_trunk(ACCOUNT, trunk(9))
        with pytest.raises(ConfigurationError, match="no such listener"):
            await bridge.sip.add_trunk(TrunkName("other"), trunk(9, transport="tls"))
        assert set(bridge.sip.registrations()) == {ACCOUNT}
    with pytest.raises(LocalError, match="does not run"):
        await bridge.sip.add_trunk(TrunkName("late"), trunk(9))


async def test_server_without_an_address_that_can_be_reached_from_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look_up(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", ("2001:db8::1", 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    settings = trunk(9).model_copy(update={"server": "six.test"})
    with capture_logs() as logs:
        async with Bridge({}) as bridge:
            await bridge.sip.add_trunk(ACCOUNT, settings)
            assert not bridge.sip.has_address(ACCOUNT)
            assert not bridge.sip.has_address(TrunkName("other"))
    told = [entry["trunk"] for entry in logs if entry["event"] == "trunk's server has no address"]
    assert told == [ACCOUNT]
