# SPDX-License-Identifier: GPL-3.0-or-later
"""A telephone calls a number that several people have, or somebody by their Matrix name."""

import asyncio

from tests.e2e.conftest import NewBrowserClient, NewMatrixPhone
from tests.e2e.stage import GROUP, GROUP_NUMBER, PCMU, GatedStage
from tests.simulators.browser import MICROPHONE_HERTZ
from tests.simulators.matrix_phone import MatrixPhone, State
from tests.simulators.stage import Person
from tests.simulators.waiting import until

_members: list[Person] = []


async def members(stage: GatedStage) -> list[Person]:
    """The people of the group, the same for every test."""
    if not _members:
        for name in GROUP:
            _members.append(Person(await stage.synapse.register(name), GROUP_NUMBER))
    return _members


async def phones(stage: GatedStage, new: NewMatrixPhone) -> list[MatrixPhone]:
    """A client for each of them, who know the caller: it is not for the first call to be fast."""
    clients = [(await new(of=person))[1] for person in await members(stage)]
    for one in clients:
        if not one.client.rooms_with(PCMU.ghost):
            await one.client.direct_room(PCMU.ghost)
    return clients


async def ended(stage: GatedStage, count: int) -> tuple[str, str | None]:
    """Whose the newest call was, and why it ended; once the people had so many."""

    def over() -> list[tuple[str, str | None]]:
        people = {person.user_id for person in _members}
        calls = [call for person in people for call in stage.bridge.calls(person)]
        calls.sort(key=lambda call: call.started_at)
        done = [(call.person, call.cause) for call in calls if call.ended_at]
        return done if len(done) == len(calls) and len(done) > count else []

    return (await until(over, what="the call's record ended"))[-1]


def known(stage: GatedStage) -> int:
    """How many calls the people had so far."""
    return sum(len(stage.bridge.calls(person.user_id)) for person in _members)


async def test_the_first_to_answer_has_the_call_and_the_others_stop_ringing(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    first, second, third = await phones(stage, new_matrix_phone)
    before = known(stage)
    async with stage.phone(PCMU) as phone:
        await phone.dial(f"sip:{GROUP_NUMBER}@127.0.0.1:{stage.sip_port}")
        calls = await asyncio.gather(first.rings(), second.rings(), third.rings())
        assert len({call.room for call in calls}) == 3
        await calls[1].answer()
        await calls[1].connected()
        assert await calls[0].ended() == "answered elsewhere"
        assert await calls[2].ended() == "answered elsewhere"
        await phone.hears(440)
        await calls[1].voice.hears(1000)
        await phone.hang_up()
        assert (await calls[1].ended()).startswith("m.call.hangup")
    assert await ended(stage, before) == (second.user_id, "normal")
    for phone_in_matrix in (first, third):
        said = [event.content["body"] for event in phone_in_matrix.client.seen("m.room.message")]
        assert not any("missed" in text for text in said), said


async def test_who_declines_does_so_for_themselves(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    first, second, third = await phones(stage, new_matrix_phone)
    before = known(stage)
    async with stage.scripted_caller(PCMU, "caller_hears_declined", GROUP_NUMBER) as phone:
        calls = await asyncio.gather(first.rings(), second.rings(), third.rings())
        await calls[0].reject()
        await calls[2].reject()
        assert calls[1].state is State.RINGING
        await calls[1].reject()
        await phone.succeeds()
    assert (await ended(stage, before))[1] == "declined"


async def test_nobody_answers_and_all_read_of_it(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    group = await phones(stage, new_matrix_phone)
    before = known(stage)
    async with stage.scripted_caller(PCMU, "caller_hears_not_answered", GROUP_NUMBER) as phone:
        calls = await asyncio.gather(*(one.rings() for one in group))
        await phone.succeeds()
        for call in calls:
            assert (await call.ended()).startswith("m.call.hangup")
    assert (await ended(stage, before))[1] == "no_answer"
    for one in group:
        await until(
            lambda one=one: [  # type: ignore[misc]
                event
                for event in one.client.seen("m.room.message")
                if "You missed a call" in event.content["body"]
            ],
            what="everybody was told",
        )


async def test_a_crash_while_it_rings_hangs_up_at_all(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    group = await phones(stage, new_matrix_phone)
    before = known(stage)
    async with stage.phone(PCMU) as phone:
        await phone.dial(f"sip:{GROUP_NUMBER}@127.0.0.1:{stage.sip_port}")
        calls = await asyncio.gather(*(one.rings() for one in group))
        await stage.bridge.kill()
        await stage.bridge.start()
        for call in calls:
            assert (await call.ended()).startswith("m.call.hangup")
    assert (await ended(stage, before))[1] == "shutdown"


async def test_a_browser_shows_that_somebody_else_answered(
    stage: GatedStage,
    new_matrix_phone: NewMatrixPhone,
    new_browser_client: NewBrowserClient,
) -> None:
    people = await members(stage)
    _, browser = await new_browser_client(of=people[0])
    _, other = await new_matrix_phone(of=people[1])
    async with stage.phone(PCMU) as phone:
        await phone.dial(f"sip:{GROUP_NUMBER}@127.0.0.1:{stage.sip_port}")
        await browser.reaches("ringing")
        call = await other.rings()
        await call.answer()
        await call.connected()
        assert (await browser.reaches("ended")).reason == "answered_elsewhere"
        await phone.hang_up()
        await call.ended()


async def test_somebody_is_called_by_their_matrix_name(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person = Person(await stage.synapse.register("named-ann"), "")
    _, ann = await new_matrix_phone(of=person)
    async with stage.phone(PCMU) as phone:
        await phone.dial(f"sip:named-ann@127.0.0.1:{stage.sip_port}")
        call = await ann.rings()
        await call.answer()
        await call.connected()
        await phone.hears(440)
        await phone.hang_up()
        await call.ended()


async def test_a_name_of_nobody_is_unknown(stage: GatedStage) -> None:
    async with stage.scripted_caller(PCMU, "caller_hears_unknown", "named-nobody") as phone:
        await phone.succeeds()


async def test_a_number_of_nobody_names_the_rules_that_were_tried(stage: GatedStage) -> None:
    nobody = "+14045550177"
    before = len(stage.bridge.output())
    async with stage.scripted_caller(PCMU, "caller_hears_unknown", nobody) as phone:
        await phone.succeeds()
    new = stage.bridge.output()[before:]
    (line,) = [each for each in new.splitlines() if "tried: inbound[0]" in each]
    assert f"nothing for '{nobody}' by pcmu" in line


async def test_a_page_that_was_reloaded_can_call_again_at_once(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """It does not hear "busy" until it is found out that the first call is lost."""
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.reload()
        await client.do("place", room)
        await phone.sees("CALL_CLOSED")
        await client.reaches("connected")
        await client.hears(1000)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED", count=2)
    await until(
        lambda: (
            [record.cause for record in stage.bridge.calls(person.user_id)]
            == ["replaced", "normal"]
        ),
        what="both calls ended well",
    )
