# SPDX-License-Identifier: GPL-3.0-or-later
"""A page of Chromium for the media engine: no client, just its WebRTC, and what tests tell it."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.simulators.browser import chromium
from tests.simulators.waiting import until_async

HERE = Path(__file__).parent
MODULES = HERE.parent / "e2e" / "browser"
START = """
window.pc = new RTCPeerConnection({iceServers: []});
window.candidates = [];
pc.onicecandidate = e => candidates.push(e.candidate ? e.candidate.candidate : "");
pc.ontrack = e => {
    window.player = new Audio();
    player.srcObject = new MediaStream([e.track]);
    player.play();
};
window.stream = await navigator.mediaDevices.getUserMedia({audio: true});
"""
OFFER = """
if (!pc.getTransceivers().length) pc.addTrack(stream.getTracks()[0], stream);
await pc.setLocalDescription();
return pc.localDescription.sdp;
"""
GATHERED = """
while (pc.iceGatheringState !== "complete") await new Promise(r => setTimeout(r, 20));
return candidates;
"""
HEARD = """
const found = [...(await pc.getStats()).values()].filter(s => s.type === "inbound-rtp")[0];
return found ? [found.packetsReceived, found.packetsLost, found.totalAudioEnergy] : [0, 0, 0];
"""


class Page:
    """A page of Chromium that evaluates JavaScript, for one test after the other.

    Each has an event loop of its own, so what is read here is read by a thread.
    """

    def __init__(self, microphone: Path) -> None:
        """Start Chromium with a microphone that hears a file, and a camera with a test picture."""
        self._process = subprocess.Popen(
            ["node", HERE / "browser.mjs", MODULES, chromium(), microphone],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._id = 0

    async def renew(self) -> None:
        """Have an empty page instead of what the last test left."""
        await self._ask(None)
        await self.run(START)

    async def run(self, code: str) -> Any:
        """The value that `code` returns."""
        return await self._ask(code)

    async def _ask(self, code: str | None) -> Any:
        self._id += 1
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"id": self._id, "code": code}).encode() + b"\n")
        self._process.stdin.flush()
        reply = json.loads(await asyncio.to_thread(self._process.stdout.readline))
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["value"]

    async def offer(self, before: str = "") -> str:
        """A local offer, applied."""
        sdp = await self.run(before + OFFER)
        assert isinstance(sdp, str)
        return sdp

    async def accept(self, sdp: str) -> None:
        """The far end's answer."""
        await self.run(
            f"await pc.setRemoteDescription({{type: 'answer', sdp: {json.dumps(sdp)}}});"
        )

    async def answer(self, sdp: str) -> str:
        """A local answer to an offer, applied."""
        answer = await self.run(
            f"await pc.setRemoteDescription({{type: 'offer', sdp: {json.dumps(sdp)}}});" + OFFER
        )
        assert isinstance(answer, str)
        return answer

    async def candidates(self) -> list[str]:
        """Everything that was trickled, to the end."""
        found = await self.run(GATHERED)
        assert isinstance(found, list)
        return found

    async def hears(self, packets: int) -> tuple[int, int, float]:
        """Wait for packets; how many, how many lost, and their energy."""

        async def enough() -> list[float] | None:
            found = await self.run(HEARD)
            return found if found[0] >= packets else None

        found = await until_async(enough, what="the browser heard", every=0.1)
        assert found is not None
        return int(found[0]), int(found[1]), found[2]

    def close(self) -> None:
        """End Chromium."""
        self._process.communicate()
