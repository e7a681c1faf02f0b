# SPDX-License-Identifier: GPL-3.0-or-later
"""People on other homeservers: two real ones, federating, and the bridge beside the first."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.stage import PCMU
from tests.simulators.federation import Federated, federate
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.matrix_phone import MatrixPhone
from tests.simulators.stage import Person, Stage
from tests.simulators.synapse import Synapse
from tests.simulators.waiting import until

NUMBER = "+13035550200"


class FederatedStage(Stage):
    """A stage whose number rings somebody on another homeserver."""

    def __init__(self, directory: Path, here: Federated, there: Federated) -> None:
        super().__init__(
            directory,
            (PCMU,),
            (),
            ring_time=10,
            logging={"level": "debug", "format": "json"},
            federated=here,
        )
        self.other = Synapse(directory / "other", federated=there)

    async def start(self) -> None:
        """Start the other homeserver too."""
        await self.other.start()
        await super().start()

    async def stop(self) -> None:
        """Stop it too."""
        await super().stop()
        await self.other.stop()

    def _settings(self) -> dict[str, Any]:
        return {
            **super()._settings(),
            "permissions": {
                self.other.name: "call",
                f"@stranger:{self.other.name}": "blocked",
            },
            "inbound": [{"number": NUMBER, "person": f"@remote:{self.other.name}"}],
        }


@dataclass
class Federation:
    """The stage, and the person on the other homeserver with their phone."""

    stage: FederatedStage
    ghost: str
    person: Person
    phone: MatrixPhone


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def federation(
    network: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Federation]:
    directory = tmp_path_factory.mktemp("federation")
    here, there = federate(directory / "certificates", "127.0.0.51", "127.0.0.52")
    stage = FederatedStage(directory, here, there)
    async with AsyncExitStack() as stack:
        await stage.start()
        stack.push_async_callback(stage.stop)
        person = Person(await stage.other.register("remote"), NUMBER)
        client = MatrixClient(stage.other.url, person.credentials)
        await stack.enter_async_context(client)
        phone = await stack.enter_async_context(MatrixPhone(client))
        yield Federation(stage, PCMU.ghost_at(here.name), person, phone)
    assert '"level": "error"' not in stage.bridge.output()


async def test_a_person_of_another_homeserver_calls(federation: Federation) -> None:
    stage, caller = federation.stage, federation.phone
    async with stage.phone(PCMU) as phone:
        call = await caller.call(await caller.client.direct_room(federation.ghost))
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    record = await stage.bridge.ended(federation.person.user_id)
    assert (record.direction, record.cause, record.ended_by) == ("to_sip", "normal", "matrix")


async def test_a_person_of_another_homeserver_is_called(federation: Federation) -> None:
    stage, callee = federation.stage, federation.phone
    before = len(stage.bridge.calls(federation.person.user_id))
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(federation.person))
        call = await callee.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.hang_up()
        assert (await call.ended()).startswith("m.call.hangup")
    record = await until(
        lambda: stage.bridge.calls(federation.person.user_id)[before:],
        what="the call was recorded",
    )
    assert (record[0].direction, record[0].cause) == ("to_matrix", "normal")


async def test_a_person_who_may_not_call_is_not_joined(federation: Federation) -> None:
    stage = federation.stage
    stranger = await stage.other.register("stranger")
    async with MatrixClient(stage.other.url, stranger) as client:
        made = await client.request(
            "POST", "/createRoom", {"is_direct": True, "invite": [federation.ghost]}
        )
        room = str(made["room_id"])

        def refused() -> bool:
            return any(
                event.state_key == federation.ghost and event.content["membership"] == "leave"
                for event in client.events
                if event.type == "m.room.member" and event.room == room
            )

        await until(refused, what="the ghost refused the invitation")
        assert client.members(room) == {client.user_id}
