# SPDX-License-Identifier: GPL-3.0-or-later
"""A real client in a real browser: matrix-js-sdk, as in Element Web, in Chromium."""

import asyncio

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.browser import MICROPHONE_HERTZ, BrowserClient
from tests.simulators.rtp import RtpPeer
from tests.simulators.sip_party import SipParty
from tests.simulators.waiting import PATIENCE, until, until_async


async def test_calls_a_telephone_and_hangs_up(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.hears(1000)
        assert (await client.do("statistics"))["codec"] == "audio/PCMU"
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    record = await stage.bridge.ended(person.user_id)
    assert (record.cause, record.ended_by) == ("normal", "matrix")
    assert record.statistics["mode"] == "relay"


async def test_with_opus_alone_calls_a_telephone_without_it(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    await client.do("onlyCodecs", ["opus"])
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.hears(1000)
        assert (await client.do("statistics"))["codec"] == "audio/opus"
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).statistics["mode"] == "transcode"


async def test_calls_a_telephone_that_hangs_up(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await phone.hang_up()
        assert (await client.reaches("ended")).reason == "user_hangup"


async def test_calls_a_telephone_that_is_busy(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_busy") as phone:
        await client.do("place", room)
        assert (await client.reaches("ended")).reason == "user_busy"
        await phone.succeeds()


async def test_cancels_before_the_telephone_answers(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_rings_until_cancelled") as phone:
        await client.do("place", room)
        await until(lambda: "SIP/2.0 180" in phone.messages(), what="the telephone rang")
        await client.do("hangUp")
        await phone.succeeds()
    assert (await stage.bridge.ended(person.user_id)).cause == "cancelled"


async def test_is_called_answers_and_hangs_up(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        await client.reaches("ringing")
        await client.do("answer")
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.hears(1000)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_is_called_answers_and_is_hung_up_on(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        await client.reaches("ringing")
        await client.do("answer")
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await phone.hang_up()
        await client.reaches("ended")


async def test_is_called_and_rejects(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    async with stage.scripted_caller(PCMU, "caller_hears_declined", person.number) as phone:
        await client.reaches("ringing")
        await client.do("reject")
        await phone.succeeds()


async def test_is_called_by_a_caller_who_gives_up(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    await client.room_with(PCMU.ghost)
    async with stage.scripted_caller(PCMU, "caller_cancels", person.number) as phone:
        await client.rings()
        await client.reaches("ended")
        await phone.succeeds()


async def test_holds_and_resumes(stage: GatedStage, new_browser_client: NewBrowserClient) -> None:
    """The scenario wants `sendonly`, then `sendrecv`; the client, silence and then its echo."""
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_is_held_and_resumed") as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await client.hears(MICROPHONE_HERTZ)
        await client.do("hold", True)
        await _is_silent(client)
        await client.do("hold", False)
        await client.hears(MICROPHONE_HERTZ)
        assert (await client.snapshot()).state == "connected"
        await client.do("hangUp")
        await phone.succeeds()


async def test_is_held_and_resumed(stage: GatedStage, new_browser_client: NewBrowserClient) -> None:
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await client.hears(1000)
        await phone.command("hold")
        await _is_held(client, True)
        await _is_silent(client)
        await phone.command("resume")
        await _is_held(client, False)
        await client.hears(1000)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_is_told_of_a_hold_that_was_answered_at_once(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """UPDATE cannot wait for the client, which follows."""
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    rtp = RtpPeer(PCMU.address)
    async with SipParty(PCMU.address, PCMU.port) as party:
        await client.do("place", room)
        rtp.aim(await party.rings())
        await party.answers(rtp.sdp())
        rtp.echo()
        await client.reaches("connected")
        await client.hears(MICROPHONE_HERTZ)
        assert "a=recvonly" in (await party.asks("UPDATE", rtp.sdp(direction="sendonly"))).sdp
        await _is_held(client, True)
        assert "a=sendrecv" in (await party.asks("UPDATE", rtp.sdp())).sdp
        await _is_held(client, False)
        await client.hears(MICROPHONE_HERTZ)
        await client.do("hangUp")
        await asyncio.wait_for(party.hung_up.wait(), PATIENCE)
    rtp.close()


async def test_presses_a_key(stage: GatedStage, new_browser_client: NewBrowserClient) -> None:
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        assert (await client.snapshot()).dtmf, "the client would not show its keypad"
        await client.do("dtmf", "5")
        assert (await phone.sees("CALL_DTMF_START")).parameter == "5"
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_keys_go_by_sip_where_they_cannot_go_within_the_audio(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.scripted_phone(PCMU, "phone_wants_info") as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await client.do("dtmf", "5")
        await until(
            lambda: phone.messages().count("CSeq: 7 INFO") >= 2,
            what="its own key was answered",
        )
        await client.do("hangUp")
        await phone.succeeds()
    statistics = (await stage.bridge.ended(person.user_id)).statistics
    assert (statistics["matrix_events"], statistics["sip_events"]) == (1, 1)


async def test_mutes_and_the_call_goes_on(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        await client.do("mute", True)
        await phone.hears_nothing()
        await client.hears(1000)
        await client.do("mute", False)
        await phone.hears(MICROPHONE_HERTZ)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def _is_held(client: BrowserClient, held: bool) -> None:
    async def as_wanted() -> bool:
        return (await client.snapshot()).held_by_them == held

    await until_async(as_wanted, what=f"the client says that held by them is {held}")


async def _is_silent(client: BrowserClient) -> None:
    async def silent() -> bool:
        return (await client.snapshot()).rms < 0.002

    await until_async(silent, what="the browser hears silence", every=0.1)
