# SPDX-License-Identifier: GPL-3.0-or-later
"""What registrars ask for: other digests, longer registrations, another Contact, a sign of life."""

import hashlib
import re
from typing import Final

import pytest

from bridge.config import Trunk
from bridge.sip.messages import Message, parse_uri
from bridge.sip.trunks import RegistrationState
from tests.simulators.waiting import until
from tests.sip.phone import TRUNK, Bridge, trunk
from tests.sip.udp_peer import Answer, UdpPeer, granted

pytestmark = pytest.mark.e2e

REGISTERED: Final = RegistrationState.REGISTERED
HASHES: Final = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def challenge(algorithm: str, nonce: str = "abc", more: str = "") -> str:
    return (
        f'WWW-Authenticate: Digest realm="mx.test", nonce="{nonce}", algorithm={algorithm}, '
        f'qop="auth"{more}'
    )


def fields_of(request: Message) -> dict[str, str]:
    pairs = re.findall(r'(\w+)="?([^",]+)', request.first("authorization"))
    return {name: value for name, value in pairs}


def is_proven(request: Message, password: str = "secret") -> bool:
    """Whether the digest is right (RFC 7616 section 3.4.1)."""
    given = fields_of(request)

    def digest(text: str) -> str:
        return hashlib.new(HASHES[given["algorithm"]], text.encode()).hexdigest()

    secret = digest(f"me-auth:mx.test:{password}")
    what = digest(f"REGISTER:{given['uri']}")
    middle = f"{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}"
    return given["response"] == digest(f"{secret}:{middle}:{what}")


def registering(port: int, **settings: object) -> Trunk:
    return trunk(port, register=True).model_copy(update=settings)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["SHA-512-256", "SHA-256", "MD5"], "SHA-512-256"),
        (["SHA-256", "MD5"], "SHA-256"),
        (["MD5"], "MD5"),
        (["SHA-999", "SHA-256"], "SHA-256"),
        (["MD5", "SHA-256"], "MD5"),  # The registrar's order is what counts (RFC 8760 2.4).
    ],
)
async def test_first_digest_that_is_known_is_used(offered: list[str], chosen: str) -> None:
    def answer(request: Message) -> Answer:
        if not request.first("authorization"):
            return 401, [challenge(each) for each in offered]
        return granted(request)

    async with UdpPeer(answer) as peer, Bridge({TRUNK: registering(peer.port)}) as bridge:
        assert (await bridge.registration()).state is REGISTERED
        proof = peer.requests[1]
        assert fields_of(proof)["algorithm"] == chosen
        assert is_proven(proof)


async def test_stale_nonce_is_no_wrong_password() -> None:
    def answer(request: Message) -> Answer:
        nonce = fields_of(request).get("nonce")
        if nonce is None:
            return 401, [challenge("MD5", "old")]
        if nonce == "old":
            return 401, [challenge("MD5", "new", ", stale=true")]
        return granted(request)

    async with UdpPeer(answer) as peer, Bridge({TRUNK: registering(peer.port)}) as bridge:
        assert (await bridge.registration()).state is REGISTERED
        assert is_proven(peer.requests[2])


async def test_longer_registration_is_asked_for() -> None:
    def answer(request: Message) -> Answer:
        expires = int(request.first("expires"))
        return (423, ["Min-Expires: 1800"]) if 0 < expires < 1800 else granted(request, expires)

    async with UdpPeer(answer) as peer, Bridge({TRUNK: registering(peer.port)}) as bridge:
        assert (await bridge.registration()).state is REGISTERED
        assert [request.first("expires") for request in peer.requests] == ["300", "1800"]


async def test_expires_of_the_contact_counts() -> None:
    async with UdpPeer(lambda request: granted(request, 6)) as peer:
        async with Bridge({TRUNK: registering(peer.port)}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            # Of six seconds the stack waits for five.
            await until(lambda: peer.methods().count("REGISTER") >= 2, what="it is refreshed")
            assert bridge.registrations.empty()


@pytest.mark.parametrize(
    ("nat", "seen_from", "expected"),
    [
        ("auto", "192.0.2.7:40000", "192.0.2.7:40000"),
        ("auto", "127.0.0.1:40000", ""),
        ("always", "127.0.0.1:40000", "127.0.0.1:40000"),
        ("never", "192.0.2.7:40000", ""),
    ],
)
async def test_contact_is_where_the_registrar_sees_us(
    nat: str, seen_from: str, expected: str
) -> None:
    async with UdpPeer(granted, seen_from=seen_from) as peer:
        settings = registering(peer.port, nat=nat)
        async with Bridge({TRUNK: settings}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            uris = [parse_uri(each.first("contact").strip("<>")) for each in peer.requests]
            lines = {uri.params["line"] for uri in uris}
            assert len(lines) == 1
            last = f"{uris[-1].host}:{uris[-1].port}"
            assert last == (expected or f"127.0.0.1:{bridge.port}")
            assert len(peer.requests) <= 3, "it does not go round in circles"


async def test_mapping_is_kept_open() -> None:
    async with UdpPeer(granted) as peer:
        async with Bridge({TRUNK: registering(peer.port, keep_alive=1)}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
            await until(lambda: len(peer.packets) >= 2, what="keep-alives are sent")


async def test_mapping_is_not_kept_open_where_that_is_not_wanted() -> None:
    async with UdpPeer(granted) as peer:
        async with Bridge({TRUNK: registering(peer.port, keep_alive=0)}) as bridge:
            assert (await bridge.registration()).state is REGISTERED
        assert peer.packets == []
