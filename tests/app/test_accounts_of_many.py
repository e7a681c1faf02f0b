# SPDX-License-Identifier: GPL-3.0-or-later
"""As many people as a bridge may have, each with an account of their own: 256, and a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge.app import accounts as module
from bridge.app.accounts import PersonalAccounts, trunk_of
from bridge.call.commands import RejectSip, SendSipInvite
from bridge.call.events import SipEnded, SipInviteReceived
from bridge.call.ids import LegId, UserId
from bridge.config import Accounts
from bridge.records import SipAccount
from bridge.sip.messages import parse_name_addr, parse_uri
from bridge.store.accounts import SipAccounts
from bridge.store.database import open_database
from bridge.store.secrets import open_sealer
from tests.simulators.exchange import Exchange
from tests.simulators.waiting import until
from tests.sip.phone import CALL, Bridge, description

PEOPLE = 256
KEY = "the key of the configuration"


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[tuple[PersonalAccounts, Bridge]]:
    """A bridge as far as accounts are concerned, with what the run before left in the database."""
    async with open_database(f"sqlite:{path}") as database, Bridge({}) as bridge:
        accounts = PersonalAccounts(
            SipAccounts(database, await open_sealer(database, KEY)),
            allowed=lambda: Accounts(servers=("*",), mailboxes=False),
            may_use=lambda person: True,
        )
        bridge.observer = accounts.registered
        await accounts.load()
        accounts.start(bridge.sip, lambda person: None)
        yield accounts, bridge
        await accounts.stop()


def person(number: int) -> UserId:
    return UserId(f"@p{number}:mx.test")


async def meet(exchange: Exchange, bridge: Bridge, number: int) -> None:
    """Have an account called, and have it call."""
    exchange.call(f"p{number}")
    invite = await bridge.expect(SipInviteReceived)
    assert invite.trunk == trunk_of(person(number))
    bridge.sip.do(RejectSip(call=CALL, leg=invite.leg, status=480))
    await bridge.expect(SipEnded)
    bridge.sip.do(
        SendSipInvite(
            call=CALL,
            leg=LegId(f"leg{number}"),
            trunk=trunk_of(person(number)),
            target="100",
            caller="",
            caller_name="",
            sdp=description(),
        )
    )
    assert (await bridge.expect(SipEnded)).status == 486
    assert parse_uri(parse_name_addr(exchange.invites[-1].first("from")).uri).user == f"p{number}"


@pytest.mark.e2e
async def test_256_accounts_work_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STAGGER", 0.0)
    loop, path = asyncio.get_running_loop(), tmp_path / "bridge.db"
    transport, exchange = await loop.create_datagram_endpoint(Exchange, local_addr=("127.0.0.1", 0))
    async with open_database(f"sqlite:{path}") as database:
        store = SipAccounts(database, await open_sealer(database, KEY))
        for number in range(PEOPLE):
            account = SipAccount(
                person=person(number),
                server=f"127.0.0.1:{exchange.port}",
                transport="udp",
                username=f"p{number}",
                password=f"secret-of-{number}",
            )
            await store.save(account)
    for turn, wanted in enumerate((PEOPLE, PEOPLE - 1)):
        async with running(path) as (accounts, bridge):
            await until(lambda: accounts.working == wanted, within=60, what="all are registered")  # noqa: B023
            assert len(exchange.contacts) == wanted
            for number in (0, 77, PEOPLE - 2):
                await meet(exchange, bridge, number)
            if turn == 0:
                assert await accounts.logout(person(PEOPLE - 1))
        assert exchange.contacts == {}, "all have unregistered"
    transport.close()
    kept = path.read_bytes()  # closing it has emptied the write-ahead log
    assert b"p77" in kept
    assert b"secret-of-" not in kept
