# SPDX-License-Identifier: GPL-3.0-or-later
"""Registering with Kamailio, and calling through it."""

from pathlib import Path
from typing import Literal

import pytest

from bridge.config import Trunk
from bridge.sip.trunks import RegistrationState
from tests.simulators.kamailio import DOMAIN, Kamailio
from tests.sip.phone import TRUNK, Bridge, trunk

pytestmark = pytest.mark.e2e

ACCOUNTS = {"me-auth": "secret"}


def account(port: int, **settings: object) -> Trunk:
    return trunk(port, register=True).model_copy(update={"domain": DOMAIN, **settings})


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_registers_by_digest(tmp_path: Path, algorithm: Literal["MD5", "SHA-256"]) -> None:
    async with Kamailio(tmp_path, accounts=ACCOUNTS, algorithm=algorithm) as kamailio:
        async with Bridge({TRUNK: account(kamailio.port)}) as bridge:
            assert (await bridge.registration()).state is RegistrationState.REGISTERED
