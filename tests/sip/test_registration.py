# SPDX-License-Identifier: GPL-3.0-or-later
"""Registering, with sipp as the registrar."""

import asyncio
import re
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from structlog.testing import capture_logs

from bridge.call.commands import RejectSip
from bridge.call.events import SipEnded, SipInviteReceived
from bridge.sip import roster
from bridge.sip.messages import parse
from bridge.sip.trunks import Registration, RegistrationState
from tests.simulators.processes import free_port
from tests.simulators.waiting import until
from tests.sip.phone import CALL, LOCALHOST, TRUNK, Bridge, Sipp, tcp, trunk

pytestmark = pytest.mark.e2e


async def test_registers_with_credentials(tmp_path: Path) -> None:
    async with Sipp("registrar", tmp_path) as registrar:
        async with Bridge({TRUNK: trunk(registrar.port, register=True)}) as bridge:
            assert await bridge.registration() == Registration(
                RegistrationState.REGISTERED, 200, "OK"
            )
            assert bridge.sip.registrations()[TRUNK].state is RegistrationState.REGISTERED
        await registrar.succeeds()
        assert ";line=" in registrar.messages()
        assert "Expires: 0" in registrar.messages()


async def test_messages_are_logged_when_wanted_and_never_with_secrets(tmp_path: Path) -> None:
    for wanted in (True, False):
        home = tmp_path / str(wanted)
        home.mkdir()
        with capture_logs() as logs:
            async with Sipp("registrar", home) as registrar:
                settings = trunk(registrar.port, register=True)
                async with Bridge({TRUNK: settings}, log_messages=wanted) as bridge:
                    await bridge.registration()
                await registrar.succeeds()
        texts = [entry["text"] for entry in logs if entry["event"] == "SIP message"]
        assert bool(texts) is wanted
        assert any("REGISTER sip:" in text for text in texts) is wanted
        assert any('response="…"' in text for text in texts) is wanted
        assert not any(re.search(r'response="\w', text) for text in texts)


async def test_registers_again_after_a_failure(tmp_path: Path) -> None:
    async with Sipp("registrar_after_maintenance", tmp_path, times=2) as registrar:
        async with Bridge({TRUNK: trunk(registrar.port, register=True)}) as bridge:
            assert (await bridge.registration()).status == 503
            assert (await bridge.registration()).state is RegistrationState.REGISTERED
        await registrar.succeeds()


async def test_pauses_grow_while_the_registrar_is_away(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def pause(failures: int, status: int) -> float:
        asked.append((failures, status))
        return 0.0 if failures < 3 else 3600.0

    async with Sipp("registrar_refuses", tmp_path, times=3) as registrar:
        async with Bridge({TRUNK: trunk(registrar.port, register=True)}, pause=pause) as bridge:
            state = await bridge.registration()
            assert state == Registration(RegistrationState.FAILED, 403, "Forbidden")
            await registrar.succeeds()
            await until(lambda: len(asked) == 3, what="three failures are counted")
            assert bridge.registrations.empty()
    assert asked == [(1, 403), (2, 403), (3, 403)]


async def test_call_to_our_registered_contact_from_anywhere(tmp_path: Path) -> None:
    away, near = tmp_path / "registrar", tmp_path / "caller"
    away.mkdir()
    near.mkdir()
    async with Sipp("registrar", away) as registrar:
        settings = trunk(registrar.port, register=True)
        async with Bridge({TRUNK: settings}) as bridge:
            await bridge.registration()
            line = re.search(r"Contact: <[^>]*(;line=\w+)", registrar.messages())
            assert line
            for key, status in ((line[1], "486"), (";line=wrong", "403")):
                keys = {"status": status, "line": key}
                async with Sipp(
                    "caller_is_refused", near, calls=bridge.port, address="127.0.0.2", keys=keys
                ) as phone:
                    if status == "486":
                        invite = await bridge.expect(SipInviteReceived)
                        assert invite.dialled == "+12025550123"
                        bridge.sip.do(RejectSip(call=CALL, leg=invite.leg, status=486))
                        await bridge.expect(SipEnded)
                    await phone.succeeds()
        await registrar.succeeds()


async def test_follows_the_registrar_to_another_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = [tmp_path / "old", tmp_path / "new"]
    for home in homes:
        home.mkdir()
    port = free_port(socket.SOCK_DGRAM)
    answers = ["127.0.0.1", "127.0.0.2"]

    async def look_up(*_: object, **__: object) -> list[object]:
        return [(0, 0, 0, "", (answers[0], 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    monkeypatch.setattr(roster, "_RESOLVE_EVERY", 0.05)
    settings = trunk(port, register=True).model_copy(update={"server": f"registrar.test:{port}"})
    async with (
        Sipp("registrar", homes[0], port=port) as old,
        Sipp("registrar", homes[1], port=port, address="127.0.0.2") as new,
    ):
        async with Bridge({TRUNK: settings}) as bridge:
            assert (await bridge.registration()).state is RegistrationState.REGISTERED
            await old.has_received("REGISTER", 2)
            answers.pop(0)
            await new.has_received("REGISTER", 2)
        assert "registrar.test" in new.messages()


async def test_name_that_is_not_known_yet_is_looked_up_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[object] = [OSError("no network yet"), OSError("no network yet")]

    async def look_up(*_: object, **__: object) -> list[object]:
        answer = answers.pop(0) if answers else (0, 0, 0, "", (LOCALHOST, 0))
        if isinstance(answer, OSError):
            raise answer
        return [answer]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    monkeypatch.setattr(roster, "_RESOLVE_AGAIN", 0.05)
    settings = trunk(9).model_copy(update={"server": "pbx.test:5060"})
    with capture_logs() as logs:
        async with Bridge({TRUNK: settings}) as bridge:
            await until(lambda: bridge.sip.has_address(TRUNK), what="the name is looked up again")
            assert not answers
            async with Sipp(
                "caller_is_refused", tmp_path, calls=bridge.port, keys={"status": "486"}
            ) as phone:
                invite = await bridge.expect(SipInviteReceived)
                bridge.sip.do(RejectSip(call=CALL, leg=invite.leg, status=486))
                await bridge.expect(SipEnded)
                await phone.succeeds()
    assert [entry["event"] for entry in logs].count("trunk's server has no address") == 1


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_nothing_is_sent_before_the_server_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: Literal["udp", "tcp"]
) -> None:
    known = asyncio.Event()

    async def look_up(*_: object, **__: object) -> list[object]:
        if not known.is_set():
            raise OSError("no such name")
        return [(0, 0, 0, "", (LOCALHOST, 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    monkeypatch.setattr(roster, "_RESOLVE_AGAIN", 0.05)
    async with Sipp("registrar", tmp_path, tcp=transport == "tcp") as registrar:
        settings = trunk(registrar.port, transport=transport, register=True)
        settings = settings.model_copy(update={"server": f"pbx.test:{registrar.port}"})
        async with Bridge({TRUNK: settings}, transports=(tcp(),)) as bridge:
            bridge.call()
            ended = await bridge.expect(SipEnded)
            assert (ended.status, ended.reason) == (503, "Unknown server")
            assert await bridge.sip.send_message(TRUNK, "100", "hello") == 503
            assert not bridge.sip.has_address(TRUNK)
            assert bridge.registrations.empty()
            known.set()
            assert (await bridge.registration()).state is RegistrationState.REGISTERED
            assert bridge.sip.has_address(TRUNK)
        await registrar.succeeds()
        assert registrar.messages().count(";line=") >= 1


async def test_registers_again_over_another_connection_when_one_is_lost() -> None:
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                writer.write(accepted(await reader.readuntil(b"\r\n\r\n")))
                if writer not in connections:
                    connections.append(writer)
        writer.close()

    def connected(times: int) -> bool:
        return len(connections) == times

    async with await asyncio.start_server(serve, LOCALHOST, 0) as registrar:
        port = registrar.sockets[0].getsockname()[1]
        settings = trunk(port, transport="tcp", register=True)
        async with Bridge({TRUNK: settings}, transports=(tcp(),)) as bridge:
            assert (await bridge.registration()).state is RegistrationState.REGISTERED
            for count in (2, 3):
                connections[-1].close()
                await until(partial(connected, count), what="it connects")
            assert bridge.registrations.empty()


async def test_connection_is_kept_open() -> None:
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            writer.write(accepted(await reader.readuntil(b"\r\n\r\n")))
            heard.append(await reader.readexactly(4))
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, LOCALHOST, 0) as registrar:
        port = registrar.sockets[0].getsockname()[1]
        settings = trunk(port, transport="tcp", register=True)
        settings = settings.model_copy(update={"keep_alive": 1})
        async with Bridge({TRUNK: settings}, transports=(tcp(),)) as bridge:
            assert (await bridge.registration()).state is RegistrationState.REGISTERED
            await until(lambda: heard == [b"\r\n\r\n"], what="it is kept open")


def accepted(register: bytes) -> bytes:
    """The 200 to a REGISTER."""
    request = parse(register.decode())
    copied = [f"{name}: {request.first(name)}" for name in ("via", "from", "call-id", "cseq")]
    contact = f"Contact: {request.first('contact')};expires=300"
    lines = ["SIP/2.0 200 OK", *copied, f"To: {request.first('to')};tag=1", contact]
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()
