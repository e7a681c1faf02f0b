# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bot does and answers, command by command."""

import re

import pytest

from bridge.call.causes import Cause
from bridge.call.ids import Direction, UserId
from bridge.call.limits import Allowance
from bridge.call.policy import Access
from bridge.errors import NotDone
from bridge.matrix.bot.commands import Request
from bridge.matrix.bot.reply import Reply
from bridge.matrix.bot.table import COMMANDS, run, usage
from bridge.ports import Desk
from bridge.records import LineView, PersonSettings
from tests.matrix.bot.desk import ALICE, CHIEF, EVE, GUEST, NUMBER, FakeDesk, record, view

SHOWN = "+1 202-555-0123"


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


async def say(desk: FakeDesk, text: str, person: UserId = ALICE) -> Reply:
    port: Desk = desk
    name, *words = text.split()
    return await run(name, Request(person, tuple(words), port))


def body(reply: Reply) -> str:
    text: str = reply.content()["body"]
    return text


# --- help and permissions ---------------------------------------------------------------------


async def test_help_shows_what_one_may_do(desk: FakeDesk) -> None:
    for person, access in desk.permissions.items():
        shown = body(await say(desk, "help", person))
        for name, command in COMMANDS.items():
            assert (f"- {usage(name)}: " in shown) == (command.access <= access), (person, name)


async def test_help_explains_one_command(desk: FakeDesk) -> None:
    assert body(await say(desk, "help CALLS")).startswith("`calls [<how many>]`: list your latest")


async def test_help_knows_only_commands(desk: FakeDesk) -> None:
    with pytest.raises(NotDone, match="`help` lists"):
        await say(desk, "help dance")


@pytest.mark.parametrize("name", COMMANDS)
async def test_nobody_does_what_they_are_not_permitted(desk: FakeDesk, name: str) -> None:
    desk.now = [(view(), 1)]
    lower = {Access.ADMIN: ALICE, Access.CALL: GUEST, Access.RECEIVE: EVE}[COMMANDS[name].access]
    with pytest.raises(NotDone, match="not permitted"):
        await say(desk, f"{name} ab-1", lower)
    assert not desk.hung_up
    assert not desk.called


async def test_what_is_no_command_is_not_repeated(desk: FakeDesk) -> None:
    with pytest.raises(NotDone) as caught:
        await say(desk, "hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("call", "`call <number>`"),
        ("calls many", "`calls [<how many>]`"),
        ("calls 0", "from 1 to 50"),
        ("calls 51", "from 1 to 50"),
        ("dnd maybe", "`dnd [on|off]`"),
        ("withhold my number", "`withhold [on|off|default]`"),
        ("hangup", "`hangup <call>`"),
        ("hangup ab 1", "`hangup <call>`"),
        ("route", "`route [<Matrix id> | in <trunk>] <number>`"),
        ("route @bob:example.org", "`route [<Matrix id> | in <trunk>] <number>`"),
    ],
)
async def test_what_is_not_understood_is_answered_with_the_usage(
    desk: FakeDesk, text: str, hint: str
) -> None:
    assert hint in body(await say(desk, text, CHIEF))


# --- calls ------------------------------------------------------------------------------------


async def test_a_number_may_be_written_as_people_do(desk: FakeDesk) -> None:
    assert SHOWN in body(await say(desk, "call (202) 555-0123"))
    assert desk.called == [(ALICE, NUMBER)]


async def test_history_says_with_whom_and_how_it_went(desk: FakeDesk) -> None:
    desk.records = [
        record(talked=125),
        record(Direction.TO_MATRIX, cause=Cause.CANCELLED.value),
        record(Direction.TO_MATRIX, cause=Cause.ANSWERED_ELSEWHERE.value),
        record(cause=Cause.NOT_IN_SERVICE.value),
        record(over=False),
        record(talked=3725, person=CHIEF),
    ]
    lines = body(await say(desk, "calls")).splitlines()
    assert [re.sub(r"^- [\d-]{10} \d\d:\d\d ", "", line) for line in lines] == [
        "Your latest calls:",
        f"to {SHOWN}, talked 2:05",
        f"from {SHOWN}, missed",
        f"from {SHOWN}, answered by somebody else",
        f"to {SHOWN}, not in service",
        f"to {SHOWN}, not over",
    ]
    assert "talked 1:02:05" in body(await say(desk, "calls", CHIEF))


async def test_history_tells_of_calls_that_somebody_else_answered(desk: FakeDesk) -> None:
    answered = record(Direction.TO_MATRIX, person=CHIEF, talked=5)
    missed = record(Direction.TO_MATRIX, person=CHIEF, cause=Cause.CANCELLED.value)
    desk.groups[ALICE] = [answered, missed]
    first, second = (await say(desk, "calls")).items
    assert first.endswith("answered by somebody else")
    assert second.endswith("missed")


async def test_history_is_as_long_as_asked(desk: FakeDesk) -> None:
    desk.records = [record() for _ in range(60)]
    assert len((await say(desk, "calls")).items) == 10
    assert len((await say(desk, "calls 50")).items) == 50


async def test_history_may_be_empty(desk: FakeDesk) -> None:
    assert body(await say(desk, "calls")) == "You have had no calls yet."


# --- settings ---------------------------------------------------------------------------------


async def test_status_shows_everything_of_the_person(desk: FakeDesk) -> None:
    desk.chosen[ALICE] = PersonSettings(dnd=True, forward=NUMBER)
    desk.accounts[ALICE] = LineView(name="alice@pbx.example.org", works=True, state="registered")
    desk.lines = [
        LineView(name="provider", works=True, state="registered"),
        LineView(name="pbx", works=False, state="refused: 403 Forbidden"),
    ]
    desk.now = [(view(), 65), (view("ab-2", CHIEF), 3)]
    desk.allowance = Allowance(calls=1, seconds=3725)
    assert body(await say(desk, "status")).splitlines() == [
        "You may call and be called.",
        "- Do not disturb: on",
        f"- Forwarding: to {SHOWN}",
        "- Voicemail: off",
        "- Your number: as the bridge is set up",
        "- Your own SIP account: `alice@pbx.example.org`, registered",
        "- Trunks that work: 1 of 2",
        "- Calls that you may have besides: 1",
        "- Time left for calls, of 24 hours: 1 h 2 min",
        f"- In a call: to {SHOWN}, connected, 1:05",
    ]


@pytest.mark.parametrize(
    ("person", "sentence"),
    [(GUEST, "but not call"), (ALICE, "call and be called"), (CHIEF, "look after the bridge")],
)
async def test_status_says_what_one_may_do(desk: FakeDesk, person: UserId, sentence: str) -> None:
    shown = body(await say(desk, "status", person))
    assert sentence in shown
    assert "account: none" in shown


async def test_who_withholds_their_number_reads_so(desk: FakeDesk) -> None:
    assert body(await say(desk, "withhold")) == "Your number: as the bridge is set up."
    for word, chosen, shown in (("on", True, "hidden"), ("OFF", False, "shown")):
        assert shown in body(await say(desk, f"withhold {word}"))
        assert desk.chosen == {ALICE: PersonSettings(withhold=chosen)}
    assert "as the bridge" in body(await say(desk, "withhold default"))


async def test_dnd_is_switched_and_shown(desk: FakeDesk) -> None:
    assert "is off" in body(await say(desk, "dnd"))
    assert "is on" in body(await say(desk, "dnd ON", GUEST))
    assert desk.chosen == {GUEST: PersonSettings(dnd=True)}
    assert "is on" in body(await say(desk, "dnd", GUEST))
    assert "is off" in body(await say(desk, "dnd off", GUEST))


async def test_forwarding_is_set_shown_and_taken_back(desk: FakeDesk) -> None:
    assert "not forwarded" in body(await say(desk, "forward"))
    assert SHOWN in body(await say(desk, "forward 202 555 0123"))
    assert desk.settings(ALICE).forward == NUMBER
    assert SHOWN in body(await say(desk, "forward"))
    assert "not forwarded" in body(await say(desk, "forward Off"))
    assert desk.settings(ALICE).forward is None


# --- an account -------------------------------------------------------------------------------


async def test_login_asks_for_the_account_and_then_for_the_password(desk: FakeDesk) -> None:
    asked = await say(desk, "login")
    assert asked.question
    assert not asked.question.secret
    again = await asked.question.answered("what?")
    assert "no SIP account" in body(again)
    assert again.question
    second = await again.question.answered("sip:alice@pbx.example.org:5070")
    assert "password" in body(second)
    assert second.question
    assert second.question.secret
    assert not desk.logins
    done = await second.question.answered("correct horse")
    assert desk.logins == [(ALICE, "pbx.example.org:5070", "alice", "correct horse", "")]
    assert "logged in as `alice@pbx.example.org:5070`: registered" in body(done)
    assert done.question is None


async def test_login_takes_the_account_at_once(desk: FakeDesk) -> None:
    asked = await say(desk, "login alice@pbx.example.org")
    assert asked.question
    assert asked.question.secret


async def test_login_takes_everything_at_once(desk: FakeDesk) -> None:
    await say(desk, "login alice@pbx.example.org correct horse")
    assert desk.logins == [(ALICE, "pbx.example.org", "alice", "correct horse", "")]


async def test_the_name_that_goes_with_the_password_may_be_another(desk: FakeDesk) -> None:
    asked = await say(desk, "login alice@pbx.example.org as 4711")
    assert asked.question
    await asked.question.answered("correct horse")
    await say(desk, "login alice@example.com@pbx.example.org as 4711 correct horse")
    assert desk.logins == [
        (ALICE, "pbx.example.org", "alice", "correct horse", "4711"),
        (ALICE, "pbx.example.org", "alice@example.com", "correct horse", "4711"),
    ]


async def test_a_secure_address_asks_for_a_secure_transport(desk: FakeDesk) -> None:
    await say(desk, "login sips:alice@pbx.example.org secret")
    await say(desk, "login sip:alice@pbx.example.org;transport=tcp secret")
    servers = [server for _, server, *_ in desk.logins]
    assert servers == ["sips:pbx.example.org", "pbx.example.org;transport=tcp"]


async def test_a_password_alone_is_not_taken_for_an_account(desk: FakeDesk) -> None:
    asked = await say(desk, "login alice hunter2")
    assert "no SIP account" in body(asked)
    assert "hunter2" not in body(asked)
    assert not desk.logins


async def test_login_says_why_an_account_does_not_work(desk: FakeDesk) -> None:
    desk.works = False
    with pytest.raises(NotDone, match="refuses the user name or the password") as caught:
        await say(desk, "login alice@pbx.example.org hunter2")
    assert "hunter2" not in str(caught.value)


async def test_logout(desk: FakeDesk) -> None:
    assert "no SIP account" in body(await say(desk, "logout"))
    await say(desk, "login alice@pbx.example.org secret")
    assert "logged out" in body(await say(desk, "logout"))
    assert not desk.accounts


# --- admins -----------------------------------------------------------------------------------


async def test_trunks_are_shown_as_they_stand(desk: FakeDesk) -> None:
    assert "No trunk" in body(await say(desk, "trunks", CHIEF))
    desk.lines = [
        LineView(name="provider", works=True, state="registered"),
        LineView(name="pbx", works=False, state="refused: 403 Forbidden"),
    ]
    assert body(await say(desk, "trunks", CHIEF)).splitlines()[1:] == [
        "- ✓ `provider`: registered",
        "- ✗ `pbx`: refused: 403 Forbidden",
    ]


async def test_active_calls_are_named(desk: FakeDesk) -> None:
    assert "no calls" in body(await say(desk, "active", CHIEF))
    desk.now = [(view(), 65)]
    assert body(await say(desk, "active", CHIEF)).splitlines()[1:] == [
        f"- `ab-1`: {ALICE} to {SHOWN}, connected, 1:05, by `provider`"
    ]


async def test_an_admin_ends_a_call(desk: FakeDesk) -> None:
    desk.now = [(view(), 65)]
    assert "being ended" in body(await say(desk, "hangup ab-1", CHIEF))
    assert desk.hung_up == [("ab-1", CHIEF)]
    with pytest.raises(NotDone, match="no such call"):
        await say(desk, "hangup ab-2", CHIEF)


async def test_a_route_is_shown_for_oneself_and_for_others(desk: FakeDesk) -> None:
    own = body(await say(desk, "route 202 555 0123", CHIEF))
    assert own.startswith(f"For {CHIEF}: trunk `provider` dials `+12025550123`")
    assert "- outbound[0]: this one" in own
    other = body(await say(desk, f"route {GUEST} 202 555 0123", CHIEF))
    assert other.startswith(f"For {GUEST}")


async def test_a_route_in_is_shown(desk: FakeDesk) -> None:
    shown = body(await say(desk, "route in provider 202 555 0199", CHIEF))
    assert shown == (
        f"A call by `provider` for 202 555 0199 rings {ALICE}.\n- inbound[0]: this one"
    )


# --- how it is written ------------------------------------------------------------------------


def test_what_others_wrote_is_no_html() -> None:
    content = Reply("`a <b>`\n& <i>", ("<script>", "`x`")).content()
    assert content["formatted_body"] == (
        "<code>a &lt;b&gt;</code><br>&amp; &lt;i&gt;"
        "<ul><li>&lt;script&gt;</li><li><code>x</code></li></ul>"
    )
    assert content["body"] == "`a <b>`\n& <i>\n- <script>\n- `x`"
    assert content["msgtype"] == "m.notice"


def test_a_list_has_an_end() -> None:
    lines = Reply("Many:", tuple(map(str, range(1000)))).content()["body"].splitlines()
    assert len(lines) == 52
    assert lines[-1] == "- … and 950 more"
