# SPDX-License-Identifier: GPL-3.0-or-later
"""What an admin sees of a call, while it lasts and after it."""

from aiohttp import ClientSession

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PCMU, GatedStage
from tests.simulators.waiting import until_async


async def test_a_call_is_shown_while_it_lasts_and_after_it(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, caller = await new_matrix_phone(version=1)
    url, token = stage.bridge.admin_page
    async with (
        ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as admin,
        stage.phone(PCMU) as phone,
    ):

        async def shown(path: str) -> str:
            async with admin.get(path) as reply:
                assert reply.status == 200, path
                return await reply.text()

        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await phone.hears(440)
        (record,) = stage.bridge.calls(person.user_id)
        assert f"/calls/{record.call}" in await shown("/")
        page = await shown(f"/calls/{record.call}")
        assert "in progress" in page
        assert "m.call.answer" in page
        assert "a=ice-pwd: [hidden]" in page
        await phone.hang_up()
        await call.ended()
        await stage.bridge.ended(person.user_id)

        async def over() -> bool:
            return "relay</span>" in await shown(f"/calls/{record.call}")

        await until_async(over, what="the page says what was agreed on")
        page = await shown(f"/calls/{record.call}")
        assert "It was ended by the telephone&#39;s side: normal." in page
        assert "Both sides use PCMU" in page
        listed = await shown(f"/calls.csv?person={person.user_id}&number={PCMU.number}")
        assert len(listed.splitlines()) == 2
        assert "success,normal,200,user_hangup,sip" in listed
        text = await shown(f"/calls/{record.call}.txt")
        assert text.index("Matrix client -> bridge  m.call.invite") < text.index("SIP peer  INVITE")
        metrics = await shown("/metrics")
        assert 'calls_total{cause="normal",direction="to_sip",outcome="success"}' in metrics
        assert 'matrix_sip_trunk_state{state="not_used",trunk="pcmu"} 1.0' in metrics
