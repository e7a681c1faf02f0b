# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is let in, how often, and what is said of the others."""

import configparser
import io
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

import pytest
from structlog.testing import capture_logs

from bridge import logs
from bridge.call.causes import Cause
from bridge.call.ids import TrunkName
from bridge.config import Trunk
from bridge.sip import repeats
from bridge.sip.buckets import Buckets
from bridge.sip.door import Door
from bridge.sip.sieve import Arrived, Fate, Refuse
from bridge.sip.strangers import Reason, Strangers
from bridge.sip.tap import unreadable_from
from bridge.sip.trunks import Peers, Route

FILTER = Path(__file__).parents[2] / "docs/how-to/fail2ban/matrix-sip.conf"
PROVIDER = "192.0.2.1"
STRANGER = "203.0.113.9"
LIVE = "of-a-call"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Visit:
    """A door, and what came to it."""

    def __init__(self, manner: Literal["reject", "drop"] = "reject", **settings: object) -> None:
        trunk = Trunk.model_validate(
            {"server": "mx.test", "peers": [ip_network(f"{PROVIDER}/32")], **settings}
        )
        self.route = Route(TrunkName("provider"), trunk)
        self.clock = Clock()
        self.strangers = Strangers(self.clock)
        self.peers = Peers([self.route])
        self.refused: list[tuple[str, str, Cause, int, TrunkName | None]] = []
        self.door = Door.of(
            manner,
            self.peers,
            self.strangers,
            lambda call_id: call_id == LIVE,
            self.clock,
            call_refused=lambda *call: self.refused.append(call),
        )

    def send(
        self,
        method: str = "INVITE",
        host: str = STRANGER,
        *,
        call_id: str = "1",
        uri: str = "sip:+12025550123@b.test",
        tag: str = "",
    ) -> Fate | Refuse:
        text = (
            f"{method} {uri} SIP/2.0\r\nt: <sip:b@b.test>{tag}\r\nCall-ID: {call_id}\r\n\r\n"
            f"i: {LIVE}\r\n"
        )
        return self.door.judge(Arrived(host, 5060, text.encode()))

    def status(self, *args: str, **kwargs: str) -> int:
        fate = self.send(*args, **kwargs)
        assert isinstance(fate, Refuse), fate
        return fate.status


def test_bucket_fills_again_and_forgets_who_was_quiet_for_longest() -> None:
    clock = Clock()
    buckets = Buckets(clock, most=2)
    assert [buckets.take("a", 2, 3) for _ in range(5)] == [True] * 3 + [False] * 2
    clock.now = 0.5
    assert [buckets.take("a", 2, 3) for _ in range(2)] == [True, False]
    for key in ("b", "c"):
        assert buckets.take(key, 2, 3)
    assert len(buckets) == 2
    assert buckets.take("a", 2, 3)  # it was forgotten


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "REGISTER", "SUBSCRIBE", "OPTIONS"])
def test_strangers_are_refused_or_not_heard(method: str) -> None:
    assert Visit("reject").status(method) == 403
    assert Visit("drop").send(method) is Fate.DROP
    assert Visit().send(method, STRANGER, tag=";tag=x") in (Refuse(403, "Forbidden"),)


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "OPTIONS", "ACK", "CANCEL"])
def test_trunks_come_in(method: str) -> None:
    assert Visit().send(method, PROVIDER) is Fate.PASS
    assert Visit().send(method, PROVIDER, tag=";tag=x") is Fate.PASS


@pytest.mark.parametrize(
    ("method", "status", "header"),
    [
        ("SUBSCRIBE", 489, "Allow-Events: message-summary, refer"),
        ("NOTIFY", 481, ""),
        ("BYE", 481, ""),
        ("UPDATE", 481, ""),
        ("PRACK", 481, ""),
        ("REFER", 603, ""),
        ("REGISTER", 405, "Allow: ACK, BYE, CANCEL,"),
        ("PUBLISH", 405, "Allow: ACK, BYE, CANCEL,"),
        ("FROBNICATE", 501, "Allow: ACK, BYE, CANCEL,"),
    ],
)
def test_what_is_not_served_is_answered_all_the_same(method: str, status: int, header: str) -> None:
    visit = Visit()
    fate = visit.send(method, PROVIDER)
    assert isinstance(fate, Refuse)
    assert fate.status == status
    assert header in fate.reason
    in_call = visit.send(method, PROVIDER, call_id=LIVE)
    assert in_call is Fate.PASS if status in (481, 603) else in_call == fate
    # Within a dialog it is for the stack, which knows its dialogs, unless nothing ever serves it.
    inside = visit.send(method, PROVIDER, tag=";tag=x")
    assert inside is Fate.PASS if status in (481, 489, 603) else isinstance(inside, Refuse)


def test_what_only_asks_whether_a_call_lives_is_told_so() -> None:
    visit = Visit()
    assert visit.status("INFO", PROVIDER) == 481
    assert visit.status("INFO", PROVIDER, call_id=LIVE) == 200
    assert visit.status("OPTIONS", PROVIDER, call_id=LIVE) == 200
    head = f"INFO sip:a@b.test SIP/2.0\r\nCall-ID: {LIVE}\r\nContent-Type: x/y\r\n\r\n"
    refused = visit.door.judge(Arrived(PROVIDER, 5060, head.encode()))
    assert isinstance(refused, Refuse)
    assert refused.status == 415
    head = f"SIP/2.0 200 OK\r\nCall-ID: {LIVE}\r\nCSeq: 1 INFO\r\n\r\n"
    assert visit.door.judge(Arrived(PROVIDER, 5060, head.encode())) is Fate.PASS


@pytest.mark.parametrize("call_id", ["1", LIVE])
@pytest.mark.parametrize(
    ("method", "require", "unsupported"),
    [
        ("OPTIONS", "Require: gruu", "gruu"),
        ("MESSAGE", "require : timer, Gruu,\r\n  x y\r\nRequire: recipient-list-message", None),
        ("MESSAGE", "Require: Timer,100rel", ""),
        ("MESSAGE", "Proxy-Require: gruu", ""),
        ("INVITE", "Require: gruu", ""),
        ("BYE", "Require: gruu", ""),
    ],
)
def test_what_is_required_and_not_known_is_refused(
    method: str, require: str, unsupported: str | None, call_id: str
) -> None:
    if unsupported is None:
        unsupported = "Gruu, x, y, recipient-list-message"
    head = f"{method} sip:b@b.test SIP/2.0\r\nTo: <sip:b@b.test>;tag=1\r\nCall-ID: {call_id}\r\n"
    fate = Visit().door.judge(Arrived(PROVIDER, 5060, f"{head}{require}\r\n\r\n".encode()))
    if not unsupported:
        assert fate is Fate.PASS
    elif method == "OPTIONS" and call_id == LIVE:
        assert isinstance(fate, Refuse)
        assert fate.status == 200  # it only asks whether there is a call
    else:
        assert fate == Refuse(420, f"Bad Extension\r\nUnsupported: {unsupported}")


@pytest.mark.parametrize("event", ["message-summary", "Message-Summary;id=3"])
def test_mailboxes_may_be_told_of_without_being_asked(event: str) -> None:
    head = f"NOTIFY sip:a@b.test SIP/2.0\r\nEvent: {event}\r\nTo: <sip:a@b.test>\r\n\r\n"
    assert Visit().door.judge(Arrived(PROVIDER, 5060, head.encode())) is Fate.PASS


def test_stranger_that_sends_too_much_gets_no_answer_until_it_was_quiet() -> None:
    visit = Visit()
    with capture_logs() as lines:
        fates = [visit.send() for _ in range(30)]
    assert fates[:20] == [Refuse(403, "Forbidden")] * 20
    assert fates[20:] == [Fate.DROP] * 10
    assert visit.strangers.counts["stranger"] == len(lines) == 20
    assert visit.strangers.counts["rate"] == 10
    assert visit.status(host="203.0.113.10") == 403
    visit.clock.now = 5.0
    assert [isinstance(visit.send(), Refuse) for _ in range(6)] == [True] * 5 + [False]


def test_addresses_of_one_network_are_one_stranger_in_ipv6() -> None:
    visit = Visit()
    for number in range(20):
        assert visit.status(host=f"2001:db8::{number:x}") == 403
    assert visit.send(host="2001:db8::ffff") is Fate.DROP
    assert visit.status(host="2001:db8:0:1::1") == 403


def test_forged_addresses_do_not_fill_the_log() -> None:
    visit = Visit()
    with capture_logs() as lines:
        for number in range(3000):
            visit.send(host=f"10.0.{number // 256}.{number % 256}")
    assert len(lines) == 200
    assert sum(visit.strangers.counts.values()) == 3000


def test_what_belongs_to_a_call_comes_in_from_anywhere() -> None:
    visit = Visit("drop")
    assert visit.send("BYE", call_id=LIVE) is Fate.PASS
    assert visit.send("BYE", call_id="another") is Fate.DROP
    assert visit.send("ACK") is Fate.DROP
    assert visit.strangers.counts["stranger"] == 1  # nobody answers an ACK


def test_call_to_our_registered_contact_comes_in_from_anywhere() -> None:
    visit = Visit(register=True, username="me")
    line = f"sip:me@b.test;line={visit.route.line}"
    assert visit.send(uri=line) is Fate.PASS
    assert visit.status(uri="sip:me@b.test;line=guessed") == 403


def test_call_by_the_server_of_somebodys_account_that_is_not_theirs_is_a_strangers() -> None:
    visit = Visit()
    visit.peers.remove(visit.route.name)
    visit.peers.add(Route(TrunkName("own"), visit.route.trunk, personal=True))
    assert visit.status(host=PROVIDER) == 403


def test_responses_of_nobody_are_looked_at_in_moderation() -> None:
    visit = Visit()
    answer = b"SIP/2.0 200 OK\r\nCall-ID: 1\r\n\r\n"
    fates = [visit.door.judge(Arrived(STRANGER, 5060, answer)) for _ in range(60)]
    assert fates.count(Fate.PASS) == 50
    fates = [visit.door.judge(Arrived(PROVIDER, 5060, answer)) for _ in range(60)]
    assert fates.count(Fate.PASS) == 60


def test_trunk_that_calls_in_circles_is_told_to_wait() -> None:
    visit = Visit(calls_per_second=2)
    with capture_logs() as lines:
        fates = [visit.send(host=PROVIDER, call_id=f"{number}") for number in range(6)]
    assert fates[:4] == [Fate.PASS] * 4
    assert isinstance(fates[4], Refuse)
    assert (fates[4].status, "Retry-After: 5" in fates[4].reason) == (503, True)
    assert visit.strangers.counts["trunk_rate"] == 2
    assert [line["trunk"] for line in lines] == ["provider"]
    assert visit.send("OPTIONS", PROVIDER) is Fate.PASS
    assert visit.send(host=PROVIDER, tag=";tag=1") is Fate.PASS
    visit.clock.now = 1.0
    assert visit.send(host=PROVIDER, call_id="6") is Fate.PASS
    # What is sent again is no new call: it is let in, or refused, as it was.
    assert [visit.send(host=PROVIDER, call_id=f"{number}") for number in range(6)] == fates
    assert visit.strangers.counts["trunk_rate"] == 2
    assert [call[1:] for call in visit.refused] == [
        (PROVIDER, Cause.TOO_FREQUENT, 503, TrunkName("provider"))
    ] * 2
    visit.clock.now = 70.0
    assert visit.send(host=PROVIDER, call_id="5") is Fate.PASS


def test_every_call_that_is_turned_away_is_told() -> None:
    visit = Visit()
    for call_id in ("1", "2"):
        visit.send(call_id=call_id)
    visit.send("REGISTER")
    visit.send(tag=";tag=x")
    assert [call[1:] for call in visit.refused] == [(STRANGER, Cause.STRANGER, 403, None)] * 2
    for number in range(3, 30):
        visit.send(call_id=str(number))
    assert [call[3] for call in visit.refused].count(0) == 11
    assert len(visit.refused) == 29
    visit.peers.retire(TrunkName("provider"))
    visit.send(host=PROVIDER)
    assert visit.refused[-1][1:] == (PROVIDER, Cause.NOT_PERMITTED, 503, TrunkName("provider"))
    text = "INVITE sip:b@b.test SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n"
    visit.door.judge(Arrived(PROVIDER, 5060, text.encode()))
    assert visit.refused[-1] == (text, PROVIDER, Cause.BAD_REQUEST, 400, TrunkName("provider"))


def test_only_so_many_invites_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_MOST", 2)
    known: repeats.Repeats[int] = repeats.Repeats(Clock())
    for number in range(3):
        known.remember(number, STRANGER, b"%d" % number)
    assert [known.before(STRANGER, b"%d" % number) for number in range(3)] == [None, 1, 2]
    assert known.before(PROVIDER, b"1") is None


def test_what_cannot_be_read_is_a_strangers_fault_or_a_trunks() -> None:
    visit = Visit()
    with capture_logs() as lines:
        for _ in range(25):
            visit.door.malformed(STRANGER)
        visit.door.malformed(PROVIDER)
        visit.door.malformed(PROVIDER)
    counts = {reason: count for reason, count in visit.strangers.counts.items() if count}
    assert counts == {"rate": 5, "malformed": 22}
    assert [line["event"] for line in lines[-2:]] == [
        "refused a SIP request",
        "a trunk sends what cannot be read",
    ]


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("Dropping 300 bytes packet from UDP 192.0.2.1:5060 : syntax error", "192.0.2.1"),
        ("Dropping 9 bytes packet from TCP [x] 2001:db8::1:5060 : syntax error", "2001:db8::1"),
        ("Error processing packet from 192.0.2.1:5060: Missing header", "192.0.2.1"),
        ("Error processing packet from example.org:5060: x", ""),
        ("something else", ""),
    ],
)
def test_what_the_stack_says_of_what_it_cannot_read(entry: str, host: str) -> None:
    assert unreadable_from(entry) == host


class Fail2ban:
    """The filter, as fail2ban takes it: the date is cut out first, then the rest has to match."""

    def __init__(self) -> None:
        parser = configparser.ConfigParser()
        parser.read(FILTER)
        definition = parser["Definition"]
        address = r"(?P<addr>[0-9.]{7,15}|[0-9a-f:]{2,39})"
        self.rules = [
            re.compile(rule.replace("<ADDR>", address))
            for rule in definition["failregex"].split("\n")
        ]
        self.date = re.compile(r"[\d-]{10}T[\d:.]+Z")

    def found(self, line: str) -> str | None:
        without = [self.date.sub("", line, count=1), re.sub('"timestamp": "[^"]*"', "", line), line]
        for text in without:
            for rule in self.rules:
                if match := rule.search(text):
                    return match["addr"]
        return None


@pytest.mark.parametrize("form", ["console", "json"])
def test_fail2ban_reads_the_log(form: str) -> None:
    stream = io.StringIO()
    logs.configure("info", form, stream=stream)
    strangers = Strangers()
    strangers.refused("192.0.2.7", Reason.STRANGER, "INVITE")
    strangers.refused("2001:db8::7", Reason.MALFORMED)
    strangers.refused("192.0.2.8", Reason.STRANGER, "x source=192.0.2.9")
    strangers.refused("192.0.2.5", Reason.IDLE)
    strangers.refused("192.0.2.4", Reason.CONNECTIONS)
    strangers.refused("192.0.2.6", Reason.RATE, "INVITE")
    strangers.trunk_refused("refused a SIP request source=192.0.2.1")
    strangers.trunk_malformed("192.0.2.1")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 7
    rules = Fail2ban()
    banned = ["192.0.2.7", "2001:db8::7", "192.0.2.8", "192.0.2.5", "192.0.2.4"]
    assert [rules.found(line) for line in lines] == [*banned, None, None]
    journal = [f"host python3[12]: {line}" for line in lines]
    assert [rules.found(line) for line in journal][:5] == banned


def test_who_asks_while_we_stop_is_told() -> None:
    visit = Visit()
    door = Door.of("reject", visit.peers, visit.strangers, lambda _: False, closing=lambda: 42)
    text = b"OPTIONS sip:b.test SIP/2.0\r\nt: <sip:b@b.test>\r\ni: 1\r\n\r\n"
    assert door.judge(Arrived(PROVIDER, 5060, text)) == Refuse(
        503, "Service Unavailable\r\nRetry-After: 42"
    )
