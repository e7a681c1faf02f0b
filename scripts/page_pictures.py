# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs of the admin page for the documentation, from the calls of its tests.

python -m scripts.page_pictures; wants Chromium and the packages of the browser tests.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from bridge.web.pages import Pages
from tests.web.browser import viewing
from tests.web.office import FAILED, LIVE, PaperOffice, heard

IMAGES = Path(__file__).resolve().parent.parent / "docs/images"
TOKEN = "a token of twenty-five signs"
DESK = {"viewport": {"width": 1000, "height": 640}}
PHONE = {"viewport": {"width": 360, "height": 700}}
DARK = {**DESK, "colorScheme": "dark"}
PICTURES: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("overview", "/", DESK, "body"),
    ("call", "/calls/5f3c9a12-7", DARK, "#ladder-heading"),
    ("heard", "/calls/5f3c9a12-7", DESK, "#heard-heading"),
    ("phone", f"/calls/{FAILED.call}", PHONE, "body"),
)
"""Name, address, what is looked with, and what is at the top of the picture."""


async def main() -> None:
    """Take every picture."""
    pages = Pages(TOKEN, wall=lambda: LIVE.started_at + 83)
    pages.open(PaperOffice(samples=heard()))
    application = web.Application()
    pages.serve(application)
    async with TestServer(application) as server:
        for name, path, options, top in PICTURES:
            target = IMAGES / f"admin-{name}.png"
            async with viewing(**options) as viewer:
                await viewer.run(
                    f"""await page.goto("{server.make_url("/login")}?next={path}");
                    await page.fill("#token", "{TOKEN}");
                    await page.keyboard.press("Enter");
                    await page.waitForSelector("#live");
                    await page.evaluate(() => document.querySelector("{top}")
                        .closest(".card, body").scrollIntoView());
                    await page.screenshot({{path: {json.dumps(str(target))}}});"""
                )
            print(f"wrote docs/images/{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    asyncio.run(main())
