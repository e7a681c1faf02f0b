# SPDX-License-Identifier: GPL-3.0-or-later
"""Beside a homeserver without ping, third-party lookups, devices of ghosts and keys for them.

Calls in unencrypted rooms need none of that, and `matrix-sip check` says what is missing.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.lesser import LesserHomeserver
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.matrix_phone import MatrixPhone
from tests.simulators.stage import Stage, Subscriber
from tests.simulators.waiting import until


class LesserStage(Stage):
    """A stage whose bridge sees less of the homeserver than there is."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            directory,
            (PCMU,),
            [Subscriber("modest", "+13035550300")],
            ring_time=10,
            logging={"level": "debug", "format": "json"},
        )
        self.lesser = LesserHomeserver(self.synapse.url)

    @property
    def homeserver_url(self) -> str:
        """The narrow door."""
        return self.lesser.url

    async def start(self) -> None:
        """Open the door too."""
        await self.lesser.start()
        await super().start()

    async def stop(self) -> None:
        """Close it too."""
        await super().stop()
        await self.lesser.stop()

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "encryption": {"mode": "allow"}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lesser(
    network: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LesserStage]:
    stage = LesserStage(tmp_path_factory.mktemp("lesser"))
    await stage.start()
    yield stage
    await stage.stop()
    assert '"level": "error"' not in stage.bridge.output()


async def test_calls_work_and_check_says_what_is_missing(lesser: LesserStage) -> None:
    person = await lesser.person()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            MatrixClient(lesser.synapse.url, person.credentials)
        )
        matrix_phone = await stack.enter_async_context(MatrixPhone(client))
        phone = await stack.enter_async_context(lesser.phone(PCMU))

        call = await matrix_phone.call(await client.direct_room(PCMU.ghost))
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")

        await phone.dial(lesser.uri(person))
        ringing = await matrix_phone.rings()
        await ringing.answer()
        await ringing.connected()
        await phone.hears(440)
        await ringing.voice.hears(1000)
        await phone.hang_up()
        await ringing.ended()
    await until(
        lambda: [call.cause for call in lesser.bridge.calls(person.user_id)] == ["normal"] * 2,
        what="both calls ended well",
    )
    assert "no calls in encrypted rooms" in lesser.bridge.output()
    assert "homeserver knows no ping" in lesser.bridge.output()

    report = await lesser.bridge.check()
    for missing in ("knows no ping", "clients show none", "no calls in encrypted rooms"):
        assert missing in report, report


async def test_check_finds_what_synapse_has(stage: GatedStage) -> None:
    report = await stage.bridge.check()
    assert "dial pad: offered to clients" in report, report
    assert "encryption: works in the bridge that runs" in report, report
    assert "hs_token: the homeserver reaches" in report, report
    await stage.bridge.stop()
    report = await stage.bridge.check()
    assert "dial pad: not asked" in report, report
    assert "encryption: ghosts can have devices" in report, report
    await stage.bridge.start()
