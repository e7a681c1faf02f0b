# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS for sipp, which has none."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.sip.phone import LOCALHOST


@asynccontextmanager
async def relay(
    target: int,
    *,
    server: ssl.SSLContext | None = None,
    client: ssl.SSLContext | None = None,
    host: str = LOCALHOST,
    target_host: str = LOCALHOST,
) -> AsyncIterator[int]:
    """Takes TLS off (`server`) or puts it on (`client`) between a port of `host` and `target`."""
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = "localhost" if client else None
        far_reader, far_writer = await asyncio.open_connection(
            target_host, target, ssl=client, server_hostname=name
        )
        writers.extend((writer, far_writer))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    listener = await asyncio.start_server(serve, host, 0, ssl=server)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        for writer in writers:
            writer.close()
        listener.close()
