# SPDX-License-Identifier: GPL-3.0-or-later
"""Ghosts' own devices: made once, with keys, signed, and unreadable in the database."""

from typing import Any

import pytest
from mautrix.crypto.signature import verify_signature_json
from mautrix.types import UserID

from bridge.errors import LocalError
from bridge.matrix.homeserver import Refused, Unavailable
from bridge.store.secrets import Sealer
from tests.matrix.encryption.world import GHOST, ROOM, World


async def test_a_ghost_is_given_a_device_that_its_own_keys_have_signed(world: World) -> None:
    await world.encryption.ready(GHOST)
    [(name, keys)] = world.server.devices[GHOST].items()
    assert (GHOST, name) in world.server.made
    assert world.server.left(GHOST, name) == 50
    cross = world.server.cross_signing[GHOST]
    assert set(cross) == {"master_key", "self_signing_key", "user_signing_key"}
    [signer] = cross["self_signing_key"]["keys"].values()
    [master] = cross["master_key"]["keys"].values()
    assert _signed(keys, signer)
    assert _signed(cross["self_signing_key"], master)


async def test_that_is_done_once(world: World) -> None:
    await world.encryption.ready(GHOST)
    before = len(world.server.requests)
    await world.encryption.ready(GHOST)
    await world.encryption.stop()
    world.again()
    await world.start()
    during = len(world.server.requests)  # the bot's device and its message to itself
    await world.encryption.ready(GHOST)
    assert world.server.requests[during:] == []
    assert during == before + 2


@pytest.mark.parametrize(
    "step", ["devices/", "keys/upload", "keys/device_signing", "keys/signatures"]
)
async def test_what_was_interrupted_is_finished_later_with_the_same_device(
    world: World, step: str
) -> None:
    world.server.failures[step] = Unavailable("restarting")
    with pytest.raises(Unavailable):
        await world.encryption.ready(GHOST)
    await world.encryption.stop()
    world.again()
    await world.start()
    await world.encryption.ready(GHOST)
    assert len(world.server.devices[GHOST]) == 1
    assert len({name for user, name in world.server.made if user == GHOST}) == 1
    phone = await world.device()
    content = await world.say()
    await phone.hear()
    assert await phone.read(ROOM, content)


async def test_keys_that_may_be_used_are_kept_before_they_are_uploaded(world: World) -> None:
    """Else a crash in between leaves people with keys of ours that nobody has."""
    world.server.failures["keys/signatures"] = Unavailable("restarting")
    with pytest.raises(Unavailable):
        await world.encryption.ready(GHOST)
    phone = await world.device()  # takes one of the keys that were uploaded
    await world.encryption.stop()
    world.again()
    await world.start()
    event = await phone.write(ROOM, [GHOST])
    await world.deliver()
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"


async def test_nothing_in_the_database_is_readable(world: World) -> None:
    await world.encryption.ready(GHOST)
    row = await world.database.fetchrow("SELECT sealed_seeds FROM own_device WHERE ready")
    assert row is not None
    assert str(row["sealed_seeds"]).startswith("1:")
    await world.encryption.stop()
    other = world.again(sealer=Sealer(b"another key"))
    await world.start()
    with pytest.raises(Exception, match="BAD_ACCOUNT_KEY"):
        await other.prepare(ROOM, GHOST, GHOST)


async def test_seeds_do_not_open_for_another_user(world: World) -> None:
    other = "@sip_1:example.org"
    world.server.failures["keys/signatures"] = Unavailable("restarting")
    with pytest.raises(Unavailable):
        await world.encryption.ready(GHOST)
    await world.database.execute("UPDATE own_device SET user_id=$1 WHERE user_id=$2", other, GHOST)
    with pytest.raises(LocalError, match="cannot be read"):
        await world.encryption.ready(other)  # type: ignore[arg-type]


async def test_a_refusal_is_told(world: World) -> None:
    world.server.failures["keys/upload"] = Refused("no", status=403, errcode="M_FORBIDDEN")
    with pytest.raises(Refused):
        await world.encryption.ready(GHOST)


def _signed(keys: Any, signer: Any) -> bool:
    return verify_signature_json(keys, UserID(GHOST), signer, signer)


async def test_a_homeserver_that_was_set_up_anew_is_told_everything_again(world: World) -> None:
    await world.encryption.ready(GHOST)
    [name] = world.server.devices[GHOST]
    for forgotten in (world.server.devices, world.server.one_time, world.server.cross_signing):
        forgotten.clear()
    world.server.made.clear()
    await world.encryption.forget(GHOST)
    await world.encryption.ready(GHOST)
    [(again, keys)] = world.server.devices[GHOST].items()
    assert again == name
    [signer] = world.server.cross_signing[GHOST]["self_signing_key"]["keys"].values()
    assert _signed(keys, signer)
    phone = await world.device()
    event = await phone.write(ROOM, [GHOST])
    await world.deliver()
    assert (await world.encryption.decrypt(event, GHOST)).type == "m.call.invite"


async def test_nothing_is_forgotten_of_whom_nothing_is_known(world: World) -> None:
    before = len(world.server.requests)
    await world.encryption.forget(GHOST)
    assert world.server.requests[before:] == []
    assert world.encryption.vault.loaded == 0
