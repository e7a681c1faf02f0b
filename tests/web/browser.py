# SPDX-License-Identifier: GPL-3.0-or-later
"""Chromium before the admin page."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.simulators.browser import chromium

_HERE = Path(__file__).parent
_MODULES = _HERE.parent / "e2e" / "browser"


class Viewer:
    """A page of Chromium, and what it complained about."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)

    async def run(self, code: str) -> Any:
        """Have JavaScript done that has Playwright's `page`. Raises RuntimeError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"id": next(self._ids), "code": code}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        reply = json.loads(await self._process.stdout.readline())
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["value"]

    async def ask(self, expression: str) -> Any:
        """What an expression is within the page."""
        return await self.run(f"return page.evaluate({json.dumps(expression)})")


@asynccontextmanager
async def viewing(**options: Any) -> AsyncIterator[Viewer]:
    """Chromium with a context as Playwright makes them: `viewport`, `colorScheme`."""
    process = await asyncio.create_subprocess_exec(
        "node",
        _HERE / "browser.mjs",
        _MODULES,
        chromium(),
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield Viewer(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
