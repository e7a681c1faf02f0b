# SPDX-License-Identifier: GPL-3.0-or-later
"""One homeserver, one bridge and one browser for all tests; new people and telephones for each."""

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AsyncExitStack, nullcontext
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.stage import GatedStage
from tests.simulators.browser import Browser, BrowserClient
from tests.simulators.isolation import isolate_for_good, isolated
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.matrix_phone import MatrixPhone
from tests.simulators.stage import Person
from tests.simulators.voice import CODECS

_refusal: OSError | None = None
_TROUBLE = re.compile(r'"level": ?"(error|critical)"|Traceback|never awaited|never retrieved')

NewMatrixPhone = Callable[..., Awaitable[tuple[Person, MatrixPhone]]]
NewBrowserClient = Callable[..., Awaitable[tuple[Person, BrowserClient]]]


def pytest_configure() -> None:
    """Without root, leaving the machine's network has to come before any thread."""
    global _refusal
    if os.geteuid() == 0:
        return
    try:
        isolate_for_good()
    except OSError as refusal:
        _refusal = refusal


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here shares an event loop, as it shares the servers that live in it."""
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(180))  # the first one starts the servers
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if "browser" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows what both legs of its calls said."""
    report = yield
    stage = getattr(item, "funcargs", {}).get("stage")
    if report.when == "call" and report.failed and isinstance(stage, GatedStage):
        story = stage.bridge.story(since=call.start)
        report.sections.append(("ladders of its calls", story))
    return report


@pytest.fixture(scope="package", autouse=True)
def network() -> Iterator[None]:
    """These tests have a network of their own, and only they."""
    if _refusal:
        pytest.fail(f"{_refusal}; run these tests as root")
    with isolated() if os.geteuid() == 0 else nullcontext():
        yield


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stage(
    network: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[GatedStage]:
    stage = GatedStage(tmp_path_factory.mktemp("stage"))
    await stage.start()
    yield stage
    await stage.stop()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser(
    network: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser"))
    await browser.start()
    yield browser
    await browser.stop()


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def no_trouble_in_the_log(stage: GatedStage) -> AsyncIterator[None]:
    """A test fails when the bridge logs an error meanwhile, whatever else it sees."""
    if not stage.bridge.running:  # the test before failed
        await stage.bridge.start()
    before = len(stage.bridge.output())
    yield
    new = stage.bridge.output()[before:]
    assert stage.bridge.running, f"the bridge is gone:\n{new}"
    assert not _TROUBLE.search(new), new


@pytest_asyncio.fixture(loop_scope="session")
async def new_matrix_phone(stage: GatedStage) -> AsyncIterator[NewMatrixPhone]:
    """Makes a new person with a simulated client, or one more client `of` a person."""
    async with AsyncExitStack() as stack:

        async def make(
            *,
            version: int = 1,
            says: int = 440,
            codecs: tuple[str, ...] = CODECS,
            renegotiates: bool = True,
            of: Person | None = None,
            joins: bool = True,
        ) -> tuple[Person, MatrixPhone]:
            person = of or await stage.person()
            credentials = person.credentials
            if of:
                credentials = await stage.synapse.another_device(credentials)
            client = MatrixClient(stage.synapse.url, credentials, auto_join=joins)
            await stack.enter_async_context(client)
            phone = MatrixPhone(
                client, version=version, says=says, codecs=codecs, renegotiates=renegotiates
            )
            return person, await stack.enter_async_context(phone)

        yield make


@pytest_asyncio.fixture(loop_scope="session")
async def new_browser_client(
    stage: GatedStage, browser: Browser
) -> AsyncIterator[NewBrowserClient]:
    """Makes a new person with matrix-js-sdk in Chromium, or one more device `of` a person.

    `options` are more of what `mx.start` of the page takes; `browser`: another than the tests'.
    """
    clients: list[BrowserClient] = []
    usual = browser

    async def make(
        *,
        of: Person | None = None,
        options: Mapping[str, Any] | None = None,
        browser: Browser | None = None,
    ) -> tuple[Person, BrowserClient]:
        person = of or await stage.person()
        credentials = person.credentials
        if of:
            credentials = await stage.synapse.another_device(credentials)
        client = await (browser or usual).client(stage.synapse.url, credentials, options)
        clients.append(client)
        return person, client

    yield make
    for client in clients:
        await client.close()
