# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin page in Chromium: by keyboard, on a telephone's screen, while a call lasts."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bridge.web.pages import Pages
from tests.simulators.waiting import until_async
from tests.web.browser import Viewer, viewing
from tests.web.office import LADDER, LIVE, PaperOffice, rung

FOCUSED = (
    "[document.activeElement].filter(e => e.matches('a, button, summary, input, select'))"
    ".map(e => e.textContent.replace(/\\s+/g, ' ').trim() || e.name).join()"
)
OPEN = "document.querySelector('details[open]').innerText"
TOKEN = "a token of twenty-five signs"
pytestmark = [pytest.mark.browser, pytest.mark.e2e]


async def press(viewer: Viewer, *keys: str) -> None:
    for key in keys:
        await viewer.run(f"await page.keyboard.press({key!r})")


async def focused(viewer: Viewer) -> str:
    """The control that the keyboard is with: its text, or its name; empty for what just scrolls."""
    return str(await viewer.ask(FOCUSED))


async def tab_to(viewer: Viewer, text: str) -> None:
    found = await viewer.run(
        f"""for (let tabs = 0; tabs < 60; tabs++) {{
            await page.keyboard.press("Tab");
            if ((await page.evaluate({FOCUSED!r})).includes({text!r})) return true;
        }}"""
    )
    assert found, f"the keyboard does not come to {text!r}"


async def too_wide(viewer: Viewer) -> Any:
    """What sticks out of the screen."""
    return await viewer.ask(
        "document.documentElement.scrollWidth > innerWidth"
        " ? [...document.querySelectorAll('body *')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.tagName + '.' + e.className) : []"
    )


async def test_by_keyboard_on_a_small_screen_while_the_call_lasts() -> None:
    office = PaperOffice(entries=list(LADDER[:9]))
    pages = Pages(TOKEN, pace=0.01, wall=lambda: LIVE.started_at + 83)
    pages.open(office)
    application = web.Application()
    pages.serve(application)
    async with (
        TestServer(application) as server,
        viewing(viewport={"width": 360, "height": 740}) as viewer,
    ):
        await viewer.run(f"await page.goto('{server.make_url('/')}')")
        assert await focused(viewer) == "token"
        await viewer.run(f"await page.keyboard.type('{TOKEN}')")
        await press(viewer, "Enter")
        await viewer.run("await page.waitForSelector('h1:has-text(\"Calls can be made\")')")
        assert await too_wide(viewer) == []
        await press(viewer, "Tab")
        assert await focused(viewer) == "To the content"

        await tab_to(viewer, "Calls")
        await press(viewer, "Enter")
        await viewer.run("await page.waitForSelector('h1:text-is(\"Calls\")')")
        assert await too_wide(viewer) == []
        await tab_to(viewer, "2026-03-01 10:27:40")
        await press(viewer, "Enter")
        await viewer.run("await page.waitForSelector('.ladder')")
        assert await too_wide(viewer) == []

        await tab_to(viewer, "SIP peer to bridge: 180 Ringing (INVITE)")
        await press(viewer, "Enter")
        assert "Call-ID: 7c1d" in await viewer.ask(
            "document.querySelector('details[open]').innerText"
        )
        count = "document.querySelectorAll('.ladder li').length"
        before = await viewer.ask(count)
        office.entries.append(rung(940, "matrix", "out", "m.call.answer"))
        office.changed()

        async def arrived() -> bool:
            return bool(await viewer.ask(count) == before + 1)

        await until_async(arrived, what="the new message was shown")
        assert "180 Ringing" in await focused(viewer), "the keyboard stays where it was"
        assert "Call-ID: 7c1d" in await viewer.ask(
            "document.querySelector('details[open]').innerText"
        )
        assert await viewer.run("return complaints") == []
