# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the homeserver, new ones and old ones, and what stands in their way."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from bridge import config
from bridge.call.ids import UserId
from bridge.matrix import repository as module
from bridge.matrix.homeserver import Refused, Unavailable
from bridge.matrix.repository import Repository, TooLarge
from bridge.matrix.transactions import Transactions

GHOST = UserId("@sip_12025550123:example.org")
NEW = "/_matrix/client/v1/media/download/example.org/abc"
OLD = "/_matrix/media/v3/download/example.org/abc"
MXC = "mxc://example.org/abc"


class Bench:
    """A server that has some answers, and knows nothing else."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.seen: list[tuple[str, str, dict[str, str], bytes, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer as"
        kind = request.headers.get("Content-Type", "")
        query = dict(request.query)
        self.seen.append((request.method, request.path, query, await request.read(), kind))
        status, body = self.answers.get(request.path, (404, b'{"errcode": "M_UNRECOGNIZED"}'))
        return web.Response(status=status, body=body, content_type="application/json")


@pytest.fixture
async def bench() -> Bench:
    return Bench()


@pytest.fixture
async def repository(bench: Bench) -> AsyncIterator[Repository]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", bench.answer)

    async def nothing(_: object) -> None:
        return None

    async with TestServer(app) as server:
        appservice = Transactions(
            config.Homeserver(address=str(server.make_url("/")), domain="example.org"),
            config.AppService(as_token=SecretStr("as"), hs_token=SecretStr("hs")),
            nothing,
            nothing,
        )
        await appservice.start("127.0.0.1", 0)
        yield Repository(appservice)
        await appservice.stop()


async def test_a_ghost_uploads(bench: Bench, repository: Repository) -> None:
    bench.answers["/_matrix/media/v3/upload"] = (200, json.dumps({"content_uri": MXC}).encode())
    assert await repository.upload(GHOST, b"\0sound", "audio/ogg") == MXC
    [(method, _, query, data, kind)] = bench.seen
    assert (method, data, kind) == ("POST", b"\0sound", "audio/ogg")
    assert query == {"user_id": GHOST}


async def test_an_upload_without_an_address(bench: Bench, repository: Repository) -> None:
    bench.answers["/_matrix/media/v3/upload"] = (200, b"{}")
    with pytest.raises(Refused, match="content_uri"):
        await repository.upload(GHOST, b"sound", "audio/ogg")


@pytest.mark.parametrize(
    ("path", "reply", "size"),
    [
        ("/_matrix/client/v1/media/config", {"m.upload.size": 5000}, 5000),
        ("/_matrix/media/v3/config", {"m.upload.size": 6000}, 6000),
        ("/_matrix/client/v1/media/config", {}, None),
        ("/_matrix/client/v1/media/config", {"m.upload.size": -1}, None),
        ("", {}, None),
    ],
)
async def test_how_much_it_takes(
    bench: Bench, repository: Repository, path: str, reply: dict[str, int], size: int | None
) -> None:
    bench.answers[path] = (200, json.dumps(reply).encode())
    assert await repository.limit() == size


@pytest.mark.parametrize("path", [NEW, OLD])
async def test_a_file_comes_down(bench: Bench, repository: Repository, path: str) -> None:
    bench.answers[path] = (200, b"x" * 1000)
    assert await repository.download(MXC, 1000) == b"x" * 1000
    with pytest.raises(TooLarge):
        await repository.download(MXC, 999)


@pytest.mark.parametrize(
    ("status", "kind"), [(404, Refused), (403, Refused), (429, Unavailable), (502, Unavailable)]
)
async def test_a_file_that_does_not_come(
    bench: Bench, repository: Repository, status: int, kind: type[Exception]
) -> None:
    bench.answers[NEW] = bench.answers[OLD] = (status, b"")
    with pytest.raises(kind):
        await repository.download(MXC, 1000)


@pytest.mark.parametrize(
    "address", ["", "https://example.com/x", "mxc://example.org/../x", "mxc://example.org/a/b"]
)
async def test_what_is_no_address_is_not_asked_for(
    bench: Bench, repository: Repository, address: str
) -> None:
    with pytest.raises(Refused):
        await repository.download(address, 1000)
    assert bench.seen == []


async def test_a_homeserver_that_is_away(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIME", 0.0)
    with pytest.raises(Unavailable):
        await repository.download(MXC, 1000)


def test_how_large_a_message_says_that_its_file_is() -> None:
    assert module.size_of({"info": {"size": 5}}) == 5
    for content in ({}, {"info": 5}, {"info": {"size": "5"}}):
        assert module.size_of(content) == 0
