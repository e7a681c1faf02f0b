# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts (SIP MESSAGE), with sipp as the other side."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge.call.commands import ByeSip
from bridge.call.events import SipAnswered, SipEnded
from bridge.call.ids import Address, TrunkName
from bridge.config import Trunk
from bridge.errors import LocalError
from bridge.records import SipText
from bridge.sip.messages import parse
from bridge.sip.tap import without_users
from bridge.sip.texts import decoded, parts
from tests.simulators.waiting import until
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, tcp, trunk

TEXT = "Grüße: is it €5?"


@pytest.mark.e2e
@pytest.mark.parametrize("status", [200, 202, 404])
async def test_text_out_with_credentials(tmp_path: Path, status: int) -> None:
    async with (
        Sipp("text_taker", tmp_path, keys={"status": str(status)}) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        answer = await bridge.sip.send_message(TRUNK, "+12025550123", TEXT, "+12025550100")
        assert answer == status
        await phone.succeeds()
        sent = phone.messages()
    assert f"MESSAGE sip:+12025550123@127.0.0.1:{phone.port} SIP/2.0" in sent
    assert "From: <sip:+12025550100@127.0.0.1>" in sent
    assert "P-Asserted-Identity: <sip:+12025550100@127.0.0.1>" in sent
    assert "Content-Type: text/plain" in sent
    assert TEXT in sent
    assert "Contact:" not in sent.partition("401")[0], "RFC 3428 section 4 forbids it"


@pytest.mark.e2e
async def test_same_text_twice_at_once(tmp_path: Path) -> None:
    async with (
        Sipp("text_taker", tmp_path, times=2, keys={"status": "200"}) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        texts = [bridge.sip.send_message(TRUNK, "+12025550123", TEXT) for _ in range(2)]
        assert await asyncio.gather(*texts) == [200, 200]
        await phone.succeeds()


@pytest.mark.e2e
async def test_text_that_cannot_leave(tmp_path: Path) -> None:
    nowhere = trunk(9, transport="tcp")
    async with Bridge({TRUNK: nowhere}, transports=(tcp(),)) as bridge:
        with capture_logs() as logs:
            assert await bridge.sip.send_message(TRUNK, "100", TEXT) == 503
            assert await bridge.sip.send_message(TrunkName("none"), "100", TEXT) == 503
            assert await bridge.sip.send_message(TRUNK, "100", "x" * 60_001) == 513
        assert "€5" not in str(logs)
    with pytest.raises(LocalError, match="does not run"):
        await bridge.sip.send_message(TRUNK, "100", TEXT)


@pytest.mark.e2e
async def test_text_in(tmp_path: Path) -> None:
    keys = {"status": "202", "type": "text/plain"}
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("texter", tmp_path, calls=bridge.port, keys=keys) as phone,
    ):
        await phone.succeeds()
        await until(lambda: len(bridge.texts) == 1, what="the text is told")
    assert bridge.texts == [
        SipText(
            trunk=TRUNK,
            caller=Address("tel:+12025550111"),
            caller_name="Ann Example",
            dialled="+12025550123",
            text=TEXT + "\r\n",
        )
    ]


@pytest.mark.e2e
async def test_text_that_is_for_nobody(tmp_path: Path) -> None:
    keys = {"status": "404", "type": "text/plain;charset=UTF-8"}
    async with Bridge({TRUNK: trunk(9)}) as bridge:
        bridge.answers_text = 404
        async with Sipp("texter", tmp_path, calls=bridge.port, keys=keys) as phone:
            await phone.succeeds()
    assert bridge.texts == []


@pytest.mark.e2e
async def test_many_texts_at_once(tmp_path: Path) -> None:
    keys = {"status": "202", "type": "text/plain;charset=UTF-8"}
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("texter", tmp_path, calls=bridge.port, keys=keys, times=20) as phone,
    ):
        await phone.succeeds()
        await until(lambda: len(bridge.texts) == 20, what="all are told")
    assert [text.text for text in bridge.texts] == [TEXT + "\r\n"] * 20


@pytest.mark.e2e
async def test_text_within_a_call(tmp_path: Path) -> None:
    async with (
        Sipp("callee_writes", tmp_path) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        leg = bridge.call(caller="+12025550100")
        await bridge.expect(SipAnswered)
        await until(lambda: len(bridge.texts) == 1, what="the text is told")
        bridge.sip.do(ByeSip(call=CALL, leg=leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()
    text = bridge.texts[0]
    assert (text.caller, text.dialled) == ("tel:+12025550123", "+12025550100")
    assert text.text.strip() == "see you"


@pytest.mark.e2e
async def test_what_is_no_text_is_refused_with_what_would_be(tmp_path: Path) -> None:
    keys = {"status": "415", "type": "text/html"}
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("texter", tmp_path, calls=bridge.port, keys=keys) as phone,
    ):
        await phone.succeeds()
        answer = parse(phone.messages().partition("SIP/2.0 415")[2].strip())
        assert answer.first("accept") == "text/plain"
        assert bridge.texts == []


@pytest.mark.e2e
async def test_text_of_a_stranger_is_refused(tmp_path: Path) -> None:
    keys = {"status": "403", "type": "text/plain"}
    async with (
        Bridge({TRUNK: Trunk(server="192.0.2.1")}) as bridge,
        Sipp("texter", tmp_path, calls=bridge.port, keys=keys) as phone,
    ):
        await phone.succeeds()
        await until(lambda: bridge.sip.refused["stranger"] == 1, what="it is counted")
        assert bridge.texts == []


PARTIES = ("sip:+12025550123@mx.test", "<sip:+12025550100@mx.test>")


@pytest.mark.parametrize(
    ("text", "transport", "sizes"),
    [
        ("x" * 700, "udp", [700]),
        ("x" * 1000, "udp", [750, 250]),
        ("€" * 300, "udp", [250, 50]),
        ("€" * 2000, "tcp", [2000]),
        ("x" * 6001, "tls", [6000, 1]),
        ("x" * 7501, "udp", []),
    ],
)
def test_how_much_fits(text: str, transport: str, sizes: list[int]) -> None:
    assert [len(part) for part in parts(text, transport, *PARTIES)] == sizes


def test_texts_are_cut_between_words() -> None:
    text = " ".join(f"word{number}" for number in range(400))
    cut = parts(text, "udp", *PARTIES)
    assert " ".join(cut) == text
    assert parts("a" * 750 + " b", "udp", *PARTIES) == ["a" * 750, "b"]
    assert parts("short " + "a" * 1000, "udp", *PARTIES)[0].startswith("short a")


def test_parties_that_leave_no_room() -> None:
    assert parts("hello", "udp", "sip:" + "x" * 500) == []


@pytest.mark.e2e
async def test_long_text_is_several_messages(tmp_path: Path) -> None:
    async with (
        Sipp("text_taker", tmp_path, times=2, keys={"status": "202"}) as phone,
        Bridge({TRUNK: trunk(phone.port).model_copy(update={"transport": "auto"})}) as bridge,
    ):
        assert await bridge.sip.send_message(TRUNK, "100", "first " * 130 + "last") == 202
        await phone.succeeds()
        sent = phone.messages()
    assert sent.index("first first") < sent.index("first last")


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("Grüße", "text/plain", "Grüße"),
        ("Gr\udcfc\udcdfe", "text/plain;charset=ISO-8859-1", "Grüße"),
        ("Gr\udcfc\udcdfe", 'text/plain; charset="latin-1"', "Grüße"),
        ("Gr\udcfcn", "text/plain", "Gr\ufffdn"),
        ("Grün", "text/plain; charset=nonsense; format=flowed", "Grün"),
    ],
)
def test_text_is_read_in_its_charset(body: str, kind: str, text: str) -> None:
    request = parse(f"MESSAGE sip:x SIP/2.0\r\nContent-Type: {kind}\r\n\r\n")
    assert decoded(body, request) == text


def test_texts_stay_out_of_the_log() -> None:
    line = "Failed to deliver message 'call me at 'ten': now': 503/Service Unavailable"
    assert without_users(line) == "Failed to deliver message '…': 503/Service Unavailable"
    assert "call me" not in without_users("Failed to deliver message 'call me\nat ten': 503")
