# SPDX-License-Identifier: GPL-3.0-or-later
"""People's own SIP accounts; their passwords are sealed."""

from typing import Final, Literal, cast

import structlog
from mautrix.util.async_db import Database

from bridge.call.ids import UserId
from bridge.records import SipAccount
from bridge.store.secrets import Sealer, UnsealError

log = structlog.get_logger(__name__)

_COLUMNS: Final = "person, server, transport, username, domain, auth_username, password"


class SipAccounts:
    """At most one for each person."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def every(self) -> list[SipAccount]:
        """All of them; one whose password cannot be unsealed is left out, and logged."""
        rows = await self._database.fetch(f"SELECT {_COLUMNS} FROM account ORDER BY person")
        found = []
        for row in rows:
            try:
                password = self._sealer.unseal(row["password"], _place(row["person"]))
            except UnsealError:
                log.error("the password of a SIP account cannot be read", person=row["person"])
                continue
            account = SipAccount(
                person=UserId(row["person"]),
                server=row["server"],
                transport=cast(Literal["udp", "tcp", "tls"], row["transport"]),
                username=row["username"],
                domain=row["domain"],
                auth_username=row["auth_username"],
                password=password,
            )
            found.append(account)
        return found

    async def save(self, account: SipAccount) -> None:
        """Remember an account, in place of the one that the person had."""
        await self._database.execute(
            f"INSERT INTO account ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) "
            "ON CONFLICT (person) DO UPDATE SET server=excluded.server, "
            "transport=excluded.transport, username=excluded.username, "
            "domain=excluded.domain, auth_username=excluded.auth_username, "
            "password=excluded.password",
            account.person,
            account.server,
            account.transport,
            account.username,
            account.domain,
            account.auth_username,
            self._sealer.seal(account.password, _place(account.person)),
        )

    async def forget(self, person: UserId) -> None:
        """Forget a person's account; harmless if there is none."""
        await self._database.execute("DELETE FROM account WHERE person=$1", person)


def _place(person: str) -> str:
    """A sealed password opens for its person alone."""
    return f"account {person}"
