# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stack lets through of descriptions with keys: its own SRTP is not used."""

from pathlib import Path

import pytest

from bridge.call.commands import AnswerSip, ByeSip
from bridge.call.events import SipAnswered, SipConfirmed, SipEnded, SipInviteReceived
from bridge.sdp.sdes import KEY_LENGTHS, crypto_line
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, description, trunk

pytestmark = pytest.mark.e2e

AVP, SAVP, NOTHING = "RTP/AVP", "RTP/SAVP", "a=ptime:20"
LINES = {
    suite: f"a=crypto:{crypto_line(tag, suite, bytes(range(length)))}"
    for tag, (suite, length) in enumerate(KEY_LENGTHS.items(), start=1)
}
FIRST = next(iter(LINES.values()))
_SECTION = description().partition("m=audio")


def section(protocol: str, line: str = "", *, port: int = 41000) -> str:
    """One of ours."""
    text = "".join(_SECTION[1:]).replace("RTP/AVP", protocol).replace("41000", str(port))
    return text + (f"{line}\r\n" if line else "")


@pytest.mark.parametrize("taken", [0, 1])
@pytest.mark.parametrize("secure", [0, 1], ids=["encrypted first", "plain first"])
async def test_audio_that_is_offered_twice(tmp_path: Path, taken: int, secure: int) -> None:
    """FreeSWITCH and some telephones leave the choice to us."""
    protocols = [SAVP, AVP] if secure == 0 else [AVP, SAVP]
    lines = [FIRST if protocol == SAVP else NOTHING for protocol in protocols]
    answer = _SECTION[0] + "".join(
        section(protocol, line if line != NOTHING else "", port=41000 if n == taken else 0)
        for n, (protocol, line) in enumerate(zip(protocols, lines, strict=True))
    )
    keys = {
        **{"one": protocols[0], "two": protocols[1]},
        **{"line_one": lines[0], "line_two": lines[1]},
        "answer": f"m=audio 41000 {protocols[taken]}",
    }
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("caller_offers_twice", tmp_path, calls=bridge.port, keys=keys) as phone,
    ):
        invite = await bridge.expect(SipInviteReceived)
        bridge.sip.do(AnswerSip(call=CALL, leg=invite.leg, sdp=answer))
        await bridge.expect(SipConfirmed)
        await bridge.expect(SipEnded)
        await phone.succeeds()


@pytest.mark.parametrize("suite", LINES)
@pytest.mark.parametrize("protocol", [AVP, SAVP])
async def test_keys_are_answered(tmp_path: Path, suite: str, protocol: str) -> None:
    offered = _SECTION[0] + section(protocol, "\r\n".join(LINES.values()))
    async with Sipp(
        "callee_answers_keyed", tmp_path, keys={"protocol": protocol, "line": LINES[suite]}
    ) as phone:
        async with Bridge({TRUNK: trunk(phone.port)}) as bridge:
            leg = bridge.call(sdp=offered)
            answered = await bridge.expect(SipAnswered)
            assert LINES[suite] in answered.sdp
            bridge.sip.do(ByeSip(call=CALL, leg=leg))
            await bridge.expect(SipEnded)
            await phone.succeeds()


async def test_keys_are_overlooked(tmp_path: Path) -> None:
    offered = _SECTION[0] + section(AVP, "\r\n".join(LINES.values()))
    async with Sipp(
        "callee_answers_keyed", tmp_path, keys={"protocol": AVP, "line": NOTHING}
    ) as phone:
        async with Bridge({TRUNK: trunk(phone.port)}) as bridge:
            leg = bridge.call(sdp=offered)
            assert "a=crypto" not in (await bridge.expect(SipAnswered)).sdp
            bridge.sip.do(ByeSip(call=CALL, leg=leg))
            await bridge.expect(SipEnded)
            await phone.succeeds()
