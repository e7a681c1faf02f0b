# SPDX-License-Identifier: GPL-3.0-or-later
"""What waits in mailboxes (RFC 3842), with sipp as the server that tells."""

import asyncio
from pathlib import Path

import pytest

from bridge.call.ids import TrunkName
from bridge.config import Trunk
from bridge.records import Mailbox
from bridge.sip.mailbox import read_mailbox
from bridge.sip.messages import parse
from bridge.sip.trunks import RegistrationState
from tests.simulators.exchange import Exchange
from tests.simulators.waiting import until
from tests.sip.phone import TRUNK, Bridge, Sipp, trunk

ACCOUNT = TrunkName("account:@person:mx.test")


def heard(trunk: TrunkName) -> Mailbox:
    """What sipp's server says."""
    return Mailbox(trunk=trunk, waiting=True, new=2, old=1, number="*97")


def watched(port: int) -> dict[str, Trunk]:
    """A trunk of whose mailbox somebody wants to hear."""
    settings = trunk(port, register=True)
    return {TRUNK: settings.model_copy(update={"mailbox_people": ("@ann:mx.test",)})}


@pytest.mark.e2e
async def test_mailbox_is_asked_for_and_left_when_the_bridge_stops(tmp_path: Path) -> None:
    async with Sipp("registrar_with_mailbox", tmp_path, times=2) as server:
        async with Bridge(watched(server.port)) as bridge:
            await until(lambda: len(bridge.mailboxes) == 1, what="the mailbox is told")
        await server.succeeds()
    assert bridge.mailboxes == [heard(TRUNK)]


@pytest.mark.e2e
async def test_mailbox_of_an_account_is_left_with_it(tmp_path: Path) -> None:
    async with (
        Sipp("registrar_with_mailbox", tmp_path, times=2) as server,
        Bridge({}) as bridge,
    ):
        settings = trunk(server.port, register=True)
        await bridge.sip.add_trunk(ACCOUNT, settings, personal=True, mailbox=True)
        await until(lambda: len(bridge.mailboxes) == 1, what="the mailbox is told")
        await bridge.sip.remove_trunk(ACCOUNT)
        await server.succeeds()
    assert bridge.mailboxes == [heard(ACCOUNT)]


@pytest.mark.e2e
async def test_mailbox_that_nobody_wants_to_hear_of_is_not_asked_for(tmp_path: Path) -> None:
    async with Sipp("registrar", tmp_path) as server:
        async with Bridge({TRUNK: trunk(server.port, register=True)}) as bridge:
            await bridge.registration()
        await server.succeeds()
        assert "SUBSCRIBE sip:" not in server.messages()


@pytest.mark.e2e
async def test_mailbox_told_of_without_a_subscription(tmp_path: Path) -> None:
    keys = {"status": "200", "event": "message-summary"}
    async with (
        Bridge({TRUNK: trunk(9)}) as bridge,
        Sipp("notifier", tmp_path, calls=bridge.port, keys=keys) as server,
    ):
        await server.succeeds()
        await until(lambda: len(bridge.mailboxes) == 1, what="the mailbox is told")
    assert bridge.mailboxes == [Mailbox(trunk=TRUNK, waiting=True, new=1)]


@pytest.mark.e2e
async def test_subscription_that_is_lost_is_asked_for_again_with_the_registration() -> None:
    loop = asyncio.get_running_loop()
    states = ("terminated;reason=deactivated", "active;expires=3600")
    transport, exchange = await loop.create_datagram_endpoint(
        lambda: Exchange(expires=7, states=states), local_addr=("127.0.0.1", 0)
    )
    async with Bridge(watched(exchange.port)) as bridge:
        await until(lambda: len(bridge.mailboxes) == 2, what="the mailbox is told again")
    transport.close()
    assert [mailbox.new for mailbox in bridge.mailboxes] == [1, 2]


@pytest.mark.e2e
async def test_server_without_mailboxes_registers_all_the_same() -> None:
    loop = asyncio.get_running_loop()
    transport, exchange = await loop.create_datagram_endpoint(Exchange, local_addr=("127.0.0.1", 0))
    async with Bridge(watched(exchange.port)) as bridge:
        assert (await bridge.registration()).state is RegistrationState.REGISTERED
        await until(lambda: exchange.subscribed == 1, what="it was asked")
    transport.close()
    assert bridge.mailboxes == []
    assert exchange.contacts == {}


def notify(body: str, event: str = "message-summary") -> Mailbox | None:
    return read_mailbox(TRUNK, parse(f"NOTIFY sip:x SIP/2.0\r\nEvent: {event}\r\n\r\n{body}"))


@pytest.mark.parametrize(
    ("body", "mailbox"),
    [
        (
            "Messages-Waiting: yes\r\nMessage-Account: sip:*97@mx.test\r\n"
            "Voice-Message: 2/8 (0/2)\r\n",
            Mailbox(trunk=TRUNK, waiting=True, new=2, old=8, number="*97"),
        ),
        (
            "messages-waiting: NO\nvoice-message: 0/3\n",
            Mailbox(trunk=TRUNK, waiting=False, new=0, old=3),
        ),
        ("Messages-Waiting: yes\r\n", Mailbox(trunk=TRUNK, waiting=True)),
        ("Messages-Waiting: no\r\n", Mailbox(trunk=TRUNK, waiting=False)),
        ("Voice-Message: 1 / 0\r\n", Mailbox(trunk=TRUNK, waiting=True, new=1)),
        # Faxes wait, but no voice.
        (
            "Messages-Waiting: yes\r\nFax-Message: 1/0\r\nVoice-Message: 0/0\r\n",
            Mailbox(trunk=TRUNK, waiting=False, new=0),
        ),
        ("Voice-Message: 999999999/0", Mailbox(trunk=TRUNK, waiting=True, new=99_999)),
        ("Voice-Message: many\r\n", None),
        ("", None),
    ],
)
def test_summary_is_read(body: str, mailbox: Mailbox | None) -> None:
    assert notify(body) == mailbox


def test_summary_with_short_headers_is_read() -> None:
    text = "NOTIFY sip:x SIP/2.0\r\no: message-summary\r\n\r\nMessages-Waiting: yes\r\n"
    assert read_mailbox(TRUNK, parse(text)) == Mailbox(trunk=TRUNK, waiting=True)


def test_another_event_is_no_mailbox() -> None:
    assert notify("Messages-Waiting: yes\r\n", "presence") is None
    assert notify("Messages-Waiting: yes\r\n", "Message-Summary;id=7") is not None
