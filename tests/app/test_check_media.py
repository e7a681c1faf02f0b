# SPDX-License-Identifier: GPL-3.0-or-later
"""`check` of what audio needs: STUN and TURN servers, the public address, codecs."""

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bridge.app.check_media import Reached, codecs, judge
from bridge.app.verdicts import Doubt, NotTried
from bridge.config import Config, Homeserver, Media, Trunk, TurnServer
from bridge.errors import BridgeError, ConfigurationError, LocalError

PRIVATE, PUBLIC, OTHER = "10.0.0.5", "8.8.8.8", "9.9.9.9"


@pytest.mark.parametrize(
    ("told", "local", "seen", "message"),
    [
        (None, PUBLIC, [PUBLIC], f"{PUBLIC}, as STUN sees it"),
        (PUBLIC, PRIVATE, [PRIVATE, PUBLIC], f"{PUBLIC}, as STUN sees it"),
        (None, PUBLIC, [], f"{PUBLIC} is public"),
        (None, "127.0.0.1", [], "127.0.0.1: nobody else is reached"),
        (None, PRIVATE, [PRIVATE], f"{PRIVATE}, as STUN sees it"),
    ],
)
def test_addresses_that_are_right(
    told: str | None, local: str, seen: Sequence[str], message: str
) -> None:
    assert judged(told, local, seen) == message


@pytest.mark.parametrize(
    ("told", "local", "seen", "raised", "words"),
    [
        (OTHER, PRIVATE, [PUBLIC], ConfigurationError, f"is {OTHER}, but STUN sees {PUBLIC}"),
        (None, PRIVATE, [PUBLIC], Doubt, "there is a NAT"),
        (None, PRIVATE, [], NotTried, "no STUN server in another network"),
        (None, PRIVATE, ["2001:4860:4860::8888"], NotTried, "no STUN server"),
    ],
)
def test_addresses_that_are_not(
    told: str | None, local: str, seen: Sequence[str], raised: type[BridgeError], words: str
) -> None:
    with pytest.raises(raised, match=words):
        judged(told, local, seen)


def judged(told: str | None, local: str, seen: Sequence[str]) -> str:
    media = Media(public_address=ip_address(told) if told else None)
    return judge(media, ip_address(local), [ip_address(each) for each in seen])


@pytest.mark.parametrize(
    ("local", "raised"), [("10.0.0.5", True), ("8.8.8.8", False), ("127.0.0.1", False)]
)
async def test_whether_a_turn_server_is_missed(
    monkeypatch: pytest.MonkeyPatch, local: str, raised: bool
) -> None:
    monkeypatch.setattr("bridge.app.check_media.local_address", lambda *_: local)

    async def none(_: web.Request) -> web.Response:
        return web.json_response({})

    application = web.Application()
    application.router.add_get("/_matrix/client/v3/voip/turnServer", none)
    async with TestServer(application) as server:
        address = str(server.make_url("/"))
        reached = Reached(Config(homeserver=Homeserver(address=address)))
        if not raised:
            assert "names none" in await reached.homeservers()
            return
        with pytest.raises(Doubt, match="a private address") as error:
            await reached.homeservers()
        assert "turn_uris" in error.value.remedy


async def test_a_stun_server_that_is_not_there() -> None:
    reached = Reached(Config(media=Media(listen=ip_address("127.0.0.1"))))
    with pytest.raises(BridgeError, match=r"127\.0\.0\.1:9 does not answer"):
        await reached.server(TurnServer(url="stun:127.0.0.1:9"))


def test_codecs_of_the_trunks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codecs(Config()) == "opus/48000/2, G722/8000, PCMU/8000, PCMA/8000"
    few = Config(trunks={"a": Trunk(server="b", codecs=("PCMA",))})
    assert codecs(few) == "PCMA/8000"

    def missing(*_: object) -> None:
        raise LocalError("no libopus")

    monkeypatch.setattr("bridge.app.check_media.make_encoder", missing)
    with pytest.raises(LocalError, match="PCMA/8000 cannot be used: no libopus"):
        codecs(few)
