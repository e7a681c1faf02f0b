# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables themselves, and every event in every situation that a call can be in."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.deadlines import DEADLINES, Deadline, Timeouts
from bridge.call.ids import Address, LegId, OpId, Side
from bridge.call.machine import Effects, Machine
from bridge.call.policy import Limits, Policy
from bridge.call.quality import Measured
from bridge.call.states import (
    MATRIX_ENDS,
    SIP_ENDS,
    STEPS,
    UP,
    MatrixState,
    MediaState,
    Message,
    RenegotiationState,
    SipState,
    State,
    SuccessionState,
    Table,
)
from bridge.call.switchboard import PARTY
from bridge.call.tables import MATRIX, MEDIA, RENEGOTIATION, SIP, SUCCESSION
from bridge.call.voicemail_states import VOICEMAIL, VoicemailState
from scripts.state_diagrams import PAGE, page
from tests.call.desk import (
    CALL,
    COLLEAGUE,
    EARLY_POLICY,
    IN,
    LAPTOP,
    NUMBER,
    OUR_CALL,
    OUT,
    PERSON,
    ROOM,
    SECOND,
    TRUNK,
    VOICEMAIL_POLICY,
    Desk,
)
from tests.call.desk import THEIR_CALL as THEIRS

TABLES: list[tuple[Table, type[State]]] = [
    (MATRIX, MatrixState),
    (SIP, SipState),
    (MEDIA, MediaState),
    (RENEGOTIATION, RenegotiationState),
    (SUCCESSION, SuccessionState),
    (VOICEMAIL, VoicemailState),
]


def messages(table: Table) -> set[Message]:
    return {message for row in table.values() for message in row}


@pytest.mark.parametrize(("table", "states"), TABLES)
def test_every_state_has_a_row_and_can_be_reached_and_left(
    table: Table, states: type[State]
) -> None:
    assert set(table) == set(states)
    reached = {following for row in table.values() for following in row.values()}
    forced = {how for ends in (MATRIX_ENDS, SIP_ENDS) for how in ends.values()}
    starts = {
        MatrixState.PREPARING,
        MatrixState.INVITED,
        SipState.IDLE,
        SipState.INVITED,
        SipState.INVITED_OFFERLESS,
        MediaState.NONE,
        RenegotiationState.CLOSED,
        SuccessionState.NONE,
        VoicemailState.WAITING,
    }
    assert set(states) <= reached | forced | starts
    finals = {state for state, row in table.items() if not row}
    assert finals <= {
        MatrixState.ENDED,
        SipState.ENDED,
        MediaState.CLOSED,
        VoicemailState.DONE,
    }


@pytest.mark.parametrize(
    ("table", "state", "message"),
    [
        (table, state, message)
        for table, _ in TABLES
        for state in table
        for message in messages(table)
    ],
    ids=repr,
)
def test_every_message_in_every_state(table: Table, state: State, message: Message) -> None:
    machine = Machine(table, state, Effects(Timeouts(), Policy()))
    following = table[state].get(message)
    assert machine.hears(message) is (following is not None)
    assert machine.state is (following or state)


@pytest.mark.parametrize(("table", "state"), [(t, s) for t, _ in TABLES for s in t], ids=repr)
def test_a_command_that_the_table_lacks_is_a_bug(table: Table, state: State) -> None:
    machine = Machine(table, state, Effects(Timeouts(), Policy()))
    with pytest.raises(AssertionError, match="must not be sent"):
        machine.says(c.RecordAnswer(call=CALL))


def test_a_leg_that_lives_has_a_deadline_and_a_way_to_end() -> None:
    assert set(SipState) - {SipState.ENDED} == {s for s in DEADLINES if isinstance(s, SipState)}
    for table, ends, on_their_way in (
        (MATRIX, MATRIX_ENDS, {MatrixState.TELLING, MatrixState.ENDED}),
        (
            SIP,
            SIP_ENDS,
            {SipState.CANCELLING, SipState.CLOSING, SipState.ENDING, SipState.ENDED},
        ),
    ):
        assert set(table) - set(ends) == on_their_way
        for state, how in ends.items():
            assert isinstance(how, State) or how in table[state]


@pytest.mark.parametrize("deadline", set(Deadline) - {Deadline.BACKOFF})
def test_every_deadline_comes_to_something(deadline: Deadline) -> None:
    assert Timeouts().seconds(deadline, Limits()) > 0


def test_steps_and_what_is_up_do_not_overlap() -> None:
    assert not UP & set(STEPS)


def test_the_page_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run scripts/draw-states"


def test_a_page_without_places_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no place for matrix"):
        page("nothing")


# --- every event in every situation -----------------------------------------------------------


def _last_op(desk: Desk) -> OpId:
    ops = [command.op for command in desk.said if hasattr(command, "op")]
    desk.said.clear()
    return OpId(ops[-1])


def _early(desk: Desk) -> None:
    desk.person_calls()
    desk.media_offers(Side.MATRIX, "matrix offer")
    desk.phone_rings(183, "early")


def _early_heard(desk: Desk) -> None:
    _early(desk)
    desk.tell(e.MediaAnswerReady(call=CALL, op=_last_op(desk), sdp="early"))


def _preparing(desk: Desk) -> None:
    desk.phone_calls()


def _answering_sip(desk: Desk) -> None:
    desk.rings_at_the_person()
    desk.person_answers()


def _answered_sip(desk: Desk) -> None:
    _answering_sip(desk)
    desk.tell(e.MediaAnswerReady(call=CALL, op=_last_op(desk), sdp="answer"))


def _bare_answered(desk: Desk) -> None:
    desk.rings_at_the_person(sdp=None)
    desk.person_answers()
    desk.tell(e.MediaAnswerReady(call=CALL, op=_last_op(desk), sdp="offer"))


def _joining(desk: Desk) -> None:
    desk.rings_at_the_person()
    desk.person_calls()


def _joining_the_other_way(desk: Desk) -> None:
    desk.rings_at_the_phone()
    desk.phone_calls()


def _requested(desk: Desk) -> None:
    desk.tell(e.CallRequested(person=PERSON, address=NUMBER))


def _requested_and_answered(desk: Desk) -> None:
    desk.requested_and_rings_there()


def _telling(desk: Desk) -> None:
    desk.phone_calls()
    op = desk.said[0].op  # type: ignore[attr-defined]
    desk.tell(e.SipCancelled(leg=IN))
    desk.said.append(
        c.PreparePortal(call=CALL, op=op, person=PERSON, address=NUMBER, display_name="")
    )


def _held_by_the_client(desk: Desk) -> None:
    desk.connected_to_the_phone()
    desk.person_negotiates("hold")


def _reinviting(desk: Desk) -> None:
    _held_by_the_client(desk)
    desk.tell(e.MediaOfferReady(call=CALL, op=_last_op(desk), sdp="offer"))


def _backing_off(desk: Desk) -> None:
    _reinviting(desk)
    desk.tell(e.SipReinviteFailed(leg=OUT, op=_last_op(desk), status=491))


def _held_by_the_phone(desk: Desk) -> None:
    desk.connected_to_the_phone()
    desk.phone_reinvites(500)


def _negotiating(desk: Desk) -> None:
    _held_by_the_phone(desk)
    desk.tell(e.MediaOfferReady(call=CALL, op=_last_op(desk), sdp="offer"))


def _cancelling(desk: Desk) -> None:
    desk.rings_at_the_phone()
    desk.person_hangs_up()


def _closing(desk: Desk) -> None:
    _answered_sip(desk)
    desk.person_hangs_up(OUR_CALL)


def _referring(desk: Desk) -> None:
    desk.connected_to_the_phone()
    desk.person_transfers(Address("tel:+12025550177"))


def _awaiting(desk: Desk) -> None:
    desk.connected_to_the_phone()
    desk.person_transfers(Address("tel:+12025550177"), waits=True)


def _succession(desk: Desk) -> None:
    desk.connected_to_the_phone()
    target = Address("tel:+12025550177")
    desk.tell(e.SipReferReceived(leg=OUT, op=OpId(903), target=target))


def _successor_rings(desk: Desk) -> None:
    _succession(desk)
    offer = desk.said[-1]
    assert isinstance(offer, c.OfferSuccessor)
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to the next"))


def _far_end_left(desk: Desk) -> None:
    _successor_rings(desk)
    desk.phone_ends(OUT)


def _switching(desk: Desk) -> None:
    _successor_rings(desk)
    desk.tell(e.SipAnswered(leg=LegId("n-1-out-2"), sdp="answer of the next"))


def _catching_up(desk: Desk) -> None:
    _switching(desk)
    switch = desk.said[-1]
    assert isinstance(switch, c.SwitchMedia)
    desk.tell(e.MediaSwitched(call=CALL, op=switch.op, needed=True))


def _replacing(desk: Desk) -> None:
    desk.connected_to_the_phone()
    desk.tell(
        e.SipInviteReceived(
            leg=IN,
            trunk=TRUNK,
            caller=NUMBER,
            caller_name="",
            dialled="",
            sdp="sip offer",
            sip_call_id="next@pbx.test",
            replaces=OUT,
        )
    )


def _passing(desk: Desk) -> None:
    desk.connected_to_the_phone()
    desk.passed_on()


def _moving(desk: Desk) -> None:
    _passing(desk)
    desk.colleague_answers()


def _greeting(desk: Desk) -> None:
    desk.voicemail_takes_it()
    desk.voicemail_answers()


def _recording(desk: Desk) -> None:
    desk.voicemail_records()


def _ended(desk: Desk) -> None:
    desk.connected_to_the_phone()
    desk.person_hangs_up()


SITUATIONS: dict[str, Callable[[Desk], None]] = {
    "nothing": lambda desk: None,
    "offer made for sip": Desk.person_calls,
    "rings there": Desk.rings_at_the_phone,
    "early media": _early,
    "early media heard": _early_heard,
    "connected there": Desk.connected_to_the_phone,
    "portal prepared": _preparing,
    "rings here": Desk.rings_at_the_person,
    "answer made for sip": _answering_sip,
    "answered sip": _answered_sip,
    "answered sip with an offer": _bare_answered,
    "connected here": Desk.connected_to_the_person,
    "joining": _joining,
    "joining the other way": _joining_the_other_way,
    "client holds": _held_by_the_client,
    "re-invite out": _reinviting,
    "backing off": _backing_off,
    "phone holds": _held_by_the_phone,
    "negotiate out": _negotiating,
    "cancelling": _cancelling,
    "closing": _closing,
    "transfer asked for": _referring,
    "to be replaced": _awaiting,
    "to be succeeded": _succession,
    "successor rings": _successor_rings,
    "far end left early": _far_end_left,
    "media goes over": _switching,
    "client has to be told": _catching_up,
    "replaced by a caller": _replacing,
    "rings at a colleague": _passing,
    "a colleague has answered": _moving,
    "ended": _ended,
    "call requested": _requested,
    "requested, and rings here": Desk.requested_and_rings_here,
    "requested, and rings there": _requested_and_answered,
    "abandoned before it rang": _telling,
    "voicemail takes it": Desk.voicemail_takes_it,
    "voicemail greets": _greeting,
    "voicemail records": _recording,
}


def events(op: OpId) -> Iterable[e.Event]:
    """One of each class, for either leg; results answer what was asked last."""
    for call_id in (THEIRS, OUR_CALL):
        about = {"room": ROOM, "call_id": call_id, "sender": LAPTOP}
        yield e.MatrixAnswerReceived(**about, version=1, sdp="answer")  # type: ignore[arg-type]
        yield e.MatrixCandidatesReceived(**about, candidates=("",))  # type: ignore[arg-type]
        yield e.MatrixSelectAnswerReceived(**about, selected=PARTY)  # type: ignore[arg-type]
        yield e.MatrixSelectAnswerReceived(**about, selected="OTHER")  # type: ignore[arg-type]
        yield e.MatrixRejectReceived(**about)  # type: ignore[arg-type]
        yield e.MatrixHangupReceived(**about)  # type: ignore[arg-type]
        yield e.MatrixMuteChanged(**about, muted=True)  # type: ignore[arg-type]
        yield e.MatrixReplacesReceived(**about, target=NUMBER)  # type: ignore[arg-type]
        yield e.MatrixReplacesReceived(**about, target=None)  # type: ignore[arg-type]
        yield e.MatrixReplacesReceived(
            **about,  # type: ignore[arg-type]
            target=None,
            person=COLLEAGUE,
        )
        yield e.MatrixReplacesReceived(
            **about,  # type: ignore[arg-type]
            target=NUMBER,
            waits=True,
        )
        for kind in e.SdpType:
            yield e.MatrixNegotiateReceived(
                **about,  # type: ignore[arg-type]
                type=kind,
                sdp="new",
                lifetime=60,
            )
    yield e.MatrixMemberLeft(room=ROOM, user=PERSON)
    yield e.PersonInvited(call=CALL, op=op, room=ROOM)
    yield e.PortalReady(call=CALL, op=op, room=ROOM)
    yield e.PortalFailed(call=CALL, op=op, reason="No room.")
    yield e.MatrixSendFailed(call=CALL, op=op, reason="No homeserver.")
    for leg in (OUT, IN):
        yield e.SipProgressed(leg=leg, status=183, sdp="early")
        yield e.SipAnswered(leg=leg, sdp="answer")
        yield e.SipConfirmed(leg=leg)
        yield e.SipConfirmed(leg=leg, sdp="answer")
        yield e.SipCancelled(leg=leg)
        yield e.SipEnded(leg=leg, status=200)
        yield e.SipReinviteReceived(leg=leg, op=OpId(900), sdp="new")
        yield e.SipReinviteReceived(leg=leg, op=OpId(901), sdp=None)
        yield e.SipReinviteAnswered(leg=leg, op=op, sdp="new")
        yield e.SipReinviteFailed(leg=leg, op=op, status=491)
        yield e.SipReinviteFailed(leg=leg, op=op, status=488)
        yield e.SipReinviteFailed(leg=leg, op=op, status=481)
        yield e.SipIdentityChanged(leg=leg, address=NUMBER, name="Name")
        yield e.SipKeyPressed(leg=leg, key="1", duration=0.1)
        yield e.SipPictureWanted(leg=leg)
        yield e.SipHeard(leg=leg)
        yield e.SipReferProgressed(leg=leg, op=op, status=100)
        yield e.SipReferProgressed(leg=leg, op=op, status=200)
        yield e.SipReferProgressed(leg=leg, op=op, status=603)
        yield e.SipReferReceived(leg=leg, op=OpId(902), target=Address("tel:+12025550177"))
        yield e.SipDialogChanged(leg=leg, state="dialog")
    yield e.MediaOfferReady(call=CALL, op=op, sdp="offer")
    yield e.MediaOfferReady(call=CALL, op=op, sdp="", needed=False, answer="answer")
    yield e.MediaAnswerReady(call=CALL, op=op, sdp="answer")
    yield e.MediaJoined(call=CALL, op=op, matrix_sdp="answer", sip_sdp="answer")
    yield e.MediaSwitched(call=CALL, op=op)
    yield e.MediaFailed(call=CALL, op=op, fault=e.MediaFault.INTERNAL)
    yield e.MediaConnected(call=CALL, matrix_codec="PCMA/8000", sip_codec="PCMA/8000")
    yield e.MediaKeyPressed(call=CALL, key="1", duration=0.1)
    yield e.MediaPictureWanted(call=CALL)
    yield e.MediaVideoChanged(call=CALL, codec="VP8/90000")
    yield e.MediaSilent(call=CALL, side=Side.SIP, seconds=3, heard=True)
    yield e.MediaAudible(call=CALL, side=Side.SIP)
    yield e.MediaPlayed(call=CALL, op=op, seconds=1)
    yield e.MediaRecorded(call=CALL, op=op, seconds=1)
    yield e.MediaRecorded(call=CALL, op=op, seconds=3, sound=2)
    yield e.VoicemailFilled(full=True)
    yield e.MediaMeasured(call=CALL, matrix=Measured(), sip=Measured())
    yield e.MediaLost(call=CALL, side=Side.SIP, fault=e.MediaFault.INTERNAL)
    yield e.MediaClosed(call=CALL)
    yield e.PersonChanged(person=PERSON, dnd=True, account=TRUNK)
    yield e.TalksRecalled(talks=(e.Talk(person=PERSON, trunk=TRUNK, seconds=60, ago=60),))
    yield e.CallRequested(person=PERSON, address=NUMBER)
    yield e.HangupRequested(call=CALL, by=PERSON)
    yield e.DrainRequested(seconds=60)
    yield e.ShutdownRequested()
    yield e.CallFaulted(call=CALL)


def test_no_class_of_event_is_missing() -> None:
    kinds = [
        kind for kind in vars(e).values() if isinstance(kind, type) and issubclass(kind, e.Event)
    ]
    bases = {base for kind in kinds for base in kind.__mro__[1:]}
    told = {type(event) for event in events(OpId(1))}
    invites = {e.MatrixInviteReceived, e.SipInviteReceived}
    assert set(kinds) - bases == told | invites


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_event_in_every_situation(situation: str) -> None:
    """Whatever comes, and comes twice: the audit holds, and then the call can be ended."""
    for number in range(len(list(events(OpId(0))))):
        desk = Desk(replace(EARLY_POLICY, voicemail=VOICEMAIL_POLICY.voicemail))
        SITUATIONS[situation](desk)
        asked = [command.op for command in desk.said if hasattr(command, "op")]
        event = list(events(asked[-1] if asked else OpId(999)))[number]
        known = desk.core.call_of(event)
        desk.tell(event)
        if known is not None:
            assert desk.core.call_of(event) in (known, None, SECOND)  # Which took its far end.
        desk.tell(event)
        desk.tell(e.CallFaulted(call=CALL))
        desk.wait(1000)
        assert desk.core.active() == []
        desk.audit.all_is_over()
