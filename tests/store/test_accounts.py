# SPDX-License-Identifier: GPL-3.0-or-later
"""People's own SIP accounts, in the database."""

from dataclasses import replace

import pytest
from mautrix.util.async_db import Database
from structlog.testing import capture_logs

from bridge.call.ids import UserId
from bridge.records import SipAccount
from bridge.store.accounts import SipAccounts
from bridge.store.secrets import open_sealer

ANN = SipAccount(
    person=UserId("@ann:mx.test"),
    server="sip.example.com:5070",
    transport="tls",
    username="ann",
    domain="example.com",
    auth_username="ann-auth",
    password="hunter22 ünïcode",
)
BEN = SipAccount(
    person=UserId("@ben:mx.test"),
    server="pbx.example.org",
    transport="udp",
    username="100",
    password="sesame",
)


@pytest.fixture
async def accounts(database: Database) -> SipAccounts:
    return SipAccounts(database, await open_sealer(database, "what nobody could ever guess"))


async def test_accounts_come_back_as_they_were(accounts: SipAccounts) -> None:
    assert await accounts.every() == []
    await accounts.save(BEN)
    await accounts.save(ANN)
    assert await accounts.every() == [ANN, BEN]


async def test_newer_account_takes_the_place_of_the_older(accounts: SipAccounts) -> None:
    await accounts.save(ANN)
    changed = replace(ANN, server="other.example.com", password="another")
    await accounts.save(changed)
    assert await accounts.every() == [changed]


async def test_forgotten_accounts_are_gone(accounts: SipAccounts) -> None:
    await accounts.save(ANN)
    await accounts.forget(ANN.person)
    await accounts.forget(ANN.person)
    assert await accounts.every() == []


async def test_passwords_are_neither_stored_nor_shown(
    accounts: SipAccounts, database: Database
) -> None:
    await accounts.save(ANN)
    row = await database.fetchrow("SELECT * FROM account")
    assert row is not None
    assert "hunter22" not in str(dict(row))
    assert "hunter22" not in repr(ANN)


async def test_password_moved_to_somebody_else_does_not_open(
    accounts: SipAccounts, database: Database
) -> None:
    await accounts.save(ANN)
    await accounts.save(BEN)
    sealed = await database.fetchval("SELECT password FROM account WHERE person=$1", ANN.person)
    await database.execute("UPDATE account SET password=$1 WHERE person=$2", sealed, BEN.person)
    with capture_logs() as logs:
        assert await accounts.every() == [ANN]
    assert [entry["person"] for entry in logs] == [BEN.person]
