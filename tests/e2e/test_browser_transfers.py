# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers by the menu of a real client, which leaves the call without a word."""

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.stage import PCMA, PCMU, GatedStage
from tests.simulators.browser import MICROPHONE_HERTZ
from tests.simulators.waiting import until_async


async def test_a_call_is_transferred_and_the_client_learns_who_is_on_the_line(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_is_transferred") as phone:
        await client.do("place", room)
        await client.reaches("connected")
        assert await client.do("canTransfer")
        seen = await until_async(
            lambda: client.do("assertedIdentity"), what="somebody else is on the line"
        )
        assert seen["displayName"] == "Front Desk (+1 202-555-0142)"
        await client.do("transfer", PCMU.ghost)
        await phone.succeeds()
    assert (await client.snapshot()).state == "ended"
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("transferred", "matrix")


async def test_a_call_is_transferred_to_another_person(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    colleague, other = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        assert await client.do("canTransfer")
        await client.do("transfer", colleague.user_id)
        await client.reaches("ended")
        await other.reaches("ringing")
        await other.do("answer")
        await other.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await other.hears(1000)
        await other.do("hangUp")
        await phone.sees("CALL_CLOSED")
    records = [await stage.bridge.ended(each.user_id) for each in (person, colleague)]
    assert [(record.cause, record.ended_by) for record in records] == [
        ("transferred", "matrix"),
        ("normal", "matrix"),
    ]
    assert records[1].statistics["sip_packets_sent"] > 0


async def test_a_call_is_transferred_into_another_after_a_consultation(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    first_room = await client.room_with(PCMU.ghost)
    second_room = await client.room_with(PCMA.ghost)
    async with stage.scripted_phone(PCMU, "phone_takes_over") as first, stage.phone(PCMA) as second:
        await client.do("place", first_room)
        await client.reaches("connected")
        await client.do("place", second_room)

        async def both_connected() -> bool:
            return {state for _, state, _ in await client.do("callStates")} == {"connected"}

        await until_async(both_connected, what="both calls were connected")
        await client.do("transferToCall", 0, 1)
        await first.succeeds()
        ended = await stage.bridge.ended(person.user_id)
        assert (ended.cause, ended.address) == ("transferred", f"tel:{PCMU.number}")
        # The caller's new call has taken this one's place (RFC 3891): its old one is closed.
        await second.hang_up()
        await second.sees("CALL_CLOSED")
