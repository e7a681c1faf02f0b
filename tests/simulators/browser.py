# SPDX-License-Identifier: GPL-3.0-or-later
"""Chromium with matrix-js-sdk: the client that most people call with."""

import asyncio
import itertools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulators import audio
from tests.simulators.processes import Child
from tests.simulators.synapse import Credentials
from tests.simulators.waiting import PATIENCE, until_async

_EVERY = 0.1
"""Seconds between two looks: each is a message to Chromium, and work for it."""
_HARNESS = Path(__file__).parents[1] / "e2e" / "browser"
MICROPHONE_HERTZ = 440
"""What every client of a `Browser` says into its microphone."""
LOOPBACK = "--allow-loopback-in-peer-connection"
"""Chromium's flag for WebRTC to use loopback too, which it leaves out otherwise."""
PERMITTED = "--use-fake-ui-for-media-stream"
"""Chromium's flag for every page to have the permission to use microphone and camera."""


def chromium() -> Path:
    """Where Chromium is: TESTS_CHROMIUM, or what the PATH has."""
    chosen = os.environ.get("TESTS_CHROMIUM")
    found = chosen or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        raise FileNotFoundError(
            "there is no chromium; install it (Debian: apt-get install chromium),"
            " or set TESTS_CHROMIUM"
        )
    return Path(found)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A client's view of its latest call."""

    call_id: str | None
    state: str | None
    reason: str | None
    ended_by: str | None
    """`local` or `remote`."""
    held: bool
    """We hold the other side."""
    held_by_them: bool
    dtmf: bool
    hertz: float
    rms: float

    def hears(self, hertz: float, *, tolerance: float = 15.0) -> bool:
        """Whether the tone that is heard now is `hertz`."""
        return abs(self.hertz - hertz) <= tolerance and self.rms > 0.005


@dataclass(frozen=True, slots=True)
class Said:
    """An event of a room, as the client got it."""

    room: str
    type: str
    sender: str
    """Empty: the client's own user, on whatever device."""
    content: Mapping[str, Any]


class Browser:
    """The Chromium process; `client` gives each client a page with storage of its own in it.

    `flags` are Chromium's; tests have no other network than loopback, unless they make one.
    """

    def __init__(self, directory: Path, *, flags: Sequence[str] = (LOOPBACK, PERMITTED)) -> None:
        self._directory = directory
        self._flags = flags
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._child: Child | None = None
        self._reader: asyncio.Task[None] | None = None
        self.version = ""

    async def start(self) -> None:
        """Bundle the page and launch."""
        if not (_HARNESS / "node_modules").is_dir():
            raise FileNotFoundError(
                f"the browser tests' packages are missing; run `make setup` (npm ci in {_HARNESS})"
            )
        self._directory.mkdir(parents=True, exist_ok=True)
        microphone = self._directory / "microphone.wav"
        audio.write_wav(microphone, audio.sine(MICROPHONE_HERTZ, 10, 48000), 48000)
        self._child = await Child.start(
            "browser",
            ["node", _HARNESS / "driver.mjs", chromium(), microphone, *self._flags],
            log=self._directory / "browser.log",
            cwd=_HARNESS,
            pipes=True,
        )
        ready = self._waiting[0] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(self._child))
        self.version = str(await asyncio.wait_for(ready, 60))

    async def stop(self) -> None:
        """End Chromium."""
        if self._child and self._child.process.stdin:
            self._child.process.stdin.close()
            try:
                await self._child.wait(within=10)
            except TimeoutError:
                await self._child.kill()
        if self._reader:
            await self._reader

    async def client(
        self, url: str, credentials: Credentials, options: Mapping[str, Any] | None = None
    ) -> "BrowserClient":
        """A page as new, logged in and synced. `options` are more of what `mx.start` takes."""
        page = await self.request({"do": "open"})
        client = BrowserClient(self, page, url, credentials, options or {})
        await client.start()
        return client

    async def request(self, message: dict[str, Any]) -> Any:
        """One request to the driver."""
        if not self._child or not self._child.process.stdin:
            raise RuntimeError("the browser has not been started")
        self._child.check()
        number = next(self._ids)
        reply = self._waiting[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({**message, "id": number}) + "\n"
        self._child.process.stdin.write(line.encode())
        return await asyncio.wait_for(reply, 2 * PATIENCE)

    async def _read(self, child: Child) -> None:
        output = child.process.stdout
        while output and (line := await output.readline()):
            message = json.loads(line)
            waiting = self._waiting.pop(message["id"])
            if waiting.done():
                continue
            if "error" in message:
                waiting.set_exception(RuntimeError(message["error"]))
            else:
                waiting.set_result(message["value"])
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RuntimeError(f"the browser ended:\n{child.output()}"))


class BrowserClient:
    """A matrix-js-sdk client: one device of one user."""

    def __init__(
        self,
        browser: Browser,
        page: int,
        url: str,
        credentials: Credentials,
        options: Mapping[str, Any],
    ) -> None:
        self.credentials = credentials
        self._browser = browser
        self._page = page
        self._url = url
        self._options = options

    @property
    def user_id(self) -> str:
        """Who this is."""
        return self.credentials.user_id

    async def do(self, name: str, *args: Any) -> Any:
        """Call a function of the page's `window.mx`."""
        return await self._browser.request(
            {"do": "call", "page": self._page, "name": name, "args": args}
        )

    async def start(self) -> None:
        """Log in and sync."""
        await self.do(
            "start",
            {
                "baseUrl": self._url,
                "userId": self.credentials.user_id,
                "deviceId": self.credentials.device_id,
                "accessToken": self.credentials.access_token,
                **self._options,
            },
        )

    async def reload(self) -> None:
        """Reload the page: the same device starts anew, and knows of no call."""
        await self._browser.request({"do": "reload", "page": self._page})
        await self.start()

    async def close(self) -> None:
        """Leave the page, as if the tab were closed."""
        await self._browser.request({"do": "close", "page": self._page})

    async def snapshot(self) -> Snapshot:
        """The latest call, now."""
        seen = await self.do("snapshot")
        return Snapshot(
            call_id=seen["callId"],
            state=seen["state"],
            reason=seen["reason"],
            ended_by=seen["endedBy"],
            held=seen["held"],
            held_by_them=seen["heldByThem"],
            dtmf=seen["dtmf"],
            hertz=seen["tone"]["hertz"],
            rms=seen["tone"]["rms"],
        )

    async def room_with(self, other: str, *, encrypted: bool = False) -> str:
        """A new direct room with `other`, who has joined it when this returns."""
        room = str(await self.do("room", other, encrypted))

        async def both() -> bool:
            return bool(await self.do("members", room) == 2)

        await until_async(both, what=f"{other} joined the room", every=_EVERY)
        return room

    async def said(self, event_type: str) -> list[Said]:
        """Events of a type that came since the start, the user's own included."""
        return [Said(**one) for one in await self.do("said", event_type)]

    async def says(self, event_type: str, *, count: int = 1, within: float = PATIENCE) -> Said:
        """Wait for the `count`th event of a type that the client's own user sent."""
        return await self._event(event_type, count, within, ours=True)

    async def is_told(self, event_type: str, *, count: int = 1, within: float = PATIENCE) -> Said:
        """Wait for the `count`th event of a type that another user sent."""
        return await self._event(event_type, count, within, ours=False)

    async def _event(self, event_type: str, count: int, within: float, *, ours: bool) -> Said:
        async def found() -> list[Said]:
            events = await self.said(event_type)
            return [event for event in events if (not event.sender) is ours][count - 1 :]

        what = f"{event_type} was {'said by' if ours else 'told to'} the client"
        return (await until_async(found, within=within, what=what, every=_EVERY))[0]

    async def dial_pad(self, number: str) -> str:
        """The Matrix user that stands for what was typed into the dial pad."""
        return str(await self.do("dialPad", number))

    async def reaches(self, state: str, *, within: float = PATIENCE) -> Snapshot:
        """Wait until the latest call is in a state of matrix-js-sdk's `CallState`."""

        async def reached() -> Snapshot | None:
            seen = await self.snapshot()
            return seen if seen.state == state else None

        try:
            found = await until_async(
                reached, within=within, what=f"the call became {state}", every=_EVERY
            )
        except TimeoutError as error:
            error.add_note(json.dumps(await self.do("notes")))
            raise
        assert found is not None
        return found

    async def rings(self, *, within: float = PATIENCE) -> None:
        """Wait until a call has come in, however short it was."""

        async def rang() -> bool:
            return any(note["what"] == "incoming" for note in await self.do("notes"))

        await until_async(rang, within=within, what="a call came in", every=_EVERY)

    async def hears(self, hertz: float, *, within: float = PATIENCE) -> None:
        """Wait until a tone of `hertz` is what is heard."""

        async def heard() -> bool:
            return (await self.snapshot()).hears(hertz)

        await until_async(heard, within=within, what=f"the browser hears {hertz} Hz", every=_EVERY)
