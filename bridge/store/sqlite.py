# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite's connections, of which none is handed on with a transaction that somebody left open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from mautrix.util.async_db.aiosqlite import SQLiteDatabase, TxnConnection
from mautrix.util.async_db.connection import LoggingConnection

log = structlog.get_logger(__name__)


class SqlitePool(SQLiteDatabase):
    """As its base, which rolls back what an exception ends, but not what is cancelled.

    Such a connection would go back with the lock for writing, and everybody else would wait for it
    until they time out.
    """

    _mending: set[asyncio.Task[None]] | None = None

    @asynccontextmanager
    async def _acquire(self) -> AsyncIterator[LoggingConnection]:  # type: ignore[override]
        if self._stopped:
            raise RuntimeError("database pool has been stopped")
        connection = await self._pool.get()
        try:
            yield LoggingConnection(self.scheme, connection, self.log)
        except asyncio.CancelledError:
            # In a task of its own: whoever is cancelled cannot wait.
            self._mending = self._mending or set()
            task = asyncio.create_task(self._mend(connection), name="sqlite-rollback")
            self._mending.add(task)
            task.add_done_callback(self._mending.discard)
            raise
        except BaseException:
            self._pool.put_nowait(connection)
            raise
        else:
            self._pool.put_nowait(connection)

    async def _mend(self, connection: TxnConnection) -> None:
        """Roll back, after the statement that is under way: the thread goes on with that."""
        try:
            await connection.rollback()
        except Exception:
            log.exception("a transaction that was given up cannot be rolled back")
        finally:
            self._pool.put_nowait(connection)
