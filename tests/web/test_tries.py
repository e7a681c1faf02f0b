# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has sent too many wrong tokens, and nobody else."""

import pytest

from bridge.web import tries
from bridge.web.tries import Tries

ADMIN, STRANGER = "192.0.2.1", "203.0.113.9"


class Clients:
    """Tries, and what time it is for them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tries = Tries(lambda: self.now)

    def guess(self, remote: str | None, times: int = 5) -> list[bool]:
        return [self.tries.wrong(remote) for _ in range(times)]


def test_one_who_guesses_locks_nobody_else_out() -> None:
    clients = Clients()
    assert clients.guess(STRANGER, 4) == [True] * 4
    assert clients.tries.closed_for(STRANGER) == 0
    clients.now += 20
    clients.guess(STRANGER, 1)
    assert clients.tries.closed_for(STRANGER) == 40
    assert clients.tries.closed_for(ADMIN) == 0
    clients.now += 41
    assert clients.tries.closed_for(STRANGER) == 0


def test_who_has_shown_the_token_is_let_in_whatever_comes_from_the_same_address() -> None:
    clients = Clients()
    clients.tries.right(ADMIN)
    assert clients.guess(ADMIN, 8) == [True] * 5 + [False] * 3, "the log is not filled with it"
    assert clients.tries.closed_for(ADMIN) == 0
    clients.now += 12 * 3600 + 1
    clients.guess(ADMIN)
    assert clients.tries.closed_for(ADMIN) == 60


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        (None, "", True),
        ("a socket", "a socket", True),
    ],
)
def test_clients_are_addresses_or_networks(one: str | None, other: str, same: bool) -> None:
    clients = Clients()
    clients.guess(one)
    assert (clients.tries.closed_for(other) > 0) is same


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "_MOST", 3)
    clients = Clients()
    for number in range(4):
        clients.guess(f"192.0.2.{number}")
    closed = [clients.tries.closed_for(f"192.0.2.{number}") > 0 for number in range(4)]
    assert closed == [False, True, True, True]
