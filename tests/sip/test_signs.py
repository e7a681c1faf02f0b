# SPDX-License-Identifier: GPL-3.0-or-later
"""Signs that a far end is there: whatever it says within the call, and OPTIONS that ask for one."""

from pathlib import Path

import pytest

from bridge.call.commands import AskSipIfThere
from bridge.call.events import SipAnswered, SipEnded, SipProgressed
from tests.simulators.waiting import until
from tests.sip.calls import bye, calling
from tests.sip.phone import CALL

pytestmark = pytest.mark.e2e


async def test_whatever_it_answers_it_is_there(tmp_path: Path) -> None:
    status = "405 Method Not Allowed"
    async with calling("callee_is_quiet", tmp_path, status=status) as (bridge, phone, leg):
        await bridge.expect(SipProgressed)
        await bridge.expect(SipAnswered)
        assert not bridge.signs
        bridge.sip.do(AskSipIfThere(call=CALL, leg=leg))
        await until(lambda: bridge.signs == [leg], what="it has answered")
        bridge.sip.do(bye(leg))
        await bridge.expect(SipEnded)
        await phone.succeeds()


async def test_who_knows_no_such_call_is_not_there(tmp_path: Path) -> None:
    status = "481 Call/Transaction Does Not Exist"
    async with calling("callee_is_quiet", tmp_path, status=status) as (bridge, phone, leg):
        await bridge.expect(SipProgressed)
        await bridge.expect(SipAnswered)
        bridge.sip.do(AskSipIfThere(call=CALL, leg=leg))
        ended = await bridge.expect(SipEnded)
        assert (ended.status, ended.q850) == (408, 102)
        await phone.succeeds()
