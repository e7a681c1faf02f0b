# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets at rest: what was sealed opens with the same key, at the same place, and nowhere else."""

import pytest
from mautrix.util.async_db import Database

from bridge.errors import ConfigurationError
from bridge.store.database import open_database
from bridge.store.secrets import Sealer, UnsealError, open_sealer

KEY = "what nobody could ever guess"


@pytest.fixture
async def sealer(database: Database) -> Sealer:
    return await open_sealer(database, KEY)


async def test_what_is_sealed_cannot_be_read_and_opens_again(sealer: Sealer) -> None:
    sealed = sealer.seal("hunter22 ünïcode", "here")
    assert "hunter22" not in sealed
    assert sealer.unseal(sealed, "here") == "hunter22 ünïcode"


async def test_nothing_is_sealed_the_same_way_twice(sealer: Sealer) -> None:
    assert sealer.seal("hunter22") != sealer.seal("hunter22")


async def test_it_opens_at_its_place_alone(sealer: Sealer) -> None:
    sealed = sealer.seal("hunter22", "alice")
    with pytest.raises(UnsealError):
        sealer.unseal(sealed, "mallory")


@pytest.mark.parametrize("broken", ["", "1:", "1:AAAA", "no base64 at all!", "1:" + "A" * 64])
async def test_what_was_tampered_with_is_an_error(sealer: Sealer, broken: str) -> None:
    with pytest.raises(UnsealError, match="cannot be read"):
        sealer.unseal(broken)


async def test_derived_keys_last_and_differ_by_purpose(database: Database, sealer: Sealer) -> None:
    again = await open_sealer(database, KEY)
    assert sealer.derive("one") == again.derive("one")
    assert sealer.derive("one") != sealer.derive("other")


async def test_the_same_key_opens_after_a_restart(url: str) -> None:
    async with open_database(url) as database:
        sealed = (await open_sealer(database, KEY)).seal("hunter22")
    async with open_database(url) as database:
        assert (await open_sealer(database, KEY)).unseal(sealed) == "hunter22"


async def test_another_key_is_refused_at_the_start(database: Database, sealer: Sealer) -> None:
    with pytest.raises(ConfigurationError, match=r"database\.secret_key") as error:
        await open_sealer(database, "another one, of the same length")
    assert "earlier value" in error.value.remedy
    assert KEY not in str(error.value)


async def test_the_same_key_seals_otherwise_in_another_database(tmp_path: object) -> None:
    """A salt of its own: nobody can try guesses on many databases at once."""
    derived = set()
    for name in ("a", "b"):
        async with open_database(f"sqlite:{tmp_path}/{name}.db") as database:
            derived.add((await open_sealer(database, KEY)).derive("one"))
    assert len(derived) == 2
