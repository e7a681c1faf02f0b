# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client's WebRTC does in a call: networks, candidates, video that nobody can see."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.e2e.conftest import NewBrowserClient
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.baresip import Phone
from tests.simulators.browser import MICROPHONE_HERTZ, PERMITTED, Browser, BrowserClient
from tests.simulators.isolation import ExtraNetwork
from tests.simulators.waiting import until, until_async


async def test_restarts_ice(stage: GatedStage, new_browser_client: NewBrowserClient) -> None:
    """The client gathers anew and negotiates: other sockets, the same keys, the same call."""
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await _both_hear(client, phone)
        before = (await client.do("statistics"))["local"]
        await client.do("restartIce")
        await _moved(client, before)
        await _both_hear_anew(client, phone)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).cause == "normal"


async def test_restarts_ice_when_called(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        await client.reaches("ringing")
        await client.do("answer")
        await client.reaches("connected")
        await _both_hear(client, phone)
        before = (await client.do("statistics"))["local"]
        await client.do("restartIce")
        await _moved(client, before)
        await _both_hear_anew(client, phone)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).cause == "normal"


@pytest.fixture
def extra(network: None) -> Iterator[ExtraNetwork]:
    """A network whose address can be changed."""
    with ExtraNetwork("10.9.0.2") as extra:
        yield extra


@pytest_asyncio.fixture(loop_scope="session")
async def roaming(
    extra: ExtraNetwork, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Browser]:
    """A browser that knows no other network than that."""
    browser = Browser(tmp_path_factory.mktemp("roaming"), flags=(PERMITTED,))
    await browser.start()
    yield browser
    await browser.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def unpermitted(
    extra: ExtraNetwork, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Browser]:
    """The same, but its pages may not use the microphone: they are not told addresses, either."""
    browser = Browser(tmp_path_factory.mktemp("unpermitted"), flags=())
    await browser.start()
    yield browser
    await browser.stop()


async def test_the_client_moves_to_another_network(
    roaming: Browser,
    extra: ExtraNetwork,
    stage: GatedStage,
    new_browser_client: NewBrowserClient,
) -> None:
    """The old address is gone without a word; the client notices, and restarts ICE by itself."""
    person, client = await new_browser_client(browser=roaming)
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await _both_hear(client, phone)
        assert (await client.do("statistics"))["local"].startswith("10.9.0.2:")
        extra.move("10.9.0.3")
        await until_async(
            lambda: _is_at(client, "10.9.0.3:"), what="the client uses the new address"
        )
        await client.reaches("connected")
        await _both_hear_anew(client, phone)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).cause == "normal"


async def test_offers_video_and_gets_a_call_without(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room, {"video": True})
        await client.reaches("connected")
        invite = await client.says("m.call.invite")
        assert "m=video" in invite.content["offer"]["sdp"]
        assert await client.do("videoDirection") in ("inactive", "none")
        await _both_hear(client, phone)
        await _shows_a_voice(client)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert (await stage.bridge.ended(person.user_id)).cause == "normal"


async def test_switches_the_camera_on_and_off_in_a_call(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await _both_hear(client, phone)
        await client.do("camera", True)
        await _negotiated(client, 1)
        assert await client.do("videoDirection") in ("inactive", "none")
        await _both_hear_anew(client, phone)
        await client.do("camera", False)
        await _both_hear_anew(client, phone)
        assert (await client.snapshot()).state == "connected"
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_shares_its_screen_in_a_call(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await _both_hear(client, phone)
        assert await client.do("shareScreen", True)
        await _negotiated(client, 1)
        assert await client.do("videoDirection") in ("inactive", "none")
        await _both_hear_anew(client, phone)
        await client.do("shareScreen", False)
        await _negotiated(client, 2)
        await _both_hear_anew(client, phone)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_sees_the_telephone_as_a_voice_without_picture(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client()
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        await client.reaches("ringing")
        await client.do("answer")
        await client.reaches("connected")
        await client.hears(1000)
        await _shows_a_voice(client)
        await phone.hang_up()
        await client.reaches("ended")


async def test_mutes_itself_by_its_metadata(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """The microphone goes silent and `sdp_stream_metadata_changed` says so; nothing ends."""
    _, client = await new_browser_client()
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        for muted in (True, False):
            await client.do("mute", muted)
            await until_async(
                lambda muted=muted: _said_muted(client, muted),  # type: ignore[misc]
                what=f"the client said that muted is {muted}",
            )
            await (phone.hears_nothing() if muted else phone.hears(MICROPHONE_HERTZ))
            await client.hears(1000)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_candidates_that_all_come_later(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """As Element iOS: none in the offer, and nobody says which is the last."""
    _, client = await new_browser_client(options={"tricklesAll": True})
    room = await client.room_with(PCMU.ghost)
    async with stage.phone(PCMU) as phone:
        await client.do("place", room)
        await client.reaches("connected")
        invite = await client.says("m.call.invite")
        assert "a=candidate" not in invite.content["offer"]["sdp"]
        await client.says("m.call.candidates")
        await _both_hear(client, phone)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_candidates_that_all_come_after_the_answer(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    person, client = await new_browser_client(options={"tricklesAll": True})
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        await client.reaches("ringing")
        await client.do("answer")
        await client.reaches("connected")
        answer = await client.says("m.call.answer")
        assert "a=candidate" not in answer.content["answer"]["sdp"]
        await _both_hear(client, phone)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


@pytest.mark.parametrize("calls", [True, False], ids=["calls", "is called"])
async def test_candidates_that_name_no_address(
    unpermitted: Browser,
    stage: GatedStage,
    new_browser_client: NewBrowserClient,
    calls: bool,
) -> None:
    """mDNS names mean nothing here: the client is found by its own checks (RFC 8445 7.3.1.3)."""
    options = {"microphoneHertz": MICROPHONE_HERTZ}
    person, client = await new_browser_client(browser=unpermitted, options=options)
    async with stage.phone(PCMU) as phone:
        if calls:
            await client.do("place", await client.room_with(PCMU.ghost))
        else:
            await phone.dial(stage.uri(person))
            await client.reaches("ringing")
            await client.do("answer")
        await client.reaches("connected")
        await client.says("m.call.invite" if calls else "m.call.answer")
        written = await _candidates_written(client)
        assert ".local " in written, written
        assert " 10.9.0.2 " not in written
        await _both_hear(client, phone)
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")


async def test_presses_keys_when_called(
    stage: GatedStage, new_browser_client: NewBrowserClient
) -> None:
    """The keypad is shown, and each key reaches the telephone once (RFC 4733)."""
    person, client = await new_browser_client()
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        await client.reaches("ringing")
        await client.do("answer")
        await client.reaches("connected")
        await phone.hears(MICROPHONE_HERTZ)
        assert (await client.snapshot()).dtmf
        for number, key in enumerate("1*#0", 1):
            await client.do("dtmf", key)
            seen = await phone.sees("CALL_DTMF_START", count=number)
            assert seen.parameter == key
        await client.do("hangUp")
        await phone.sees("CALL_CLOSED")
    assert len(phone.seen("CALL_DTMF_START")) == 4


async def _both_hear(client: BrowserClient, phone: Phone) -> None:
    await phone.hears(MICROPHONE_HERTZ)
    await client.hears(1000)


async def _both_hear_anew(client: BrowserClient, phone: Phone) -> None:
    """What comes from now on is heard, and not only what came before."""
    before = await client.do("statistics")
    heard = len(phone.heard()[0])

    async def came() -> bool:
        return bool((await client.do("statistics"))["received"] > before["received"] + 25)

    await until_async(came, what="the client gets more audio", every=0.1)
    rate = phone.heard()[1]
    await until(
        lambda: len(phone.heard()[0]) > heard + rate // 2,
        what="the telephone gets more audio",
        every=0.1,
    )
    await _both_hear(client, phone)


async def _is_at(client: BrowserClient, start: str) -> bool:
    return bool((await client.do("statistics"))["local"].startswith(start))


async def _moved(client: BrowserClient, before: str) -> None:
    async def elsewhere() -> bool:
        now = (await client.do("statistics"))["local"]
        return bool(now and now != before)

    try:
        await until_async(elsewhere, what=f"the client left {before}", every=0.1)
    except TimeoutError as error:
        error.add_note(str(await client.do("connection")))
        raise


async def _negotiated(client: BrowserClient, count: int) -> None:
    """The bridge has answered so many negotiations of the client."""

    async def answered() -> bool:
        negotiations = await client.said("m.call.negotiate")
        theirs = [one for one in negotiations if one.sender]
        stable = await client.do("signalingState") == "stable"
        return len(theirs) >= count and stable

    await until_async(answered, what=f"{count} negotiations were answered")


async def _shows_a_voice(client: BrowserClient) -> None:
    feeds = await client.do("theirFeeds")
    assert feeds == [{"purpose": "m.usermedia", "audioMuted": False, "videoMuted": True}]


async def _said_muted(client: BrowserClient, muted: bool) -> bool:
    changes = [
        *await client.said("m.call.sdp_stream_metadata_changed"),
        *await client.said("org.matrix.call.sdp_stream_metadata_changed"),
    ]
    if not changes:
        return False
    (stream,) = next(
        value for key, value in changes[-1].content.items() if key.endswith("sdp_stream_metadata")
    ).values()
    return bool(stream["audio_muted"] is muted)


async def _candidates_written(client: BrowserClient) -> str:
    """Everything the client has said of where it can be reached."""
    lines = []
    for event in await client.said("m.call.candidates"):
        lines += [candidate["candidate"] for candidate in event.content["candidates"]]
    for kind, field in (("m.call.invite", "offer"), ("m.call.answer", "answer")):
        for event in await client.said(kind):
            if not event.sender:
                sdp = event.content[field]["sdp"]
                lines += [line for line in sdp.splitlines() if line.startswith("a=candidate")]
    return "\n".join(lines)
