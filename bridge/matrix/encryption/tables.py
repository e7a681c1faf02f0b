# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of encryption: mautrix's, made safe for many accounts, and our own."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from mautrix.crypto import PgCryptoStore
from mautrix.crypto.sessions import OutboundGroupSession
from mautrix.types import DeviceIdentity
from mautrix.util.async_db import Connection, Database, Scheme, UpgradeTable

from bridge.call.ids import RoomId, UserId


async def _first(connection: Connection, _: Scheme) -> None:
    """Our users' devices; and with which devices each room's current key was shared."""
    await connection.execute(
        """
        CREATE TABLE own_device (
            user_id      TEXT PRIMARY KEY,
            device_id    TEXT NOT NULL,
            sealed_seeds TEXT,
            ready        BOOLEAN NOT NULL
        )
        """
    )
    await connection.execute(
        """
        CREATE TABLE room_key_share (
            account_id TEXT,
            room_id    TEXT,
            session_id TEXT NOT NULL,
            devices    TEXT NOT NULL,
            missed     BOOLEAN NOT NULL,
            PRIMARY KEY (account_id, room_id)
        )
        """
    )


migrations = UpgradeTable(
    version_table_name="matrix_sip_encryption_version", database_name="matrix-sip encryption"
)
migrations.upgrades.append(_first)


VERSIONED: tuple[UpgradeTable, ...] = (PgCryptoStore.upgrade_table, migrations)


async def upgrade(database: Database) -> None:
    """Bring the tables of encryption to their newest version."""
    for each in VERSIONED:
        await each.upgrade(database)


@dataclass(frozen=True, slots=True)
class OwnDevice:
    """The device of one of our users. `sealed_seeds` makes its cross-signing keys."""

    user: UserId
    device: str
    sealed_seeds: str | None = None
    ready: bool = False


class OwnDevices:
    """Which of our users have which device."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user: UserId) -> OwnDevice | None:
        """The user's device, if it was ever begun."""
        row = await self._database.fetchrow("SELECT * FROM own_device WHERE user_id=$1", user)
        if row is None:
            return None
        return OwnDevice(user, row["device_id"], row["sealed_seeds"], bool(row["ready"]))

    async def put(self, own: OwnDevice) -> None:
        """Remember how far the device is."""
        await self._database.execute(
            "INSERT INTO own_device (user_id, device_id, sealed_seeds, ready)"
            " VALUES ($1, $2, $3, $4) ON CONFLICT (user_id) DO UPDATE SET"
            " device_id=excluded.device_id, sealed_seeds=excluded.sealed_seeds,"
            " ready=excluded.ready",
            own.user,
            own.device,
            own.sealed_seeds,
            own.ready,
        )


class AccountStore(PgCryptoStore):
    """One user's keys.

    mautrix keeps the device lists of people in tables that all accounts share, and tells only the
    account that fetched a list of its change. So every key remembers with which devices it was
    shared, and what counts is whether that is still all of them.
    """

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:  # type: ignore[override]  # says Never
        """None: mautrix would hold a connection while it waits for another (in `_fetch_keys`).

        As many of those at once as the pool has connections would wait for ever. What belongs
        together, the devices of a user, is written in a transaction of its own.
        """
        yield

    async def save_share(
        self, session: OutboundGroupSession, devices: Iterable[DeviceIdentity], *, missed: bool
    ) -> None:
        """The session is now the room's, and these devices were meant to have it.

        `missed` says that some of them could not be given it.
        """
        await self.add_outbound_group_session(session)
        await self.db.execute(
            "INSERT INTO room_key_share (account_id, room_id, session_id, devices, missed)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account_id, room_id) DO UPDATE SET"
            " session_id=excluded.session_id, devices=excluded.devices, missed=excluded.missed",
            self.account_id,
            session.room_id,
            session.id,
            _names(devices),
            missed,
        )

    async def shared_session(
        self, room: RoomId, devices: Iterable[DeviceIdentity], *, complete: bool
    ) -> OutboundGroupSession | None:
        """The room's session if exactly these devices were given it, and it can still be used.

        With `complete`, only if all of them could be given it.
        """
        row = await self.db.fetchrow(
            "SELECT session_id, devices, missed FROM room_key_share"
            " WHERE account_id=$1 AND room_id=$2",
            self.account_id,
            room,
        )
        session = cast(Any, await self.get_outbound_group_session(cast(Any, room)))
        if row is None or session is None or session.id != row["session_id"]:
            return None
        if row["devices"] != _names(devices) or (complete and row["missed"]):
            return None
        return None if session.expired or not session.shared else session


def _names(devices: Iterable[DeviceIdentity]) -> str:
    """A set of devices as text: a device that takes another's id has other keys."""
    return json.dumps(sorted([str(each.user_id), str(each.identity_key)] for each in devices))
