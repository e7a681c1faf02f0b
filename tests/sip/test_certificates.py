# SPDX-License-Identifier: GPL-3.0-or-later
"""Renewed certificates are shown, and connections that there are stay."""

import asyncio
import ssl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge.call.commands import AnswerSip
from bridge.call.events import SipConfirmed, SipEnded, SipInviteReceived
from bridge.call.ids import LegId
from bridge.config import SipTransport, Trunk, TrunkTls
from bridge.sip import adapter, endpoint, listeners, unused, worker
from bridge.sip.certificates import Certificates as Files
from bridge.sip.certificates import Renewed
from bridge.sip.unused import Unused
from tests.simulators.processes import free_port
from tests.simulators.waiting import until, until_async
from tests.sip.certificates import Certificates
from tests.sip.phone import CALL, LOCALHOST, TRUNK, Bridge, Sipp, description, tls, trunk
from tests.sip.relay import relay

pytestmark = pytest.mark.e2e


@pytest.fixture
def shown(tmp_path: Path) -> Certificates:
    """What the listener shows at first."""
    return made(tmp_path / "shown")


@pytest.fixture
def newer(tmp_path: Path) -> Certificates:
    """What it is to show then, by another authority."""
    return made(tmp_path / "newer")


def made(folder: Path) -> Certificates:
    folder.mkdir()
    return Certificates.make(folder)


def renew(shown: Certificates, newer: Certificates) -> None:
    for name in ("authority", "chain", "key"):
        file: Path = getattr(newer, name)
        file.rename(getattr(shown, name))
    newer.authority.write_bytes(shown.authority.read_bytes())


async def is_trusted(port: int, certificates: Certificates) -> bool:
    """Whether the listener shows one that this authority vouches for."""
    try:
        _, writer = await asyncio.open_connection(
            LOCALHOST, port, ssl=certificates.client_context(), server_hostname="localhost"
        )
    except (ssl.SSLError, ConnectionError):
        return False
    writer.close()
    return True


async def test_renewed_certificate_is_shown_and_a_call_goes_on(
    tmp_path: Path, shown: Certificates, newer: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_LOOK", 0.05)
    listener = tls(shown)
    keys = {"contact": "localhost:9;transport=tls"}
    async with (
        Bridge({TRUNK: trunk(9)}, transports=(listener,)) as bridge,
        relay(listener.port, client=shown.client_context()) as relayed,
        Sipp("caller_hangs_up", tmp_path, calls=relayed, tcp=True, keys=keys) as phone,
    ):
        leg = (await bridge.expect(SipInviteReceived)).leg
        assert not await is_trusted(listener.port, newer)
        renew(shown, newer)

        async def renewed() -> bool:
            return await is_trusted(listener.port, newer)

        await until_async(renewed, what="the renewed certificate is shown")
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
        await bridge.expect(SipConfirmed)
        await bridge.expect(SipEnded)
        await phone.succeeds()
        assert bridge.sip.renew_certificates() == Renewed()


async def test_certificate_that_does_not_fit_its_key_is_not_shown(
    shown: Certificates, newer: Certificates
) -> None:
    listener = tls(shown)
    async with Bridge({TRUNK: trunk(9)}, transports=(listener,)) as bridge:
        assert await is_trusted(listener.port, shown)
        shown.chain.write_bytes(newer.chain.read_bytes())
        with capture_logs() as lines:
            found = [bridge.sip.renew_certificates() for _ in range(2)]
        assert found[0] == found[1]
        assert (found[0].listeners, len(found[0].problems)) == ((), 1)
        assert "sip.transports[1]" in found[0].problems[0]
        said = [line for line in lines if line["event"] == "a certificate cannot be renewed"]
        assert len(said) == 1
        assert await is_trusted(listener.port, shown)
        shown.key.write_bytes(newer.key.read_bytes())
        assert bridge.sip.renew_certificates() == Renewed((1,))

        async def renewed() -> bool:
            return await is_trusted(listener.port, newer)

        await until_async(renewed, what="the renewed certificate is shown")


async def test_listener_that_cannot_be_opened_is_tried_again(
    shown: Certificates, newer: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_AGAIN", 0.0)
    tried: list[int] = []

    def fails_once(*given: object) -> bool:
        tried.append(1)
        return len(tried) > 1 and listeners.open_anew(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(endpoint, "open_anew", fails_once)
    listener = tls(shown)
    async with Bridge({TRUNK: trunk(9)}, transports=(listener,)) as bridge:
        renew(shown, newer)
        bridge.sip.renew_certificates()
        await until(lambda: len(tried) == 2, what="it is tried again")
        assert await is_trusted(listener.port, newer)


def test_only_listeners_with_a_certificate_are_looked_after(
    tmp_path: Path, shown: Certificates
) -> None:
    missing = SipTransport(protocol="tls", certificate=tmp_path / "no", private_key=tmp_path / "no")
    files = Files((SipTransport(), SipTransport(protocol="tls"), missing, tls(shown)))
    assert files.look() == Renewed()
    shown.authority.touch()
    assert files.look() == Renewed((3,))
    shown.key.unlink()
    found = files.look()
    assert (found.listeners, len(found.problems)) == ((), 1)


def test_transport_that_nobody_uses_is_closed_after_its_calls() -> None:
    now = 0.0
    own, used, legs = [7, 8], {7, 8}, [LegId("a")]
    closed: list[int] = []

    def close(number: int) -> None:
        own.remove(number)
        closed.append(number)

    watch = Unused(lambda: own, lambda: used, lambda: legs, close, lambda: now)
    watch.look()
    used.remove(8)
    watch.look()
    now = 500.0
    watch.look()
    assert closed == [], "a call that was there may go by it"
    legs[:] = [LegId("b")]
    watch.look()
    assert closed == [8]
    used.clear()
    watch.look()
    used.add(7)
    now = 600.0
    watch.look()
    used.clear()
    legs.clear()
    now = 700.0
    watch.look()
    now = 800.0
    watch.look()
    assert closed == [8], "it was used in between, and has not been left for long enough since"
    now = 828.0
    watch.look()
    assert closed == [8, 7]


async def test_trunk_may_have_as_many_certificates_as_come(
    tmp_path: Path, shown: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stack has room for eight transports: what is not needed any more makes room."""
    monkeypatch.setattr(worker, "EVERY", 0.0)
    monkeypatch.setattr(unused, "_STILL", 0.0)
    closed: list[int] = []
    shut = endpoint.Endpoint.shut

    def seen(self: endpoint.Endpoint, number: int) -> None:
        shut(self, number)
        closed.append(number)

    monkeypatch.setattr(endpoint.Endpoint, "shut", seen)
    listener = SipTransport(protocol="tls", port=free_port())
    plain = Trunk(server=f"{LOCALHOST}:9", transport="tls")
    async with Bridge({TRUNK: plain}, transports=(listener,)) as bridge:
        for number in range(10):
            authority = tmp_path / f"{number}.pem"
            authority.write_bytes(shown.authority.read_bytes())
            tls_of_its_own = TrunkTls(ca_list=authority)
            await bridge.sip.change_trunk(TRUNK, plain.model_copy(update={"tls": tls_of_its_own}))
            await until(lambda: len(closed) == number, what="the former one is closed")  # noqa: B023
        await bridge.sip.change_trunk(TRUNK, plain)
        await until(lambda: len(closed) == 10, what="the last one is closed")
