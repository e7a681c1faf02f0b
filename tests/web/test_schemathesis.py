# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests made up from the API's own document, thousands of kinds of them: none surprises it."""

import asyncio
import os
import sys
from pathlib import Path

from tests.web.programs import WRITE, PaperBridge, serving

EXAMPLES = os.environ.get("MATRIX_SIP_EXAMPLES", "")
"""For each endpoint; a hundred finds more than the few of a usual run, and takes some minutes."""
ALL = ("--max-examples", EXAMPLES) if EXAMPLES else ()
FEW = ("--max-examples", "3", "--phases", "fuzzing,stateful")
"""Without every boundary of every field, which alone takes ten seconds of processor time."""


async def test_nothing_that_the_document_allows_or_forbids_surprises_it(tmp_path: Path) -> None:
    bridge = PaperBridge(lasts=0.01)
    bridge.runs = 60.0  # It is tried with wrong tokens, too.
    async with serving(bridge) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            str(server.make_url("/api/v1/openapi.json")),
            *("--header", f"Authorization: Bearer {WRITE}", "--seed", "1"),
            *("--checks", "all", "--no-color"),
            *(ALL or FEW),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
