# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that change in mid-call, and a bridge that lets calls end before it stops."""

import signal
from typing import Any

import pytest

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import G722, PCMA, PCMU, GatedStage
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.waiting import until

_BITRATE = 24000


async def test_settings_change_and_the_bridge_stops_around_a_call(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone()
    other, second = await new_matrix_phone()
    written = stage.bridge.config.read_text()
    bridge = stage.bridge
    async with stage.phone(PCMU) as phone, stage.phone(G722) as another:
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await phone.hears(440)

        # --- settings -------------------------------------------------------------------------
        bridge.change(lambda settings: _other(settings, other.user_id))
        said = await bridge.reload()
        assert f"in force permissions.{other.user_id}" in said
        assert f"in force trunks.{PCMA.name}" in said
        assert "restart  media.opus_bitrate" in said
        not_now = await second.call(await second.client.direct_room(G722.ghost))
        assert await not_now.ended() == "m.call.reject unknown_error"
        assert (await bridge.ended(other.user_id)).cause == "not_permitted"
        bridge.change(lambda settings: settings["permissions"].update(me="everything"))
        with pytest.raises(RuntimeError, match=r"permissions\.me"):
            await bridge.reload()
        bridge.change(lambda settings: _allow(settings, other.user_id))
        bridge.tell(signal.SIGHUP)
        await until(lambda: bridge.output().count("settings applied") == 2, what="SIGHUP was heard")
        third = await second.call(await second.client.direct_room(G722.ghost))
        await third.connected()
        await another.hears(440)
        await phone.hears(440)

        # --- drain ----------------------------------------------------------------------------
        bridge.tell(signal.SIGTERM)
        await until(lambda: "waiting for calls to end" in bridge.output(), what="calls may end")
        status, details = await bridge.health()
        assert (status, details["state"], details["calls"]) == (503, "draining", 2)
        assert 0 < details["closes_in"] <= 120
        late = await caller.call(await caller.client.direct_room(G722.ghost))
        assert await late.ended() == "m.call.reject unknown_error"
        await until(lambda: _told(caller.client, "is being restarted"), what="why is in the chat")
        await another.dial(stage.uri(other))
        assert "503" in (await another.sees("CALL_CLOSED")).parameter
        await phone.hears(440)
        await phone.hang_up()
        assert await call.ended() == "m.call.hangup user_hangup"
        await another.hears(440)

        # --- the second signal ----------------------------------------------------------------
        bridge.tell(signal.SIGTERM)
        assert await bridge.gone() == 0
        assert (await third.ended()).startswith("m.call.hangup")
        await another.sees("CALL_CLOSED", count=2)
    first = await bridge.ended(person.user_id)
    assert (first.cause, first.ended_by) == ("normal", "sip")
    causes = {record.cause for record in bridge.calls(other.user_id)}
    assert causes == {"not_permitted", "shutdown"}
    bridge.config.write_text(written)
    await bridge.start()


def _other(settings: dict[str, Any], blocked: str) -> None:
    settings["permissions"][blocked] = "receive"
    settings["shutdown"] = {"drain": 120}
    settings["media"]["opus_bitrate"] = _BITRATE
    settings["trunks"][PCMA.name]["caller_id"] = "+12025550199"


def _allow(settings: dict[str, Any], person: str) -> None:
    del settings["permissions"]["me"]
    settings["permissions"][person] = "call"


def _told(client: MatrixClient, words: str) -> bool:
    return any(words in event.content["body"] for event in client.seen("m.room.message"))
