# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue from the loop to the SIP thread."""

from functools import partial
from typing import Any
from unittest.mock import Mock

from structlog.testing import capture_logs

from bridge.sip.errands import Errands


def test_errands_without_end_leave_the_network_its_turn() -> None:
    errands, worker = Errands(), Mock()

    def again(worker: Any) -> None:
        worker.did()
        errands.send(again)

    errands.send(again)
    errands.send(again)
    errands.run(worker, most=32)
    assert worker.did.call_count == 2


def test_one_that_fails_keeps_nobody_from_their_turn() -> None:
    errands, worker = Errands(), Mock()

    def fail(worker: Any) -> None:
        raise RuntimeError("no such listener")

    errands.send(fail)
    errands.send(partial(note, 1))
    with capture_logs() as logs:
        errands.run(worker, most=32)
    assert [line["event"] for line in logs] == ["SIP errand failed"]
    worker.did.assert_called_once_with(1)


def note(number: int, worker: Any) -> None:
    worker.did(number)


def test_a_long_queue_is_done_in_order_some_at_a_time() -> None:
    errands, worker = Errands(), Mock()
    for number in range(5):
        errands.send(partial(note, number))
    errands.run(worker, most=2)
    assert [call.args[0] for call in worker.did.call_args_list] == [0, 1]
    errands.finish(worker)
    assert [call.args[0] for call in worker.did.call_args_list] == [0, 1, 2, 3, 4]
