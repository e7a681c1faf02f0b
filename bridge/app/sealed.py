# SPDX-License-Identifier: GPL-3.0-or-later
"""What the database keeps sealed: people's accounts, and what encrypted rooms are read with."""

from collections.abc import Callable

from mautrix.util.async_db import Database

from bridge.app.accounts import PersonalAccounts
from bridge.app.in_force import InForce
from bridge.call.ids import UserId
from bridge.config import Config, EncryptionMode
from bridge.matrix.encryption.ghosts import Keys
from bridge.store.accounts import SipAccounts
from bridge.store.secrets import Sealer, open_sealer


async def open_keys(config: Config, database: Database) -> Keys | None:
    """What encrypted rooms need; None where the settings want none. Raises ConfigurationError."""
    mode = config.encryption.mode
    if mode is EncryptionMode.OFF:
        return None
    return Keys(mode, database, await _sealer(config, database))


async def open_accounts(
    in_force: InForce,
    database: Database,
    may_use: Callable[[UserId], bool],
    tell: Callable[[UserId, str], None],
) -> PersonalAccounts:
    """Everybody's account, as it is kept. Raises ConfigurationError."""
    accounts = PersonalAccounts(
        SipAccounts(database, await _sealer(in_force.config, database)),
        allowed=lambda: in_force.config.accounts,
        may_use=may_use,
        tell=tell,
    )
    await accounts.load()
    return accounts


async def _sealer(config: Config, database: Database) -> Sealer:
    return await open_sealer(database, config.database.secret_key.get_secret_value())
