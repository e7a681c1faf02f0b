# SPDX-License-Identifier: GPL-3.0-or-later
"""OPTIONS that tell whether a trunk is there."""

import asyncio
from typing import Final

import pytest

from bridge.config import Trunk
from bridge.sip.trunks import Registration, RegistrationState
from tests.simulators.nameserver import NameServer
from tests.sip.phone import LOCALHOST, TRUNK, Bridge, trunk
from tests.sip.udp_peer import UdpPeer

pytestmark = pytest.mark.e2e

ANSWERS: Final = RegistrationState.ANSWERS
SILENT: Final = RegistrationState.SILENT


class Peer(UdpPeer):
    """Answers OPTIONS with `status`, or not at all (0)."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(lambda request: (self.status, ()) if self.status else None)
        self.status = status


def probed(port: int, **settings: object) -> Trunk:
    update = {"probe_interval": 0.2, "answer_within": 1.0, **settings}
    return trunk(port).model_copy(update=update)


@pytest.mark.parametrize("status", [200, 404, 405, 500])
async def test_any_answer_means_that_somebody_is_there(status: int) -> None:
    async with Peer(status) as peer, Bridge({TRUNK: probed(peer.port)}) as bridge:
        assert bridge.sip.registrations()[TRUNK].usable
        assert await bridge.registration() == Registration(ANSWERS, status, "Whatever")
        assert peer.requests[0].start == f"OPTIONS sip:{LOCALHOST} SIP/2.0"


async def test_trunk_is_lost_and_comes_back() -> None:
    async with Peer() as peer, Bridge({TRUNK: probed(peer.port)}) as bridge:
        assert (await bridge.registration()).state is ANSWERS
        peer.status = 0
        assert await bridge.registration() == Registration(SILENT, 408, "No answer")
        assert not bridge.sip.registrations()[TRUNK].usable
        peer.status = 503
        assert await bridge.registration() == Registration(SILENT, 503, "Whatever")
        peer.status = 200
        assert (await bridge.registration()).state is ANSWERS


async def test_another_server_of_the_trunk_will_do() -> None:
    async with Peer(0) as first, Peer() as second, NameServer() as names:
        names.say("host.example.com", "A", LOCALHOST)
        records = [
            f"{at} 1 {peer.port} host.example.com." for at, peer in enumerate((first, second))
        ]
        names.say("_sip._udp.example.com", "SRV", *records)
        settings = probed(9, server="example.com")
        async with Bridge({TRUNK: settings}, nameservers=(names.address,)) as bridge:
            assert (await bridge.registration()).state is ANSWERS
            assert first.requests
            assert second.requests


async def test_nothing_is_asked_unless_it_is_wanted() -> None:
    async with Peer() as peer, Bridge({TRUNK: trunk(peer.port)}) as bridge:
        await asyncio.sleep(0.2)  # It would have been asked at the start.
        assert bridge.sip.registrations()[TRUNK].state is RegistrationState.NOT_USED
        assert peer.requests == []


async def test_trunk_without_an_address_is_lost() -> None:
    async with NameServer() as names:
        settings = probed(9, server="nowhere.example.com")
        async with Bridge({TRUNK: settings}, nameservers=(names.address,)) as bridge:
            assert await bridge.registration() == Registration(SILENT, 408, "Unknown server")
