# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told of which voice messages, and that nobody is told twice."""

import pytest

from bridge.app.in_force import InForce
from bridge.app.mailboxes import Mailboxes
from bridge.call.ids import TrunkName, UserId
from bridge.config import Accounts, Config, Trunk
from bridge.records import Mailbox

ANN, BOB = UserId("@ann:mx.test"), UserId("@bob:mx.test")
OFFICE, OTHER, HERS = TrunkName("office"), TrunkName("other"), TrunkName(f"account:{ANN}")


class Bench:
    def __init__(self, number: str = "", shared_number: str = "") -> None:
        self.told: list[tuple[UserId, str]] = []
        config = Config(
            trunks={
                OFFICE: Trunk(server="x", mailbox_people=(ANN, BOB), mailbox_number=shared_number),
                OTHER: Trunk(server="x"),
            },
            accounts=Accounts(mailbox_number=number),
        )
        self.mailboxes = Mailboxes(
            InForce(config),
            owner_of=lambda trunk: ANN if trunk == HERS else None,
            tell=lambda person, text: self.told.append((person, text)),
        )

    def hear(
        self, trunk: TrunkName, new: int | None, old: int = 0, *, number: str = ""
    ) -> list[str]:
        already = len(self.told)
        waiting = new is None or new > 0
        self.mailboxes.changed(
            Mailbox(trunk=trunk, waiting=waiting, new=new, old=old, number=number)
        )
        return [text for _, text in self.told[already:]]


def test_everybody_named_is_told_of_a_trunks_mailbox() -> None:
    bench = Bench(shared_number="*98")
    bench.hear(OFFICE, 2, 1, number="*97")
    text = "You have 2 new voice messages, and 1 old. Call `*98` to hear them."
    assert bench.told == [(ANN, text), (BOB, text)]


def test_the_owner_is_told_of_an_accounts_mailbox() -> None:
    bench = Bench()
    bench.hear(HERS, 1, number="*97")
    assert bench.told == [(ANN, "You have 1 new voice message. Call `*97` to hear it.")]
    assert Bench(number="*1").hear(HERS, 1, number="*97")[0].endswith("Call `*1` to hear it.")


@pytest.mark.parametrize("trunk", [OTHER, TrunkName("gone"), TrunkName("account:@x:mx.test")])
def test_nobody_is_told_of_anybody_elses(trunk: TrunkName) -> None:
    assert Bench().hear(trunk, 3) == []


def test_only_more_is_news_and_that_nothing_is_left() -> None:
    bench = Bench()
    assert bench.hear(HERS, 0) == []
    assert bench.hear(HERS, 1) == ["You have 1 new voice message."]
    assert bench.hear(HERS, 1) == []
    assert bench.hear(HERS, 3) == ["You have 3 new voice messages."]
    assert bench.hear(HERS, 2, 1) == []
    assert bench.hear(HERS, 3, 1) == ["You have 3 new voice messages, and 1 old."]
    assert bench.hear(HERS, 0, 4) == ["There is no new voice message any more."]
    assert bench.hear(HERS, 0, 4) == []


def test_a_server_that_does_not_count() -> None:
    bench = Bench()
    assert bench.hear(HERS, None, number="*97") == [
        "You have new voice messages. Call `*97` to hear them."
    ]
    assert bench.hear(HERS, None) == []


def test_another_account_has_another_mailbox() -> None:
    bench = Bench()
    bench.hear(HERS, 1)
    bench.mailboxes.forget(HERS)
    assert bench.hear(HERS, 1) == ["You have 1 new voice message."]
