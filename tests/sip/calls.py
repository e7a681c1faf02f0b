# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to and from sipp, as far as the INVITE."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bridge.call.commands import ByeSip
from bridge.call.ids import LegId
from tests.sip.phone import CALL, TRUNK, Bridge, Sipp, trunk

Settings = Mapping[str, object]
_AS_IT_IS: Mapping[str, object] = {}


@asynccontextmanager
async def calling(
    scenario: str,
    directory: Path,
    *,
    caller: str = "",
    name: str = "",
    settings: Settings = _AS_IT_IS,
    keys: Mapping[str, str] | None = None,
    **more: str,
) -> AsyncIterator[tuple[Bridge, Sipp, LegId]]:
    """A call to sipp, INVITE sent. `settings`: of the trunk."""
    async with Sipp(scenario, directory, keys={**(keys or {}), **more}) as phone:
        by = trunk(phone.port).model_copy(update=dict(settings))
        async with Bridge({TRUNK: by}) as bridge:
            yield bridge, phone, bridge.call(caller=caller, name=name)


@asynccontextmanager
async def called(
    scenario: str,
    directory: Path,
    *,
    settings: Settings = _AS_IT_IS,
    keys: Mapping[str, str] | None = None,
    **more: str,
) -> AsyncIterator[tuple[Bridge, Sipp]]:
    """A bridge that sipp calls from a trunk's address. `settings`: of the trunk."""
    by = trunk(9).model_copy(update=dict(settings))
    async with Bridge({TRUNK: by}) as bridge:
        async with Sipp(
            scenario, directory, calls=bridge.port, keys={**(keys or {}), **more}
        ) as phone:
            yield bridge, phone


def bye(leg: LegId, q850: int = 0) -> ByeSip:
    """The command to hang up."""
    return ByeSip(call=CALL, leg=leg, q850=q850)
