# SPDX-License-Identifier: GPL-3.0-or-later
"""A door station and a browser see each other: each decodes what the other's camera films."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.filming import Filming
from tests.e2e.stage import DOOR, GatedStage
from tests.simulators.browser import BrowserClient
from tests.simulators.film import video_section
from tests.simulators.sip_party import SipParty
from tests.simulators.waiting import PATIENCE, until, until_async


@pytest_asyncio.fixture(loop_scope="session")
async def party(stage: GatedStage) -> AsyncIterator[SipParty]:
    """The door's signalling."""
    async with SipParty(DOOR.address, DOOR.port) as party:
        yield party


async def _sees_the_door(client: BrowserClient, pictures: int = 4) -> None:
    """Wait until the client shows so many different pictures."""
    seen: set[int] = set()

    async def enough() -> bool:
        seen.add(int(await client.do("picture")))
        return len(seen - {-1}) >= pictures

    await until_async(enough, what="the client sees the door's camera", every=0.05)


async def _shows(client: BrowserClient, *, picture: bool) -> None:
    """Wait until the client's interface has the far end as somebody with a picture, or without."""

    async def shown() -> bool:
        feeds = await client.do("theirFeeds")
        return [feed["videoMuted"] for feed in feeds] == [not picture]

    await until_async(shown, what="the far end is shown as it is")


async def _hangs_up(client: BrowserClient, party: SipParty) -> None:
    await client.do("hangUp")
    await asyncio.wait_for(party.hung_up.wait(), PATIENCE)


async def test_a_person_calls_the_door_which_stops_showing_itself_and_begins_again(
    stage: GatedStage, new_browser_client: NewBrowserClient, party: SipParty
) -> None:
    person, client = await new_browser_client()
    room = await client.room_with(DOOR.ghost)
    async with Filming("H264") as door:
        await client.do("beginToPlace", room, {"video": True})
        offer = await party.rings()
        assert video_section(offer).rtpmaps[0].name == "VP8"
        await party.answers(door.sdp())
        door.speak_to(offer)
        await client.reaches("connected")
        await _sees_the_door(client)
        await door.sees()
        await _shows(client, picture=True)
        # The door drops its video.
        reply = await party.asks("INVITE", door.sdp(declines=True))
        assert (reply.status, video_section(reply.sdp).port) == (200, 0)
        await _shows(client, picture=False)
        assert await client.do("videoDirection") == "inactive"
        await client.hears(1000)
        # And adds it again.
        reply = await party.asks("INVITE", door.sdp())
        assert reply.status == 200
        door.speak_to(reply.sdp)
        await _sees_the_door(client)
        await door.sees()
        await _shows(client, picture=True)
        # Hold holds both.
        await client.do("hold", True)
        await until(lambda: bool(party.offers), what="the door is held")
        assert party.offers[-1].count("a=sendonly") == 2
        await client.do("hold", False)
        await until(lambda: len(party.offers) == 2, what="the door is resumed")
        assert party.offers[-1].count("a=sendrecv") == 2
        await _sees_the_door(client)
        await door.sees()
        await _hangs_up(client, party)
    record = await stage.bridge.ended(person.user_id)
    assert record.cause == "normal"
    assert record.statistics["video_mode"] == "relay"
    assert record.statistics["sip_video_codec"] == "H264/90000"


async def test_the_door_calls_and_the_person_shows_themselves_later(
    stage: GatedStage, new_browser_client: NewBrowserClient, party: SipParty
) -> None:
    person, client = await new_browser_client()
    async with Filming("VP8") as door:
        calling = asyncio.create_task(party.calls(stage.uri(person), door.sdp()))
        await client.reaches("ringing")
        await client.do("answer")
        reply = await calling
        assert reply.status == 200
        assert video_section(reply.sdp).direction.value == "recvonly"
        door.speak_to(reply.sdp)
        await client.reaches("connected")
        await _sees_the_door(client)
        await _shows(client, picture=True)
        assert not door.screen.shown
        await client.do("camera", True)
        await until(lambda: bool(party.offers), what="the door is offered the person's picture")
        assert video_section(party.offers[-1]).direction.value == "sendrecv"
        await door.sees()
        await _sees_the_door(client)
        await client.hears(1000)
        await _hangs_up(client, party)
    assert (await stage.bridge.ended(person.user_id)).cause == "normal"


async def test_declined_in_place_where_it_is_not_shared(
    stage: GatedStage, new_browser_client: NewBrowserClient, party: SipParty
) -> None:
    """The door has no camera when it is called; in mid-call it refuses to be asked for one."""
    person, client = await new_browser_client()
    room = await client.room_with(DOOR.ghost)
    async with Filming("VP8") as door:
        await client.do("beginToPlace", room, {"video": True})
        offer = await party.rings()
        assert video_section(offer).port
        await party.answers(door.sdp(declines=True))
        door.speak_to(offer)
        await client.reaches("connected")
        assert await client.do("videoDirection") in ("inactive", "none")
        await _shows(client, picture=False)
        await client.hears(1000)
        await door.sound.hears(440)
        assert not door.screen.packets
        await _hangs_up(client, party)
    record = await stage.bridge.ended(person.user_id)
    assert record.cause == "normal"
    assert "video_mode" not in record.statistics


async def test_who_wants_no_video_at_first_shows_itself_later_and_is_followed_by_another(
    stage: GatedStage, new_browser_client: NewBrowserClient, party: SipParty
) -> None:
    """488 to the call, which is placed again without; then a re-INVITE; then Replaces."""
    person, client = await new_browser_client()
    room = await client.room_with(DOOR.ghost)
    party.refuses = [488]
    async with (
        Filming("VP8") as door,
        Filming("VP8") as gate,
        SipParty(DOOR.address, DOOR.port + 10) as other,
    ):
        await client.do("beginToPlace", room, {"video": True})
        offer = await party.rings()
        assert ["m=video" in each for each in (*party.refused, offer)] == [True, False]
        await party.answers(door.audio())
        door.sound.speak_to(offer)
        await client.reaches("connected")
        await client.hears(1000)
        await door.sound.hears(440)
        reply = await party.asks("INVITE", door.sdp())
        assert reply.status == 200
        door.speak_to(reply.sdp)
        await _sees_the_door(client)
        gate.camera.ssrc += 1
        reply = await other.takes_over(party, ("127.0.0.1", stage.sip_port), gate.sdp())
        assert reply.status == 200
        gate.speak_to(reply.sdp)
        await asyncio.wait_for(party.hung_up.wait(), PATIENCE)
        await _sees_the_door(client)
        await client.hears(1000)
        await gate.sound.hears(440)
        await _hangs_up(client, other)
    record = await stage.bridge.ended(person.user_id)
    assert record.cause == "normal"
    assert record.statistics["video_mode"] == "relay"
    ladder = [rung.summary for rung in stage.bridge.ladder(record.call)]
    assert sum(line.startswith("INVITE ") for line in ladder) >= 3
    again = f"{DOOR.name} could not with video: no_common_codec (488); trying without it"
    assert again in ladder
