# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's chat with the bridge's bot."""

from typing import Self

from tests.simulators.matrix_client import MatrixClient, RoomEvent
from tests.simulators.synapse import SERVER_NAME
from tests.simulators.waiting import PATIENCE, until

BOT = f"@sipbot:{SERVER_NAME}"


class BotChat:
    """A direct room of `client` with the bot."""

    def __init__(self, client: MatrixClient, room: str) -> None:
        self.client = client
        self.room = room

    @classmethod
    async def open(cls, client: MatrixClient) -> Self:
        """Invite the bot, as one starts a direct chat, and wait for its greeting."""
        chat = cls(client, await client.direct_room(BOT))
        await chat.hears(1)
        return chat

    @property
    def notices(self) -> list[RoomEvent]:
        """What the bot has said, in order."""
        found = self.client.seen("m.room.message", room=self.room)
        assert all(event.content["msgtype"] == "m.notice" for event in found)
        return found

    async def hears(self, count: int, *, within: float = PATIENCE) -> str:
        """What the bot says as its `count`th."""
        heard = await until(
            lambda: self.notices[count - 1 :], within=within, what=f"the bot said {count} things"
        )
        return str(heard[0].content["body"])

    async def say(self, text: str, *, within: float = PATIENCE) -> str:
        """Write something; returns the bot's answer."""
        before = len(self.notices)
        await self.write(text)
        return await self.hears(before + 1, within=within)

    async def write(self, text: str) -> str:
        """Write something; returns the id of the event."""
        content = {"msgtype": "m.text", "body": text}
        return await self.client.send(self.room, "m.room.message", content)
