# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever comes, the endpoint lives, answers what it can, and calls go on."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bridge import logs
from bridge.call.commands import AnswerSip, RejectSip
from bridge.call.events import SipConfirmed, SipEnded, SipInviteReceived
from bridge.numbers import from_sip, meanings, read_address
from bridge.sip import door, served, tap
from bridge.sip.digest import parse_challenge
from bridge.sip.messages import (
    caller_of,
    causes_of,
    parse,
    parse_name_addr,
    parse_uri,
    split_list,
)
from tests.simulators.waiting import PATIENCE
from tests.sip.phone import CALL, LOCALHOST, TRUNK, Bridge, Sipp, description, tcp, trunk
from tests.sip.torture import INVALID, RESPONSES, VALID, Case, invite, request


class Peer:
    """A socket of the trunk's; tells what it was answered."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOCALHOST, 0))
        self._socket.setblocking(False)
        self._pings = 0

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, (LOCALHOST, self._bridge.port))

    async def answers(self, name: str = "", *, wanted: bool = False) -> list[int]:
        """Final statuses to what is called `name`, until all that was sent is dealt with.

        `wanted`: until one has come, too.
        """
        self._pings += 1
        ping = f"ping{self._pings}"
        self.send(request(ping))
        found: list[int] = []
        pinged = False
        while not pinged or (wanted and not found):
            receiving = asyncio.get_running_loop().sock_recv(self._socket, 65536)
            data = await asyncio.wait_for(receiving, PATIENCE)
            status = int(data.split(b" ", 2)[1]) if data.startswith(b"SIP/2.0 ") else 0
            if f"Call-ID: {ping}.".encode() in data:
                pinged = True
            elif status >= 200 and f"Call-ID: {name}.".encode() in data:
                found.append(status)
        return found


class Rejecting:
    """Answers every call with *busy here*."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.calls = 0

    async def run(self) -> None:
        while True:
            event = await self._bridge.any_event()
            if isinstance(event, SipInviteReceived):
                self.calls += 1
                self._bridge.sip.do(RejectSip(call=CALL, leg=event.leg, status=486))


@asynccontextmanager
async def tortured(
    **settings: Any,
) -> AsyncIterator[tuple[Bridge, Peer, list[MutableMapping[str, Any]]]]:
    """A bridge whose calls are all refused; afterwards it lives, and has logged no error."""
    fast = trunk(9).model_copy(update={"calls_per_second": 10_000.0})
    with capture_logs() as lines:
        async with AsyncExitStack() as stack:
            bridge = await stack.enter_async_context(Bridge({TRUNK: fast}, **settings))
            peer = Peer(bridge)
            stack.callback(peer.close)
            task = asyncio.create_task(Rejecting(bridge).run())
            stack.callback(task.cancel)
            yield bridge, peer, lines
            await peer.answers()
            assert bridge.sip.responsive
    errors = [line for line in lines if line["log_level"] in ("error", "critical")]
    assert errors == []


async def test_rfc_4475_over_udp() -> None:
    wrong = {}
    async with tortured() as (_, peer, _):
        for case in (*VALID, *INVALID, *RESPONSES):
            peer.send(case.data)
            answers = await peer.answers(case.name, wanted=case.is_answered)
            if not _is_right(case, answers):
                wrong[case.name, case.section] = answers
    assert wrong == {}


def _is_right(case: Case, answers: Sequence[int]) -> bool:
    if not answers:
        return not case.is_answered
    return set(answers) <= set(case.right)


async def test_rfc_4475_over_tcp() -> None:
    listener = tcp()
    wrong = {}
    async with tortured(transports=(listener,)) as (_, _, _):
        for case in (*VALID, *INVALID, *RESPONSES):
            data = case.data.replace(b"SIP/2.0/UDP 127.0.0.1", b"SIP/2.0/TCP 127.0.0.1")
            # A stream cannot tell where a message without a length ends (RFC 3261 18.3).
            waits = case.is_answered and b"content-length" in data.lower()
            answers = await _by_stream(listener.port, data, waits=waits)
            if not set(answers) <= set(case.right) or (waits and not answers):
                wrong[case.name, case.section] = answers
    assert wrong == {}


async def _by_stream(port: int, data: bytes, *, waits: bool) -> list[int]:
    """The first final status on a connection, if there is one before the other side has closed."""
    reader, writer = await asyncio.open_connection(LOCALHOST, port)
    found: list[int] = []
    try:
        writer.write(data)
        if not waits:
            writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            while not found and (line := await reader.readline()):
                if line.startswith(b"SIP/2.0 ") and int(line.split()[1]) >= 200:
                    found.append(int(line.split()[1]))
    except TimeoutError:
        pass  # told by what is missing
    finally:
        writer.close()
    return found


@pytest.mark.parametrize("seed", [1, 2])
async def test_bytes_that_somebody_changed(tmp_path: Path, seed: int) -> None:
    luck = random.Random(seed)
    originals = [case.data for case in (*VALID, *INVALID, *RESPONSES)]
    async with tortured() as (bridge, peer, _):
        for number in range(1000):
            peer.send(_mutated(luck, originals))
            if number % 50 == 0:
                await peer.answers()
        await peer.answers()
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("caller_hangs_up", tmp_path, calls=bridge.port) as phone,
    ):
        leg = (await bridge.expect(SipInviteReceived)).leg
        bridge.sip.do(AnswerSip(call=CALL, leg=leg, sdp=description()))
        await bridge.expect(SipConfirmed)
        await bridge.expect(SipEnded)
        await phone.succeeds()


def _mutated(luck: random.Random, originals: Sequence[bytes]) -> bytes:
    data = bytearray(luck.choice(originals))
    for _ in range(luck.randrange(1, 8)):
        at = luck.randrange(len(data))
        match luck.randrange(5):
            case 0:
                data[at] = luck.randrange(256)
            case 1:
                del data[at : at + luck.randrange(1, 20)]
            case 2:
                data[at:at] = luck.choice((b"\r\n", b"\0", b'"', b"<", b";", b"\xff", b"%00"))
            case 3:
                data[at:at] = data[at : at + luck.randrange(1, 200)]
            case _:
                data[at:at] = luck.choice((b"A", b"\\", b",", b"-1")) * luck.randrange(1, 300)
        data = data or bytearray(b"?")
    return bytes(data[:8000])


async def test_streams_that_are_no_use() -> None:
    listener = tcp()
    head = request("stream").removesuffix(b"\r\n\r\n")
    useless = (
        random.Random(1).randbytes(200_000),
        b"\r\n" * 20_000,
        head + b"\r\nX: y" * 10_000,
        request("long", length=b"99999999") + b"x" * 20_000,
        request("less", length=b"-1"),
        b"INVITE " * 10_000,
    )
    async with tortured(transports=(listener,)) as (_, peer, _):
        for data in useless:
            _, writer = await asyncio.open_connection(LOCALHOST, listener.port)
            writer.write(data)
            writer.close()
            await peer.answers()
        idle = [await asyncio.open_connection(LOCALHOST, listener.port) for _ in range(100)]
        reader, writer = await asyncio.open_connection(LOCALHOST, listener.port)
        slow = request("slow").replace(b"/UDP", b"/TCP")
        for start in range(0, len(slow), 40):
            writer.write(slow[start : start + 40])
            await writer.drain()
            await peer.answers()
        async with asyncio.timeout(PATIENCE):
            assert await reader.readline() == b"SIP/2.0 200 OK\r\n"
        for _, each in (*idle, (None, writer)):
            each.close()


CHALLENGES: Final = (
    "Digest",
    "Digest ,,,",
    "Digest realm",
    'Digest realm="unfinished',
    'Digest realm="a", nonce="b", qop="none"',
    'Digest realm="a", nonce="' + "n" * 3000 + '"',
    'Digest realm="a", nonce="b", algorithm=ROT13',
    'Digest realm="a", realm="b", nonce="c", nonce="d", algorithm=MD5, algorithm=SHA-256',
    'Digest nonce="\\"\\\\", realm="\xff"',
    "NoOneKnowsThisScheme opaque-data=here",
    "Basic realm=x",
    "",
)


async def test_challenges_that_cannot_be_met() -> None:
    registrar = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    registrar.bind((LOCALHOST, 0))
    registrar.setblocking(False)
    loop = asyncio.get_running_loop()
    left = list(CHALLENGES)

    async def challenge() -> None:
        while left:
            data, source = await loop.sock_recvfrom(registrar, 65536)
            kept = [
                line
                for line in data.split(b"\r\n")
                if line.partition(b":")[0].lower() in (b"via", b"from", b"to", b"call-id", b"cseq")
            ]
            header = b"WWW-Authenticate: " + left.pop().encode("latin-1")
            lines = [b"SIP/2.0 401 Unauthorized", *kept, header, b"Content-Length: 0", b"", b""]
            await loop.sock_sendto(registrar, b"\r\n".join(lines), source)

    settings = trunk(registrar.getsockname()[1], register=True)
    with registrar, capture_logs() as lines:
        async with Bridge({TRUNK: settings}) as bridge:
            await asyncio.wait_for(challenge(), PATIENCE)
            assert bridge.sip.responsive
    assert [line for line in lines if line["log_level"] == "error"] == []


DESCRIPTIONS: Final = (
    b"",
    b"v=0\r\n",
    b"nonsense\r\n",
    b"v=0\r\no=\r\ns=\r\nm=\r\n",
    description().replace("m=audio 41000", "m=audio 99999999999").encode(),
    description().replace("RTP/AVP 8 101", "RTP/AVP" + " 8" * 200).encode(),
    description().replace("IN IP4 127.0.0.1", "IN IP9 x").encode(),
    description().encode() + b"a=rtpmap:\r\n" * 50 + b"m=audio 0 RTP/AVP 0\r\n" * 40,
    description().encode().replace(b"\r\n", b"\n\n"),
    description().encode() + b"a=fmtp:" + b"x" * 5000 + b"\r\n",
    b"\xff\xfe" + description().encode(),
)


async def test_descriptions_that_are_none() -> None:
    async with tortured() as (_, peer, _):
        for number, sdp in enumerate(DESCRIPTIONS):
            name = f"sdp{number}"
            peer.send(invite(name, body=sdp))
            answers = await peer.answers(name, wanted=True)
            assert set(answers) <= {400, 415, 486, 488, 500}, (name, answers)


# --- what reads messages here ---------------------------------------------------------------------

READERS: Final[dict[str, Callable[[str], object]]] = {
    "list": split_list,
    "address": parse_name_addr,
    "uri": parse_uri,
    "caller": lambda text: caller_of(
        parse(f"INVITE a SIP/2.0\r\nFrom: {text}\r\nRemote-Party-ID: {text}\r\n\r\n")
    ),
    "causes": lambda text: causes_of(parse(f"BYE a SIP/2.0\r\nReason: Q.850{text}\r\n\r\n")),
    "multipart": lambda text: (
        parse(f"INVITE a SIP/2.0\r\nc: multipart/x;boundary=a\r\n\r\n--a\r\n{text}").sdp
    ),
    "digest": lambda text: parse_challenge(f"Digest {text}"),
    "log entry": lambda text: tap.read_entry(f"RX 1 bytes Request msg from udp 1.2.3.4:5:\n{text}"),
    "log line": tap.without_users,
    "secrets": tap.without_secrets,
    "unreadable": lambda text: tap.unreadable_from(f"Dropping 1 bytes packet from {text}"),
    "call id": lambda text: door._CALL_ID.search(text.encode()),
    "to tag": lambda text: door._TO_TAG.search(b"To:" + text.encode()),
    "served": lambda text: served.unserved("INFO", text.encode(), tagged=False, live=True),
    "required": lambda text: served.overcharged("INFO", b"Require:" + text.encode()),
    "from": lambda text: from_sip(text, text, "US"),
    "typed": lambda text: read_address(text, "US"),
    "meanings": lambda text: meanings(text, "US", ("0", "9")),
    "logged": lambda text: logs.shorten_numbers(
        None, "", {"caller_name": text, "caller": text, "event": text}
    ),
}
UNITS: Final = (
    *(
        '"',
        "<",
        '<"',
        '"\\',
        "\\",
        "a",
        "a=",
        "a,",
        "a;",
        "a@",
        "1",
        "1,",
        "x1",
        "1-",
        "_1",
        "sip:a@",
    ),
    *(" ", "\t", ",", ";", "=", "%", "[", ":", ";tag", ";\t", "\r\n ", "\r\n", "e;cause ", "To: ;"),
)


@pytest.mark.parametrize("reader", READERS)
def test_long_text_takes_no_longer_for_being_odd(reader: str) -> None:
    """What takes time by the square of its length would take seconds, and stop every call."""
    read = READERS[reader]
    slow = {}
    for unit in UNITS:
        text = "x" + (unit * 8000)[:8000] + "!"
        began = time.process_time()
        read(text)
        took = time.process_time() - began
        if took > 0.4:
            slow[unit] = took
    assert slow == {}


@pytest.mark.parametrize("reader", READERS)
@given(
    text=st.text(alphabet=st.sampled_from(list('ab01 \t\r\n"\\<>@:;,=%[]()-+.*#\0é')), max_size=60)
)
def test_anything_can_be_read(reader: str, text: str) -> None:
    READERS[reader](text)
