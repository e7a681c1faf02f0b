# SPDX-License-Identifier: GPL-3.0-or-later
"""Janus and its NoSIP plugin, for `benchmarks.media`; spoken to by its API over a WebSocket."""

import asyncio
import json
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

from benchmarks.gateways import PATIENCE, Gateway, free_port
from benchmarks.network import HOST

_SETTINGS: Final = {
    "janus.jcfg": """general: {{ configs_folder = "{folder}" debug_level = 1 }}
media: {{ rtp_port_range = "40000-49999" }}
nat: {{ ice_ignore_list = "lo" }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
""",
    "janus.transport.websockets.jcfg": """general: {{
    json = "compact"
    ws = true
    ws_port = {port}
    ws_ip = "{host}"
}}
""",
    "janus.plugin.nosip.jcfg": """general: {{ local_ip = "{host}" rtp_port_range = "30000-39999" }}
""",
}
_OTHERS: Final = (
    "audiobridge",
    "duktape",
    "echotest",
    "lua",
    "recordplay",
    "sip",
    "streaming",
    "textroom",
    "videocall",
    "videoroom",
    "voicemail",
)
_TRANSPORTS: Final = ("http", "mqtt", "nanomsg", "pfunix", "rabbitmq")


class Janus(Gateway):
    """It relays only: what it is asked to transcode, it cannot."""

    name = "janus"
    program = "janus"
    transcodes = False

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        folder: Path,
        http: aiohttp.ClientSession,
        api: aiohttp.ClientWebSocketResponse,
    ) -> None:
        super().__init__(process)
        self._folder, self._http, self._api = folder, http, api
        self._session = 0
        self._handles: dict[str, int] = {}

    @classmethod
    async def start(cls, core: int) -> Self:
        """Start it, bound to `core`."""
        folder, port = Path(tempfile.mkdtemp(prefix="janus")), free_port()
        for name, text in _SETTINGS.items():
            filled = text.format(
                folder=folder,
                plugins=_libraries(_OTHERS),
                transports=_libraries(_TRANSPORTS),
                host=HOST,
                port=port,
            )
            (folder / name).write_text(filled)
        settings = ("-F", str(folder), "-C", str(folder / "janus.jcfg"))
        process = await cls.spawn(core, cls.program, *settings)
        http = aiohttp.ClientSession()
        gateway = cls(process, folder, http, await _connected(http, port))
        gateway._session = (await gateway._ask({"janus": "create"}))["data"]["id"]
        return gateway

    async def offer(self, call: str, sdp: str, *, transcode: bool) -> str:
        """What to offer the telephone."""
        attached = await self._ask({"janus": "attach", "plugin": "janus.plugin.nosip"})
        self._handles[call] = attached["data"]["id"]
        jsep = {"type": "offer", "sdp": sdp, "trickle": False}
        event = await self._tell(call, {"request": "generate"}, "generated", jsep=jsep)
        return str(event["plugindata"]["data"]["result"]["sdp"])

    async def answer(self, call: str, sdp: str) -> str:
        """What to answer the client."""
        body = {"request": "process", "type": "answer", "sdp": sdp}
        event = await self._tell(call, body, "processed")
        return str(event["jsep"]["sdp"])

    async def close(self, call: str) -> None:
        """End a call."""
        handle = self._handles.pop(call)
        await self._ask({"janus": "detach", "handle_id": handle})

    async def _tell(self, call: str, body: dict[str, str], wanted: str, **more: Any) -> Any:
        handle = self._handles[call]
        request = {"janus": "message", "handle_id": handle, "body": body, **more}
        await self._send(request)
        async with asyncio.timeout(PATIENCE):
            while True:
                reply = await self._receive()
                data = reply.get("plugindata", {}).get("data", {})
                if reply["janus"] == "error" or "error" in data:
                    raise RuntimeError(f"janus: {reply}")
                if data.get("result", {}).get("event") == wanted:
                    return reply

    async def _ask(self, request: dict[str, Any]) -> Any:
        transaction = await self._send(request)
        async with asyncio.timeout(PATIENCE):
            while True:
                reply = await self._receive()
                if reply.get("transaction") == transaction:
                    return reply

    async def _send(self, request: dict[str, Any]) -> str:
        transaction = secrets.token_hex(6)
        session = {"session_id": self._session} if self._session else {}
        message = json.dumps({**request, **session, "transaction": transaction})
        await self._api.send_str(message)
        return transaction

    async def _receive(self) -> Any:
        return await self._api.receive_json()

    async def stop(self) -> None:
        """End it."""
        await self._api.close()
        await self._http.close()
        await super().stop()
        shutil.rmtree(self._folder)


async def _connected(http: aiohttp.ClientSession, port: int) -> aiohttp.ClientWebSocketResponse:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await http.ws_connect(f"ws://{HOST}:{port}/", protocols=("janus-protocol",))
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


def _libraries(names: tuple[str, ...]) -> str:
    return ",".join(f"libjanus_{name}.so" for name in names)
