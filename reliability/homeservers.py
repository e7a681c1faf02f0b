# SPDX-License-Identifier: GPL-3.0-or-later
"""The homeservers that calls are played with: Synapse, and one that costs next to nothing."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from benchmarks.homeserver import Homeserver
from reliability.people import Account, SynapseAccount
from tests.simulators.bridge_process import BridgeProcess
from tests.simulators.matrix_client import Content, RoomEvent
from tests.simulators.processes import free_port
from tests.simulators.synapse import SERVER_NAME, Synapse


class Server(Protocol):
    """A homeserver."""

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""

    async def start(self) -> None:
        """Start, on what it knew before."""

    async def stop(self) -> None:
        """Stop; who asks then is refused."""

    async def account(self, name: str) -> Account:
        """Make somebody."""

    async def close(self) -> None:
        """Stop it, and everybody's clients."""


class Real:
    """Synapse, on SQLite."""

    def __init__(self, directory: Path, bridge: BridgeProcess) -> None:
        self._synapse = Synapse(directory / "synapse", [bridge.registration])
        self._accounts: list[SynapseAccount] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._synapse.port

    async def start(self) -> None:
        """Start, on what it knew before."""
        await self._synapse.start()

    async def stop(self) -> None:
        """Stop it."""
        await self._synapse.stop()

    async def account(self, name: str) -> Account:
        """Somebody with a client that syncs."""
        credentials = await self._synapse.register(name)
        account = SynapseAccount(self._synapse.url, credentials)
        await account.__aenter__()
        self._accounts.append(account)
        return account

    async def close(self) -> None:
        """Stop everything."""
        for account in self._accounts:
            await account.__aexit__()
        await self._synapse.stop()


class SimulatedAccount:
    """One on the homeserver that is in this process."""

    def __init__(self, server: "Simulated", user_id: str) -> None:
        self._server = server
        self._user_id = user_id
        self.listeners: list[Callable[[RoomEvent], None]] = []

    @property
    def user_id(self) -> str:
        """Who they are."""
        return self._user_id

    def listen(self, listener: Callable[[RoomEvent], None]) -> None:
        """Call `listener` with every event."""
        self.listeners.append(listener)

    async def send(self, room: str, event_type: str, content: Content) -> str:
        """Send an event."""
        self._server.homeserver.say(room, self._user_id, event_type, dict(content))
        return ""

    async def room_with(self, other: str) -> str:
        """The room with a ghost."""
        return self._server.homeserver.room_of(self._user_id, other)


class Simulated:
    """A homeserver in this process, to which everybody belongs."""

    def __init__(self, bridge: BridgeProcess, appservice: str) -> None:
        """`appservice`: where the bridge listens for it."""
        self.homeserver = Homeserver(SERVER_NAME, "sipbot", self._said)
        self._bridge = bridge
        self._appservice = appservice
        self._port = free_port()
        self._accounts: dict[str, SimulatedAccount] = {}

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    async def start(self) -> None:
        """Listen."""
        await self.homeserver.start(self._port, self._appservice, self._bridge.homeserver_token)

    async def stop(self) -> None:
        """Listen no more."""
        await self.homeserver.stop()

    async def account(self, name: str) -> Account:
        """Make somebody."""
        account = SimulatedAccount(self, f"@{name}:{SERVER_NAME}")
        self._accounts[account.user_id] = account
        return account

    async def close(self) -> None:
        """Stop."""
        await self.stop()

    def _said(self, room: str, sender: str, kind: str, content: dict[str, Any]) -> None:
        event = RoomEvent(room, kind, sender, content, None, "", time.monotonic())
        for member in self.homeserver.members(room):
            account = self._accounts.get(member)
            if account is not None:
                for listener in account.listeners:
                    listener(event)
