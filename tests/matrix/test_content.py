# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients send, in their dialects."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.call.events import (
    Capabilities,
    MatrixAnswerReceived,
    MatrixCallEvent,
    MatrixCandidatesReceived,
    MatrixHangupReceived,
    MatrixInviteReceived,
    MatrixMuteChanged,
    MatrixNegotiateReceived,
    MatrixRejectReceived,
    MatrixReplacesReceived,
    MatrixSelectAnswerReceived,
    SdpType,
)
from bridge.call.ids import Address, Party, PartyId, UserId
from bridge.matrix.content import CALL_EVENT_TYPES, Unusable, read_call_event
from bridge.matrix.envelope import read_room_event
from bridge.matrix.ghosts import Ghosts
from tests.matrix.fakes import ROOM, room_event

FIXTURES = Path(__file__).parent / "fixtures"
NUMBER = Address("tel:+12025550123")
GHOST = "@sip_12025550123:example.org"
NOW = 5000.0
V1 = {"call_id": "c", "party_id": "DEVICE", "version": "1"}
V0 = {"call_id": "c", "version": 0}
OFFER = {"offer": {"type": "offer", "sdp": "v=0"}, "lifetime": 60000}


def read(
    event_type: str, content: object, **more: Any
) -> tuple[MatrixCallEvent, ...] | Unusable | None:
    event = read_room_event(room_event(event_type, content, **more), NOW)
    if event is None:
        return None
    ghosts = Ghosts("sip_", "example.org")
    return read_call_event(
        event, NUMBER, GHOST, NOW, address_of=ghosts.address, is_ours=ghosts.owns
    )


def only(event_type: str, content: object, **more: Any) -> MatrixCallEvent:
    events = read(event_type, content, **more)
    assert isinstance(events, tuple), events
    assert len(events) == 1
    return events[0]


def refusal(event_type: str, content: object) -> str:
    read_as = read(event_type, content)
    assert isinstance(read_as, Unusable)
    return read_as.reason


def recorded(name: str) -> tuple[str, dict[str, Any]]:
    event = json.loads((FIXTURES / name).read_text())
    return event["type"], event["content"]


# --- a whole call, as matrix-js-sdk 43 sent it ----------------------------------------------


def test_a_recorded_call_is_understood() -> None:
    events = [only(*recorded(path.name)) for path in sorted(FIXTURES.glob("plain-*"))]
    assert [type(event) for event in events] == [
        MatrixInviteReceived,
        MatrixCandidatesReceived,
        MatrixAnswerReceived,
        MatrixSelectAnswerReceived,
        MatrixCandidatesReceived,
        MatrixHangupReceived,
    ]
    invite, candidates, answer, selected, _, hangup = events
    assert isinstance(invite, MatrixInviteReceived)
    assert invite.room == ROOM
    assert invite.call_id == "1795358406721UlELAq7VkvQ1seZH"
    assert invite.sender == Party(UserId("@alice:example.org"), PartyId("JDWZJMQOOH"))
    assert invite.version == 1
    assert invite.lifetime == 60
    assert invite.age == pytest.approx(0.1)
    assert invite.sdp.startswith("v=0\r\n")
    assert invite.capabilities == Capabilities(dtmf=False, transferee=False, negotiate=True)
    assert isinstance(candidates, MatrixCandidatesReceived)
    assert candidates.candidates[0].startswith("candidate:2980554478 1 udp")
    assert isinstance(answer, MatrixAnswerReceived)
    assert isinstance(selected, MatrixSelectAnswerReceived)
    assert selected.selected == answer.sender.party
    assert isinstance(hangup, MatrixHangupReceived)
    assert hangup.reason == "user_hangup"


def test_a_recorded_hold_is_understood() -> None:
    negotiates = []
    mutes = []
    for path in sorted(FIXTURES.glob("extras-*")):
        events = read(*recorded(path.name))
        assert isinstance(events, tuple), (path.name, events)
        negotiates += [e for e in events if isinstance(e, MatrixNegotiateReceived)]
        mutes += [e for e in events if isinstance(e, MatrixMuteChanged)]
    assert [negotiate.type for negotiate in negotiates] == [
        SdpType.OFFER,
        SdpType.ANSWER,
        SdpType.OFFER,
        SdpType.ANSWER,
    ]
    assert "a=sendonly" in negotiates[0].sdp or "a=inactive" in negotiates[0].sdp
    assert negotiates[0].lifetime == 60
    # Element holds by direction alone: the microphone counts as unmuted all the while.
    assert [mute.muted for mute in mutes] == [False] * 6


# --- dialects -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [(0, 0), ("1", 1), (1, 1), ("0", 1), ("2", 1), (False, 1), (0.0, 1), (None, 1), ([], 1)],
)
def test_only_the_integer_0_is_v0(version: object, expected: int) -> None:
    invite = only("m.call.invite", {**V1, **OFFER, "version": version})
    assert isinstance(invite, MatrixInviteReceived)
    assert invite.version == expected


def test_a_v0_client_has_no_party_and_cannot_negotiate() -> None:
    invite = only("m.call.invite", {**V0, **OFFER, "party_id": "x", "capabilities": {}})
    assert isinstance(invite, MatrixInviteReceived)
    assert invite.sender.party == ""
    assert not invite.capabilities.negotiate


def test_nheko_sends_neither_capabilities_nor_metadata() -> None:
    answer = only("m.call.answer", {**V1, "answer": {"type": "answer", "sdp": "v=0"}})
    assert isinstance(answer, MatrixAnswerReceived)
    assert not answer.capabilities.negotiate


def test_metadata_alone_shows_that_a_client_can_negotiate() -> None:
    content = {**V1, **OFFER, "org.matrix.msc3077.sdp_stream_metadata": {}}
    invite = only("m.call.invite", content)
    assert isinstance(invite, MatrixInviteReceived)
    assert invite.capabilities.negotiate


def test_ios_answers_a_negotiate_without_lifetime() -> None:
    content = {**V1, "description": {"type": "answer", "sdp": "v=0"}}
    negotiate = only("m.call.negotiate", content)
    assert isinstance(negotiate, MatrixNegotiateReceived)
    assert negotiate.type is SdpType.ANSWER
    assert negotiate.lifetime == 60


def test_dart_writes_reasons_in_camel_case() -> None:
    hangup = only("m.call.hangup", {**V1, "reason": "userHangup"})
    assert isinstance(hangup, MatrixHangupReceived)
    assert hangup.reason == "user_hangup"


@pytest.mark.parametrize("reason", [{}, {"reason": None}, {"reason": 7}, {"reason": ""}])
def test_element_cancels_without_a_reason(reason: dict[str, object]) -> None:
    hangup = only("m.call.hangup", {**V1, **reason})
    assert isinstance(hangup, MatrixHangupReceived)
    assert hangup.reason == "user_hangup"


def test_element_rejects_with_a_reason_that_is_not_in_the_specification() -> None:
    reject = only("m.call.reject", {**V1, "reason": "user_busy"})
    assert isinstance(reject, MatrixRejectReceived)
    assert reject.reason == "user_busy"
    bare = only("m.call.reject", {"call_id": "c", "version": "1"})
    assert isinstance(bare, MatrixRejectReceived)
    assert (bare.reason, bare.sender.party) == ("", "")


def test_an_empty_candidate_ends_them_and_a_bad_one_spoils_nothing() -> None:
    content = {
        **V1,
        "candidates": [
            {"candidate": "candidate:1", "sdpMid": 7, "sdpMLineIndex": "x"},
            {"sdpMid": "0"},
            {"candidate": None},
            {"candidate": "x" * 5000},
            "candidate:2",
            {"candidate": ""},
        ],
    }
    candidates = only("m.call.candidates", content)
    assert isinstance(candidates, MatrixCandidatesReceived)
    assert candidates.candidates == ("candidate:1", "")


def test_a_call_may_start_muted() -> None:
    streams = {"s": {"purpose": "m.usermedia", "audio_muted": True}}
    events = read("m.call.invite", {**V1, **OFFER, "sdp_stream_metadata": streams})
    assert isinstance(events, tuple)
    assert [type(event) for event in events] == [MatrixInviteReceived, MatrixMuteChanged]


def test_a_shared_screen_says_nothing_about_the_microphone() -> None:
    streams = {
        "screen": {"purpose": "m.screenshare", "audio_muted": True},
        "voice": {"purpose": "m.usermedia", "audio_muted": False},
    }
    changed = only("m.call.sdp_stream_metadata_changed", {**V1, "sdp_stream_metadata": streams})
    assert isinstance(changed, MatrixMuteChanged)
    assert changed.muted is False
    del streams["voice"]
    reason = refusal("m.call.sdp_stream_metadata_changed", {**V1, "sdp_stream_metadata": streams})
    assert "no stream" in reason


def test_one_open_microphone_is_not_muted() -> None:
    streams = {"a": {"audio_muted": True}, "b": {"audio_muted": False}, "c": {}}
    changed = only("m.call.sdp_stream_metadata_changed", {**V1, "sdp_stream_metadata": streams})
    assert isinstance(changed, MatrixMuteChanged)
    assert changed.muted is False


@pytest.mark.parametrize("broken", [{"s": 7}, [], "x", {"s": {"audio_muted": "perhaps"}}])
def test_broken_extras_do_not_cost_the_call(broken: object) -> None:
    content = {**V1, **OFFER, "sdp_stream_metadata": broken, "capabilities": broken}
    assert isinstance(only("m.call.invite", content), MatrixInviteReceived)


def test_dtmf_and_transfer_are_what_the_client_says() -> None:
    said = {"m.call.dtmf": True, "m.call.transferee": "no idea"}
    invite = only("m.call.invite", {**V1, **OFFER, "capabilities": said})
    assert isinstance(invite, MatrixInviteReceived)
    assert invite.capabilities == Capabilities(dtmf=True, transferee=False, negotiate=True)


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [(30000, 30), (None, 60), ("60000", 60), (-5, 0), (10**400, 3600), (True, 60)],
)
def test_a_lifetime_is_in_bounds(lifetime: object, expected: float) -> None:
    invite = only("m.call.invite", {**V1, **OFFER, "lifetime": lifetime})
    assert isinstance(invite, MatrixInviteReceived)
    assert invite.lifetime == expected


# --- what is dropped, and why ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "change", "reason"),
    [
        ("m.call.invite", {"call_id": ""}, "call_id"),
        ("m.call.invite", {"call_id": "x" * 256}, "call_id"),
        ("m.call.invite", {"call_id": 7}, "call_id"),
        ("m.call.invite", {"party_id": "x" * 256}, "party_id"),
        ("m.call.invite", {"offer": {"type": "offer", "sdp": ""}}, "offer.sdp"),
        ("m.call.invite", {"offer": None}, "offer"),
        ("m.call.invite", {"invitee": "@bob:example.org"}, "invitee"),
        ("m.call.answer", {}, "answer"),
        ("m.call.candidates", {"candidates": {}}, "candidates"),
        ("m.call.candidates", {"candidates": [7]}, "no candidate"),
        ("m.call.select_answer", {}, "selected_party_id"),
        ("m.call.negotiate", {"description": {"type": "rollback", "sdp": "v=0"}}, "type"),
        ("m.call.unheard_of", {}, "not a call event"),
    ],
)
def test_what_cannot_be_used_says_why(event_type: str, change: dict[str, Any], reason: str) -> None:
    assert reason in refusal(event_type, {**V1, **OFFER, **change})


def test_a_refusal_never_repeats_what_was_sent() -> None:
    assert "secret" not in refusal("m.call.invite", {**V1, "offer": {"sdp": ["secret"]}})


def test_an_invite_for_the_ghost_is_for_the_ghost() -> None:
    invite = only("m.call.invite", {**V1, **OFFER, "invitee": GHOST})
    assert isinstance(invite, MatrixInviteReceived)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("call_id", "party_id", "version", "offer", "answer", "sdp", "type"),
                    *("lifetime", "candidates", "candidate", "description", "reason", "invitee"),
                    *("selected_party_id", "sdp_stream_metadata", "purpose", "audio_muted"),
                    *("capabilities", "m.call.dtmf", "stream"),
                ]
            ),
            children,
            max_size=8,
        )
    ),
    max_leaves=25,
)


@given(st.sampled_from(sorted(CALL_EVENT_TYPES)), json_values, json_values)
def test_no_content_raises(event_type: str, content: object, age: object) -> None:
    read(event_type, content, age=age)
    if isinstance(content, dict):
        read(event_type, {**V1, **OFFER, **content})


@given(json_values, json_values)
def test_no_envelope_raises(raw: object, room: object) -> None:
    read_room_event(raw, NOW)
    read_room_event({"room_id": room, "unsigned": raw, "content": {}, "type": raw}, NOW)


# --- transfer ---------------------------------------------------------------------------------


def replaces(**more: Any) -> dict[str, Any]:
    target = {"id": "@sip_12025550177:example.org", "display_name": "Desk", "avatar_url": None}
    return {**V1, "replacement_id": "r", "target_user": target, **more}


@pytest.mark.parametrize("name", ["m.call.replaces", "org.matrix.call.replaces"])
def test_a_transfer_goes_to_a_ghost(name: str) -> None:
    event = only(name, replaces(create_call="x", lifetime=30000, target_room="!r:x"))
    assert isinstance(event, MatrixReplacesReceived)
    assert (event.target, event.waits) == (Address("tel:+12025550177"), False)


def test_a_call_waits_for_the_one_that_replaces_it() -> None:
    event = only("m.call.replaces", replaces(await_call="x"))
    assert isinstance(event, MatrixReplacesReceived)
    assert event.waits


@pytest.mark.parametrize(
    "target",
    [None, "nobody", {}, {"id": 3}, {"id": "bob"}, {"id": "@b b:example.org"}, {"id": "@:x"}],
)
def test_a_transfer_to_nobody_has_no_target(target: object) -> None:
    event = only("m.call.replaces", replaces(create_call="x", target_user=target))
    assert isinstance(event, MatrixReplacesReceived)
    assert (event.target, event.person) == (None, None)


@pytest.mark.parametrize("person", ["@bob:example.org", "@eve:other.example:8448", "@B/x:[::1]"])
def test_a_transfer_may_go_to_a_person(person: str) -> None:
    event = only("m.call.replaces", replaces(create_call="x", target_user={"id": person}))
    assert isinstance(event, MatrixReplacesReceived)
    assert (event.target, event.person) == (None, person)


def test_a_user_of_ours_is_no_person() -> None:
    event = only(
        "m.call.replaces", replaces(create_call="x", target_user={"id": "@sip_:example.org"})
    )
    assert isinstance(event, MatrixReplacesReceived)
    assert event.person is None


def test_a_transfer_that_names_no_call_is_none() -> None:
    assert "create_call" in refusal("m.call.replaces", replaces(create_call=""))
