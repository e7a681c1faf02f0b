# SPDX-License-Identifier: GPL-3.0-or-later
"""A program sets a person up, calls a telephone for them, and follows what happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import ClientSession

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.waiting import until

TOLL_FREE = "+13035550900"
"""No rule of the configuration knows it."""


class Program:
    """What has the token that lets write."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self.events: list[dict[str, Any]] = []

    async def ask(self, method: str, path: str, status: int, body: Any = None) -> Any:
        async with self._session.request(method, f"/api/v1{path}", json=body) as reply:
            text = await reply.text()
            assert reply.status == status, text
            return json.loads(text) if text else None

    async def follow(self) -> None:
        async with self._session.get("/api/v1/events") as stream:
            async for line in stream.content:
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line.removeprefix(b"data: ")))

    async def hears(self, *kinds: str, about: str) -> list[dict[str, Any]]:
        """Wait until all that was told of a person or a call, in order, is of these kinds."""

        def told() -> list[dict[str, Any]]:
            mine = [each for each in self.events if about in (each["person"], each.get("call"))]
            return mine if [each["type"] for each in mine] == [*kinds] else []

        return await until(told, what=f"{', '.join(kinds)} of {about}")


@asynccontextmanager
async def program_of(stage: GatedStage) -> AsyncIterator[Program]:
    headers = {"Authorization": f"Bearer {stage.bridge.api_token}"}
    async with ClientSession(stage.bridge.admin_page[0], headers=headers) as session:
        program = Program(session)
        following = asyncio.create_task(program.follow())
        try:
            yield program
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


async def test_a_person_is_set_up_and_called_for(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, mine = await new_matrix_phone()
    who = person.user_id
    async with program_of(stage) as program:
        line = stage.registrar()
        async with stage.scripted_phone(line, "registrar_of_an_account") as registrar:
            account = {
                "server": f"{line.address}:{line.port}",
                "username": "alice",
                "password": "correct-horse-battery",
            }
            made = await program.ask("PUT", f"/accounts/{who}", 201, account)
            assert (made["state"], made["status"]) == ("registered", 200)
            await program.ask("DELETE", f"/accounts/{who}", 204)
            await registrar.succeeds()
        changes = ("account.changed", "account.registered", "account.removed")
        await program.hears(*changes, about=who)

        wanted = {"person": who, "number": TOLL_FREE}
        problem = await program.ask("POST", "/calls", 409, wanted)
        assert problem["cause"] == "no_route"
        route = {"prefix": TOLL_FREE, "trunk": PCMU.name, "strip": 11, "prepend": PCMU.number}
        await program.ask("PUT", "/routes/outbound/toll-free", 201, route)
        await program.ask("PUT", f"/permissions/{who}", 201, {"level": "receive"})
        problem = await program.ask("POST", "/calls", 409, wanted)
        assert problem["cause"] == "not_permitted"
        await program.ask("DELETE", f"/permissions/{who}", 204)

        async with stage.phone(PCMU) as phone:
            started = await program.ask("POST", "/calls", 201, wanted)
            name = started["call"]
            assert (started["state"], started["trunk"]) == ("preparing", PCMU.name)
            call = await mine.rings()
            await call.answer()
            await call.connected()
            await phone.hears(440)
            await call.voice.hears(1000)
            await program.hears("call.started", "call.ringing", "call.answered", about=name)
            (active,) = (await program.ask("GET", "/calls", 200))["calls"]
            assert (active["call"], active["state"]) == (name, "connected")
            why = {"by": "helpdesk", "why": "the line is needed"}
            await program.ask("POST", f"/calls/{name}/hangup", 202, why)
            assert (await call.ended()).startswith("m.call.hangup")
            await phone.sees("CALL_CLOSED")
        *_, ended = await program.hears(
            "call.started", "call.ringing", "call.answered", "call.ended", about=name
        )
        assert ended["detail"] == "ended by helpdesk: the line is needed"
        await stage.bridge.ended(who, count=3)
        record = await program.ask("GET", f"/calls/{name}", 200)
        assert (record["cause"], record["rule"]) == ("ended_by_admin", "outbound:toll-free")
        assert (record["state"], record["detail"]) == ("ended", ended["detail"])
        assert record["statistics"]["sip_packets_received"]
        await program.ask("DELETE", "/routes/outbound/toll-free", 204)
