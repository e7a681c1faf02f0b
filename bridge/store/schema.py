# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables, one migration per version; a migration that was released never changes."""

from mautrix.util.async_db import Connection, Scheme, UpgradeTable

VERSION_TABLE = "matrix_sip_version"


async def _first(connection: Connection, scheme: Scheme) -> None:
    """Portals, ghosts, seen events, calls and their ladders."""
    await connection.execute(
        """
        CREATE TABLE portal (
            room    TEXT PRIMARY KEY,
            person  TEXT NOT NULL,
            address TEXT NOT NULL,
            UNIQUE (person, address)
        )
        """
    )
    await connection.execute(
        "CREATE TABLE ghost (address TEXT PRIMARY KEY, display_name TEXT NOT NULL)"
    )
    await connection.execute(
        "CREATE TABLE seen_event (event_id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL)"
    )
    await connection.execute("CREATE INDEX seen_event_at ON seen_event (at)")
    await connection.execute(
        """
        CREATE TABLE call (
            call           TEXT PRIMARY KEY,
            direction      TEXT NOT NULL,
            person         TEXT NOT NULL,
            address        TEXT NOT NULL,
            trunk          TEXT NOT NULL,
            started_at     DOUBLE PRECISION NOT NULL,
            answered_at    DOUBLE PRECISION,
            ended_at       DOUBLE PRECISION,
            room           TEXT,
            matrix_call_id TEXT,
            matrix_version INTEGER,
            party          TEXT,
            sip_call_id    TEXT,
            sip_dialog     TEXT,
            cause          TEXT,
            status         INTEGER,
            ended_by       TEXT,
            statistics     TEXT NOT NULL DEFAULT '{}'
        )
        """
    )
    await connection.execute("CREATE INDEX call_started_at ON call (started_at)")
    await connection.execute("CREATE INDEX call_unfinished ON call (call) WHERE ended_at IS NULL")
    # SQLite numbers the rows of an INTEGER PRIMARY KEY itself.
    number = "INTEGER" if scheme == Scheme.SQLITE else "BIGINT GENERATED ALWAYS AS IDENTITY"
    await connection.execute(
        f"""
        CREATE TABLE ladder (
            line      {number} PRIMARY KEY,
            call      TEXT NOT NULL,
            at        DOUBLE PRECISION NOT NULL,
            leg       TEXT NOT NULL,
            direction TEXT NOT NULL,
            summary   TEXT NOT NULL,
            detail    TEXT NOT NULL
        )
        """
    )
    await connection.execute("CREATE INDEX ladder_call ON ladder (call)")
    await connection.execute("CREATE INDEX ladder_at ON ladder (at)")


async def _secrets(connection: Connection, _: Scheme) -> None:
    """What tells whether the key of the configuration opens the secrets in the database."""
    await connection.execute(
        """
        CREATE TABLE secret_check (
            id     INTEGER PRIMARY KEY,
            salt   TEXT NOT NULL,
            sealed TEXT NOT NULL
        )
        """
    )


async def _bot(connection: Connection, _: Scheme) -> None:
    """Rooms with the bot, and what people chose there."""
    await connection.execute(
        """
        CREATE TABLE management_room (
            room   TEXT PRIMARY KEY,
            person TEXT NOT NULL,
            at     DOUBLE PRECISION NOT NULL
        )
        """
    )
    await connection.execute(
        """
        CREATE TABLE person_settings (
            person  TEXT PRIMARY KEY,
            dnd     BOOLEAN NOT NULL,
            forward TEXT
        )
        """
    )
    await connection.execute("CREATE INDEX call_person ON call (person, started_at)")


async def _accounts(connection: Connection, _: Scheme) -> None:
    """People's own SIP accounts; the passwords are sealed."""
    await connection.execute(
        """
        CREATE TABLE account (
            person        TEXT PRIMARY KEY,
            server        TEXT NOT NULL,
            transport     TEXT NOT NULL,
            username      TEXT NOT NULL,
            domain        TEXT NOT NULL,
            auth_username TEXT NOT NULL,
            password      TEXT NOT NULL
        )
        """
    )


async def _ringing(connection: Connection, _: Scheme) -> None:
    """Where a call rings that several people may answer, as JSON."""
    await connection.execute("ALTER TABLE call ADD COLUMN ringing TEXT NOT NULL DEFAULT '[]'")


async def _rang(connection: Connection, _: Scheme) -> None:
    """At whom else a call rang, for their histories."""
    await connection.execute(
        "CREATE TABLE rang (person TEXT, call TEXT, PRIMARY KEY (person, call))"
    )


async def _trunks_and_callers(connection: Connection, _: Scheme) -> None:
    """Trunks that could not carry a call, as JSON; who withholds their number."""
    await connection.execute("ALTER TABLE person_settings ADD COLUMN withhold BOOLEAN")
    await connection.execute("ALTER TABLE call ADD COLUMN attempts TEXT NOT NULL DEFAULT '[]'")


async def _whole_records(connection: Connection, _: Scheme) -> None:
    """More about each call, and where there was talk in calls that are now forgotten."""
    for column in ("rule", "reason", "detail"):
        await connection.execute(f"ALTER TABLE call ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    await connection.execute("ALTER TABLE call ADD COLUMN rang_at DOUBLE PRECISION")
    await connection.execute("ALTER TABLE portal ADD COLUMN talked BOOLEAN NOT NULL DEFAULT FALSE")
    await connection.execute("CREATE INDEX call_address ON call (address, started_at)")
    await connection.execute("CREATE INDEX rang_call ON rang (call)")


async def _quality(connection: Connection, _: Scheme) -> None:
    """How well each direction of a call was heard, every few seconds."""
    await connection.execute(
        """
        CREATE TABLE quality (
            call          TEXT NOT NULL,
            at            DOUBLE PRECISION NOT NULL,
            side          TEXT NOT NULL,
            packets       INTEGER NOT NULL,
            lost          INTEGER NOT NULL,
            lost_beyond   INTEGER NOT NULL,
            jitter_ms     DOUBLE PRECISION NOT NULL,
            round_trip_ms DOUBLE PRECISION,
            mos           DOUBLE PRECISION
        )
        """
    )
    await connection.execute("CREATE INDEX quality_call ON quality (call)")
    await connection.execute("CREATE INDEX quality_at ON quality (at)")


async def _provisioned(connection: Connection, _: Scheme) -> None:
    """Rules, as JSON, and permissions that programs have set."""
    await connection.execute(
        """
        CREATE TABLE provisioned_rule (
            kind     TEXT NOT NULL,
            name     TEXT NOT NULL,
            priority INTEGER NOT NULL,
            rule     TEXT NOT NULL,
            PRIMARY KEY (kind, name)
        )
        """
    )
    await connection.execute(
        "CREATE TABLE provisioned_permission (who TEXT PRIMARY KEY, level TEXT NOT NULL)"
    )


async def _voicemail(connection: Connection, _: Scheme) -> None:
    """Recordings that are to be posted, and what people chose for their voicemail."""
    await connection.execute(
        """
        CREATE TABLE voicemail (
            call        TEXT PRIMARY KEY,
            person      TEXT NOT NULL,
            address     TEXT NOT NULL,
            caller_name TEXT NOT NULL,
            file        TEXT NOT NULL,
            at          DOUBLE PRECISION NOT NULL
        )
        """
    )
    for column in ("voicemail", "greeting"):
        await connection.execute(
            f"ALTER TABLE person_settings ADD COLUMN {column} BOOLEAN NOT NULL DEFAULT FALSE"
        )
    await connection.execute(
        "ALTER TABLE person_settings ADD COLUMN voicemail_delay DOUBLE PRECISION"
    )


async def _refused(connection: Connection, _: Scheme) -> None:
    """How many attempts a record stands for, and where those that were refused came from."""
    await connection.execute("ALTER TABLE call ADD COLUMN times INTEGER NOT NULL DEFAULT 1")
    await connection.execute("ALTER TABLE call ADD COLUMN source TEXT NOT NULL DEFAULT ''")


async def _messages(connection: Connection, _: Scheme) -> None:
    """How long the message was that a caller left."""
    await connection.execute("ALTER TABLE call ADD COLUMN message_s DOUBLE PRECISION")


migrations = UpgradeTable(version_table_name=VERSION_TABLE, database_name="matrix-sip")
migrations.upgrades.append(_first)
migrations.upgrades.append(_secrets)
migrations.upgrades.append(_bot)
migrations.upgrades.append(_accounts)
migrations.upgrades.append(_ringing)
migrations.upgrades.append(_rang)
migrations.upgrades.append(_trunks_and_callers)
migrations.upgrades.append(_whole_records)
migrations.upgrades.append(_quality)
migrations.upgrades.append(_provisioned)
migrations.upgrades.append(_voicemail)
migrations.upgrades.append(_refused)
migrations.upgrades.append(_messages)
