# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of earlier versions."""

import pytest

from bridge.store.database import open_database
from bridge.store.schema import migrations


async def make_older(url: str, number: int) -> None:
    """What a program that knew the first `number` migrations left behind, with a ghost in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "upgrades", migrations.upgrades[:number])
        async with open_database(url) as database:
            await database.execute("INSERT INTO ghost VALUES ('tel:+12025550123', 'Ann')")
