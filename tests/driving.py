# SPDX-License-Identifier: GPL-3.0-or-later
"""A driver between a scripted core and adapters that keep what they are told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC

from bridge.call.commands import (
    Command,
    MatrixCommand,
    MediaCommand,
    OfferMedia,
    RecordEnd,
    RecordStart,
    SendNotice,
    SendSipInvite,
    SipCommand,
    StoreCommand,
)
from bridge.call.events import (
    Event,
    MatrixCallEvent,
    MatrixHangupReceived,
    MatrixInviteReceived,
    SipEvent,
    SipInviteReceived,
)
from bridge.call.ids import (
    Address,
    CallId,
    Direction,
    LegId,
    MatrixCallId,
    OpId,
    Party,
    PartyId,
    RoomId,
    Side,
    TrunkName,
    UserId,
)
from bridge.driver import Driver, Ports
from bridge.records import CallRecord, IceServer, LadderEntry

CALL = CallId("c1")
LEG = LegId("leg1")
ROOM = RoomId("!room:mx.test")
ADDRESS = Address("tel:+12025550123")
PERSON = UserId("@alice:mx.test")
MATRIX_CALL = MatrixCallId("m1")


@dataclass(slots=True)
class Timer:
    when: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass(slots=True)
class Clock:
    """A clock that a test moves."""

    now: float = 100.0
    timers: list[Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None], /) -> Timer:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    @property
    def armed(self) -> list[Timer]:
        return [each for each in self.timers if not each.cancelled]

    def advance(self, to: float) -> None:
        self.now = to
        for each in self.armed:
            if each.when <= to:
                self.timers.remove(each)
                each.callback()


Reaction = Sequence[Command] | Exception


@dataclass(slots=True)
class ScriptedCore:
    """Answers each kind of event as the test says."""

    reactions: dict[type[Event], Reaction] = field(default_factory=dict)
    deadline: float | None = None
    on_timer: Reaction = ()
    seen: list[tuple[Event, float]] = field(default_factory=list)
    faults: list[tuple[CallId, Exception]] = field(default_factory=list)
    began: bool = False
    """Whether the one call of the test is known by its legs."""

    def call_of(self, event: Event) -> CallId | None:
        call = getattr(event, "call", None)
        if call is None and self.began and isinstance(event, SipEvent | MatrixCallEvent):
            return CALL
        return call

    def handle(self, event: Event, now: float) -> Sequence[Command]:
        self.seen.append((event, now))
        commands = self._give(self.reactions.get(type(event), ()))
        self.began = self.began or START in commands
        return commands

    def next_deadline(self) -> float | None:
        return self.deadline

    def handle_timer(self, now: float) -> Sequence[Command]:
        if not isinstance(self.on_timer, Exception):
            self.deadline = None
        return self._give(self.on_timer)

    def take_faults(self) -> Sequence[tuple[CallId, Exception]]:
        faults, self.faults = self.faults, []
        return faults

    def _give(self, reaction: Reaction) -> Sequence[Command]:
        if isinstance(reaction, Exception):
            raise reaction
        return reaction


@dataclass(slots=True)
class Outside:
    """Every port at once: remembers what it was told, in order."""

    done: list[Command] = field(default_factory=list)
    stored: list[tuple[Command, float]] = field(default_factory=list)
    traced: list[tuple[CallId, LadderEntry]] = field(default_factory=list)
    legs: dict[str, LegId] = field(default_factory=dict)
    breaks_on: type[Command] | None = None
    react: Callable[[Command], None] | None = None

    def ports(self) -> Ports:
        return Ports(
            matrix=MatrixSide(self),
            sip=SipSide(self),
            media=MediaSide(self),
            store=Store(self),
            leg_of=self.legs.get,
        )

    def take(self, command: Command) -> None:
        if self.breaks_on is not None and isinstance(command, self.breaks_on):
            raise RuntimeError("the adapter broke")
        self.done.append(command)
        if self.react:
            self.react(command)

    @property
    def ladder(self) -> list[str]:
        return [
            f"{entry.leg} {entry.direction}: {entry.summary}".replace(" :", ":")
            for _, entry in self.traced
        ]


@dataclass(slots=True)
class MatrixSide:
    outside: Outside

    def do(self, command: MatrixCommand) -> None:
        self.outside.take(command)

    async def end_orphan(self, record: CallRecord) -> None:
        raise NotImplementedError


@dataclass(slots=True)
class SipSide:
    outside: Outside

    def do(self, command: SipCommand) -> None:
        self.outside.take(command)

    async def end_orphan(self, record: CallRecord) -> None:
        raise NotImplementedError


@dataclass(slots=True)
class MediaSide:
    outside: Outside

    async def start(self) -> None:
        raise NotImplementedError

    def do(self, command: MediaCommand) -> None:
        self.outside.take(command)

    def use_servers(self, servers: Sequence[IceServer]) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


@dataclass(slots=True)
class Store:
    outside: Outside

    def do(self, command: StoreCommand, at: float) -> None:
        self.outside.stored.append((command, at))
        self.outside.take(command)

    def trace(self, call: CallId, entry: LadderEntry) -> None:
        self.outside.traced.append((call, entry))

    async def unfinished(self) -> Sequence[CallRecord]:
        return ()


@dataclass(slots=True)
class Rig:
    core: ScriptedCore
    clock: Clock
    outside: Outside
    driver: Driver
    records: list[StoreCommand]
    ahead: float = 0.0
    """What somebody has set the wall clock forward by."""

    @property
    def events(self) -> list[Event]:
        return [event for event, _ in self.core.seen]


def make_rig() -> Rig:
    """With nothing said yet."""
    core, clock, outside = ScriptedCore(), Clock(), Outside()
    records: list[StoreCommand] = []
    driver = Driver(
        core,
        clock,
        wall=lambda: 1e9 + made.ahead + clock.now,
        zone=UTC,
        observers=[lambda each, at: records.append(each)],
    )
    driver.connect(outside.ports())
    made = Rig(core, clock, outside, driver, records)
    return made


START = RecordStart(
    call=CALL,
    direction=Direction.TO_SIP,
    person=PERSON,
    address=ADDRESS,
    trunk=TrunkName("provider"),
)
END = RecordEnd(call=CALL, cause="BUSY", status=486, ended_by="sip")
OFFER = OfferMedia(call=CALL, op=OpId(1), side=Side.MATRIX, sdp="v=0")
NOTICE = SendNotice(call=CALL, room=ROOM, address=ADDRESS, text="The line is busy.")
SIP_INVITE = SendSipInvite(
    call=CALL,
    leg=LEG,
    trunk=TrunkName("provider"),
    target="+12025550123",
    caller="",
    caller_name="",
    sdp="v=0",
)
INVITE = MatrixInviteReceived(
    room=ROOM,
    call_id=MATRIX_CALL,
    sender=Party(PERSON, PartyId("p1")),
    address=ADDRESS,
    version=1,
    sdp="v=0\r\na=ice-pwd:keepthisaway\r\n",
    lifetime=60,
    age=0.1,
)
HANGUP = MatrixHangupReceived(
    room=ROOM, call_id=MATRIX_CALL, sender=Party(PERSON, PartyId("p1")), reason="user_hangup"
)
SIP_INVITE_IN = SipInviteReceived(
    leg=LEG,
    trunk=TrunkName("provider"),
    caller=ADDRESS,
    caller_name="",
    dialled="tel:+12025550199",
    sdp="v=0",
    sip_call_id="abc@pbx",
)
MESSAGE = (
    "INVITE sip:1@192.0.2.1 SIP/2.0\r\nCSeq: 1 INVITE\r\n"
    'Authorization: Digest username="u", response="0123"\r\n\r\nv=0\r\n'
)
