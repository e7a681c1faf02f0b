# SPDX-License-Identifier: GPL-3.0-or-later
"""Trunks whose settings change while the bridge runs; their calls go on."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr

from bridge.call.commands import AnswerSip, ByeSip, RejectSip
from bridge.call.events import SipConfirmed, SipEnded, SipInviteReceived
from bridge.call.ids import LegId, TrunkName
from bridge.config import Sip, SipTransport
from bridge.errors import ConfigurationError
from bridge.sip.messages import Message
from bridge.sip.trunks import RegistrationState
from tests.simulators.waiting import until
from tests.sip.phone import CALL, LOCALHOST, TRUNK, Bridge, Sipp, description, trunk
from tests.sip.test_registrars import challenge, is_proven
from tests.sip.udp_peer import Answer, UdpPeer

pytestmark = pytest.mark.e2e

REGISTERED: Final = RegistrationState.REGISTERED
LINE: Final = re.compile(r";line=(\w+)")


class Registrar(UdpPeer):
    """Grants what is asked for, once it was proven."""

    def __init__(self) -> None:
        super().__init__(self._grant)

    def _grant(self, request: Message) -> Answer:
        if request.method != "REGISTER":
            return (200, ())
        if not request.first("authorization"):
            return (401, (challenge("MD5"),))
        return (200, (f"Contact: {request.first('contact')};expires=60",))

    @property
    def proven(self) -> list[Message]:
        """The REGISTERs with credentials."""
        return [request for request in self.requests if request.first("authorization")]

    def lines(self) -> list[str]:
        """The marks that we were known by, in order."""
        found = (LINE.search(request.first("contact")) for request in self.proven)
        return list(dict.fromkeys(mark[1] for mark in found if mark))

    def left(self) -> bool:
        """Whether we have unregistered."""
        return any(request.first("expires") == "0" for request in self.proven)


def folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


@asynccontextmanager
async def talking(bridge: Bridge, directory: Path, line: str = "") -> AsyncIterator[LegId]:
    """A call that came in; at the end we hang up, and the caller hears that."""
    keys = {"line": f";line={line}" if line else ""}
    async with Sipp("caller_waits_for_bye", directory, calls=bridge.port, keys=keys) as phone:
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
        await bridge.expect(SipConfirmed)
        yield leg
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        assert not (await bridge.expect(SipEnded)).remote
        await phone.succeeds()


async def refused(bridge: Bridge, directory: Path, status: int, line: str = "") -> None:
    """A call that comes in is refused, and nobody hears of it."""
    keys = {"status": str(status), "line": f";line={line}" if line else ""}
    async with Sipp("caller_is_refused", directory, calls=bridge.port, keys=keys) as phone:
        await phone.succeeds()
    assert bridge.nothing_more()


async def test_other_credentials_register_anew_by_the_same_contact(tmp_path: Path) -> None:
    async with Registrar() as registrar:
        before = trunk(registrar.port, register=True)
        async with Bridge({TRUNK: before}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            async with talking(bridge, folder(tmp_path, "call"), registrar.lines()[0]):
                after = before.model_copy(update={"password": SecretStr("another")})
                await bridge.sip.change_trunk(TRUNK, after)
                await until(
                    lambda: is_proven(registrar.proven[-1], "another"), what="registered anew"
                )
            assert len(registrar.lines()) == 1
            assert not registrar.left()
            assert bridge.sip.registrations()[TRUNK].state is REGISTERED


async def test_another_registrar_is_registered_with_when_the_former_was_left(
    tmp_path: Path,
) -> None:
    async with Registrar() as former, Registrar() as latter:
        async with Bridge({TRUNK: trunk(former.port, register=True)}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            async with talking(bridge, folder(tmp_path, "call"), former.lines()[0]):
                await bridge.sip.change_trunk(TRUNK, trunk(latter.port, register=True))
                assert (await bridge.registration()).state is REGISTERED
                assert former.left()
                assert former.lines() != latter.lines()
            async with talking(bridge, folder(tmp_path, "again"), latter.lines()[0]):
                pass
            assert not latter.left()
        assert latter.left()


async def test_trunk_that_is_used_no_more_stays_registered_while_it_has_a_call(
    tmp_path: Path,
) -> None:
    async with Registrar() as registrar:
        async with Bridge({TRUNK: trunk(registrar.port, register=True)}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            (line,) = registrar.lines()
            async with talking(bridge, folder(tmp_path, "call"), line):
                bridge.sip.retire_trunk(TRUNK)
                bridge.sip.retire_trunk(TRUNK)
                await refused(bridge, folder(tmp_path, "meanwhile"), 503, line)
                assert await bridge.sip.send_message(TRUNK, "+12025550123", "Hello") == 503
                assert not registrar.left()
            await until(registrar.left, what="unregistered")
            await until(lambda: not bridge.sip.registrations(), what="forgotten")
            await refused(bridge, folder(tmp_path, "late"), 403, line)


async def test_trunk_that_was_about_to_go_is_wanted_again(tmp_path: Path) -> None:
    async with Registrar() as registrar:
        settings = trunk(registrar.port, register=True)
        async with Bridge({TRUNK: settings}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            (line,) = registrar.lines()
            async with talking(bridge, folder(tmp_path, "call"), line):
                bridge.sip.retire_trunk(TRUNK)
                await bridge.sip.add_trunk(TRUNK, settings)
            async with talking(bridge, folder(tmp_path, "again"), line):
                pass
            assert not registrar.left()


async def test_calls_by_another_address_are_the_trunks_at_once(tmp_path: Path) -> None:
    elsewhere = trunk(9).model_copy(update={"server": "192.0.2.1:5060"})
    async with Bridge({TRUNK: elsewhere}) as bridge:
        await refused(bridge, folder(tmp_path, "before"), 403)
        await bridge.sip.change_trunk(TRUNK, trunk(9))
        async with talking(bridge, folder(tmp_path, "call")):
            await bridge.sip.change_trunk(TRUNK, elsewhere)
            await refused(bridge, folder(tmp_path, "after"), 403)


async def test_change_that_cannot_be_leaves_all_as_it_was(tmp_path: Path) -> None:
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        with pytest.raises(ConfigurationError, match="no such listener"):
            await bridge.sip.change_trunk(TRUNK, trunk(9, transport="tls"))
        async with talking(bridge, folder(tmp_path, "call")):
            pass


async def test_probes_begin_and_end(tmp_path: Path) -> None:
    async with Registrar() as peer, Bridge({TRUNK: trunk(peer.port)}) as bridge:
        probing = trunk(peer.port).model_copy(update={"probe_interval": 0.1})
        await bridge.sip.change_trunk(TRUNK, probing)
        assert (await bridge.registration()).state is RegistrationState.ANSWERS
        faster = probing.model_copy(update={"probe_interval": 0.05})
        await bridge.sip.change_trunk(TRUNK, faster)
        asked = len(peer.requests)
        await until(lambda: len(peer.requests) > asked + 2, what="asked again")
        await bridge.sip.change_trunk(TRUNK, trunk(peer.port))
        assert bridge.sip.registrations()[TRUNK].state is RegistrationState.NOT_USED


async def test_how_many_calls_there_may_be(tmp_path: Path) -> None:
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        listener = SipTransport(listen=LOCALHOST, port=bridge.port)
        bridge.sip.use(Sip(transports=(listener,), max_calls=1))
        async with talking(bridge, folder(tmp_path, "call")):
            for most, full, status in ((1, True, 503), (2, False, 486)):
                bridge.sip.use(Sip(transports=(listener,), max_calls=most))
                at = folder(tmp_path, str(most))
                keys = {"status": str(status)}
                async with Sipp("caller_is_refused", at, calls=bridge.port, keys=keys) as phone:
                    invite = await bridge.expect(SipInviteReceived)
                    assert invite.full is full
                    bridge.sip.do(RejectSip(call=CALL, leg=invite.leg, status=status))
                    await bridge.expect(SipEnded)
                    await phone.succeeds()


async def test_unknown_trunk_does_not_go() -> None:
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        bridge.sip.retire_trunk(TrunkName("nobody"))
        assert list(bridge.sip.registrations()) == [TRUNK]
