# SPDX-License-Identifier: GPL-3.0-or-later
"""A person with several devices, each of them matrix-js-sdk in Chromium.

Client-Server API, "Voice over IP": the callee's devices all ring, and learn from `select_answer`
which of them was taken; one device's reject is everybody's.
"""

import pytest

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.browser import MICROPHONE_HERTZ, BrowserClient
from tests.simulators.waiting import until, until_async


@pytest.mark.parametrize("chosen", [0, 1])
async def test_the_device_that_answers_is_connected_and_the_other_stops(
    stage: GatedStage, new_browser_client: NewBrowserClient, chosen: int
) -> None:
    person, first = await new_browser_client()
    _, second = await new_browser_client(of=person)
    answering, other = (first, second) if chosen == 0 else (second, first)
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        await first.reaches("ringing")
        await second.reaches("ringing")
        await answering.do("answer")
        connected = await answering.reaches("connected")
        stopped = await other.reaches("ended")
        assert stopped.call_id == connected.call_id
        assert (stopped.reason, stopped.ended_by) == ("answered_elsewhere", "remote")
        await phone.hears(MICROPHONE_HERTZ)
        await answering.hears(1000)
        selected = await answering.is_told("m.call.select_answer")
        answer = await answering.says("m.call.answer")
        assert selected.content["selected_party_id"] == answer.content["party_id"]
        await answering.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).cause == "normal"


async def test_of_two_that_answer_at_once_the_first_is_taken(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, first = await new_browser_client()
    _, second = await new_browser_client(of=person)
    devices = (first, second)
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        for device in devices:
            await device.reaches("ringing")
        with stage.gate.closed(
            "/send/"
        ):  # The bridge has no chance to tell one before both have answered.
            for device in devices:
                await device.do("answer")
            await until_async(lambda: _answers(first, 2), what="both devices have answered")
        taken = await _connected_one(devices)
        (other,) = (device for device in devices if device is not taken)
        assert (await other.reaches("ended")).reason == "answered_elsewhere"
        await phone.hears(MICROPHONE_HERTZ)
        await taken.hears(1000)
        await taken.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert len(phone.seen("CALL_ESTABLISHED")) == 1
    assert len(stage.bridge.calls(person.user_id)) == 1


async def test_a_reject_on_one_device_stops_the_other_and_the_telephone(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, first = await new_browser_client()
    _, second = await new_browser_client(of=person)
    async with stage.scripted_caller(PCMU, "caller_hears_declined", person.number) as phone:
        await first.reaches("ringing")
        await second.reaches("ringing")
        await first.do("reject")
        await second.reaches("ended")
        await phone.succeeds()
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("declined", "matrix")


async def test_a_caller_who_gives_up_stops_every_device(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, first = await new_browser_client()
    _, second = await new_browser_client(of=person)
    await first.room_with(PCMU.ghost)
    async with stage.scripted_caller(PCMU, "caller_cancels", person.number) as phone:
        for device in (first, second):
            await device.rings()
        for device in (first, second):
            await device.reaches("ended")
        await phone.succeeds()


async def test_the_other_device_of_a_caller_stays_quiet(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, caller = await new_browser_client()
    _, other = await new_browser_client(of=person)
    room = await caller.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await caller.do("place", room)
        await caller.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await caller.hears(1000)
        await until_async(lambda: _answers(other, 1), what="the other device saw it")
        assert (await other.snapshot()).call_id is None
        await caller.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_a_second_device_cannot_call_where_the_first_one_talks(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, first = await new_browser_client()
    _, second = await new_browser_client(of=person)
    room = await first.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await first.do("place", room)
        await first.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await second.do("place", room)
        assert (await second.reaches("ended")).reason == "user_busy"
        await first.hears(1000)
        assert (await first.snapshot()).state == "connected"
        await first.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert len(phone.seen("CALL_ESTABLISHED")) == 1


async def test_a_device_that_comes_while_it_rings_can_answer(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """What rang before the page was loaded is in the first sync: its age says that it is alive."""
    person, client = await new_browser_client()
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        before = await client.reaches("ringing")
        await client.reload()
        assert (await client.reaches("ringing")).call_id == before.call_id
        await client.do("answer")
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.hears(1000)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_a_page_that_is_reloaded_takes_its_call_with_it(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """It says no word of it: that nobody is there any more has to be found out."""
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.reload()
        await phone.sees("CALL_CLOSED", within=45)
        await client.do("place", room)
        await client.reaches("connected")
        await client.hears(1000)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED", count=2)
    await until(
        lambda: [r.cause for r in stage.bridge.calls(person.user_id)][1:] == ["normal"],
        what="the second call ended well",
    )


async def _answers(client: BrowserClient, count: int) -> bool:
    return len(await client.said("m.call.answer")) >= count


async def _connected_one(devices: tuple[BrowserClient, ...]) -> BrowserClient:
    async def found() -> BrowserClient | None:
        for device in devices:
            if (await device.snapshot()).state == "connected":
                return device
        return None

    connected = await until_async(found, what="one of the devices is connected")
    assert connected is not None
    return connected
