# SPDX-License-Identifier: GPL-3.0-or-later
"""Registering, with sipp as the registrar."""

from pathlib import Path

import pytest

from bridge.sip.trunks import Registration, RegistrationState
from tests.sip.phone import TRUNK, Bridge, Sipp, trunk

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


async def test_registers_again_after_a_failure(tmp_path: Path) -> None:
    async with Sipp("registrar_after_maintenance", tmp_path, times=2) as registrar:
        async with Bridge({TRUNK: trunk(registrar.port, register=True)}) as bridge:
            assert (await bridge.registration()).status == 503
            assert (await bridge.registration()).state is RegistrationState.REGISTERED
        await registrar.succeeds()


async def test_pauses_grow_while_the_registrar_is_away(tmp_path: Path) -> None:
    asked = []

    def pause(failures: int) -> float:
        asked.append(failures)
        return 0.0 if failures < 3 else 3600.0

    async with Sipp("registrar_refuses", tmp_path, times=3) as registrar:
        async with Bridge({TRUNK: trunk(registrar.port, register=True)}, pause=pause) as bridge:
            state = await bridge.registration()
            assert state == Registration(RegistrationState.FAILED, 403, "Forbidden")
            await registrar.succeeds()
            assert bridge.registrations.empty()
    assert asked == [1, 2, 3]
