# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients say in `m.call.*` events (Client-Server API, "Voice over IP"), read with tolerance.

Clients differ from the specification and from each other; a call must not fail over that. What
cannot be understood at all is `Unusable`, with the reason, and never an exception.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypedDict

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

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
from bridge.call.ids import Address, MatrixCallId, Party, PartyId, RoomId, UserId
from bridge.matrix.envelope import RoomEvent, finite

MAX_ID: Final = 255
_MAX_CANDIDATES: Final = 200
_MAX_CANDIDATE: Final = 1000
_MAX_REASON: Final = 64
_DEFAULT_LIFETIME: Final = 60.0
_LONGEST_LIFETIME: Final = 3600.0
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Unusable:
    """An event that cannot be acted upon, and why."""

    reason: str


def _read_version(value: object) -> int:
    # Only the integer 0 is v0; the integer 1, unlike the string, is not in the specification but
    # is sent, and future versions promise to be understood as 1.
    return 0 if type(value) is int and value == 0 else 1


def _read_lifetime(value: object) -> float:
    milliseconds = finite(value)
    if milliseconds is None:
        return _DEFAULT_LIFETIME
    return max(0.0, min(milliseconds / 1000, _LONGEST_LIFETIME))


def _read_reason(value: object) -> str:
    """Dart writes `userHangup`; everybody else `user_hangup`."""
    return _HUMP.sub("_", value[:_MAX_REASON]).lower() if isinstance(value, str) else ""


def _or_none(value: object, read: ValidatorFunctionWrapHandler, _: ValidationInfo) -> Any:
    """What is only an extra must not cost the call: unreadable is as good as missing."""
    try:
        return read(value)
    except ValidationError:
        return None


class _Model(BaseModel):
    """Fields that are not named are ignored."""


class _Description(_Model):
    sdp: Annotated[str, Field(min_length=1)]


class _TypedDescription(_Description):
    type: Literal["offer", "answer"]


class _Capabilities(_Model):
    dtmf: Annotated[bool | None, WrapValidator(_or_none)] = Field(None, alias="m.call.dtmf")
    transferee: Annotated[bool | None, WrapValidator(_or_none)] = Field(
        None, alias="m.call.transferee"
    )


class _Stream(_Model):
    purpose: Annotated[str | None, WrapValidator(_or_none)] = None
    audio_muted: Annotated[bool | None, WrapValidator(_or_none)] = None


class _Candidate(_Model):
    candidate: Annotated[str, Field(max_length=_MAX_CANDIDATE)]


def _read_candidates(value: object) -> tuple[str, ...]:
    """One bad candidate does not spoil the others. `sdpMid` says nothing where all is bundled."""
    if not isinstance(value, list):
        raise ValueError("is not a list")
    read = (_try(_Candidate, item) for item in value[:_MAX_CANDIDATES])
    return tuple(item.candidate for item in read if item is not None)


def _try(model: type[_Candidate], value: object) -> _Candidate | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]
_Lifetime = Annotated[float, BeforeValidator(_read_lifetime)]


class _Common(_Model):
    call_id: _Id
    party_id: Annotated[
        str, Field(max_length=MAX_ID), BeforeValidator(lambda v: v if isinstance(v, str) else "")
    ] = ""
    version: Annotated[int, BeforeValidator(_read_version)] = 1


class _Streams(_Common):
    sdp_stream_metadata: Annotated[dict[str, _Stream] | None, WrapValidator(_or_none)] = Field(
        None,
        validation_alias=AliasChoices(
            "sdp_stream_metadata", "org.matrix.msc3077.sdp_stream_metadata"
        ),
    )


class _Capable(_Streams):
    capabilities: Annotated[_Capabilities | None, WrapValidator(_or_none)] = None


class _Invite(_Capable):
    offer: _Description
    lifetime: _Lifetime = _DEFAULT_LIFETIME
    invitee: Annotated[str | None, WrapValidator(_or_none)] = None


class _Answer(_Capable):
    answer: _Description


class _Candidates(_Common):
    candidates: Annotated[tuple[str, ...], BeforeValidator(_read_candidates)]


class _SelectAnswer(_Common):
    selected_party_id: _Id


class _Ending(_Common):
    reason: Annotated[str, BeforeValidator(_read_reason)] = ""


# https://spec.matrix.org/v1.15/appendices/#user-identifiers
_USER_ID = re.compile(r"@[!-9;-~]+:[A-Za-z0-9.:\[\]-]+")


class _Target(_Model):
    id: str = ""


class _Replaces(_Common):
    target_user: Annotated[_Target | None, WrapValidator(_or_none)] = None
    create_call: Annotated[str | None, WrapValidator(_or_none)] = None
    await_call: Annotated[str | None, WrapValidator(_or_none)] = None


class _Negotiate(_Streams):
    description: _TypedDescription
    lifetime: _Lifetime = _DEFAULT_LIFETIME


@dataclass(frozen=True, slots=True)
class _Context:
    """What an event is besides its content."""

    event: RoomEvent
    address: Address
    ghost: str
    now: float
    address_of: Callable[[str], Address | None]
    is_ours: Callable[[str], bool]


class _About(TypedDict):
    """The fields that every `MatrixCallEvent` shares."""

    room: RoomId
    call_id: MatrixCallId
    sender: Party


def _about(context: _Context, content: _Common) -> _About:
    # A v0 client has no party id, whatever it sends.
    party = content.party_id if content.version else ""
    return _About(
        room=context.event.room,
        call_id=MatrixCallId(content.call_id),
        sender=Party(context.event.sender, PartyId(party)),
    )


_Result = tuple[MatrixCallEvent, ...] | Unusable


def _invite(context: _Context) -> _Result:
    content = _Invite.model_validate(context.event.content)
    if content.invitee is not None and content.invitee != context.ghost:
        return Unusable("the invite is for somebody else (invitee)")
    about = _about(context, content)
    invite = MatrixInviteReceived(
        **about,
        address=context.address,
        version=content.version,
        sdp=content.offer.sdp,
        lifetime=content.lifetime,
        age=context.event.age(context.now),
        capabilities=_capabilities(content),
    )
    return (invite, *_muted_from_the_start(about, content))


def _answer(context: _Context) -> _Result:
    content = _Answer.model_validate(context.event.content)
    about = _about(context, content)
    answer = MatrixAnswerReceived(
        **about,
        version=content.version,
        sdp=content.answer.sdp,
        capabilities=_capabilities(content),
    )
    return (answer, *_muted_from_the_start(about, content))


def _candidates(context: _Context) -> _Result:
    content = _Candidates.model_validate(context.event.content)
    if not content.candidates:
        return Unusable("no candidate in it can be read")
    about = _about(context, content)
    return (MatrixCandidatesReceived(**about, candidates=content.candidates),)


def _select_answer(context: _Context) -> _Result:
    content = _SelectAnswer.model_validate(context.event.content)
    about = _about(context, content)
    return (MatrixSelectAnswerReceived(**about, selected=content.selected_party_id),)


def _reject(context: _Context) -> _Result:
    content = _Ending.model_validate(context.event.content)
    return (MatrixRejectReceived(**_about(context, content), reason=content.reason),)


def _hangup(context: _Context) -> _Result:
    content = _Ending.model_validate(context.event.content)
    about = _about(context, content)
    return (MatrixHangupReceived(**about, reason=content.reason or "user_hangup"),)


def _replaces(context: _Context) -> _Result:
    """Not in the specification: as matrix-js-sdk sends it, and iOS with a `lifetime`."""
    content = _Replaces.model_validate(context.event.content)
    if not content.create_call and not content.await_call:
        return Unusable("neither create_call nor await_call says which call replaces this one")
    target = content.target_user.id if content.target_user else ""
    about = _about(context, content)
    is_person = _USER_ID.fullmatch(target) is not None and not context.is_ours(target)
    return (
        MatrixReplacesReceived(
            **about,
            target=context.address_of(target),
            person=UserId(target) if is_person else None,
            waits=not content.create_call,
        ),
    )


def _negotiate(context: _Context) -> _Result:
    content = _Negotiate.model_validate(context.event.content)
    about = _about(context, content)
    negotiate = MatrixNegotiateReceived(
        **about,
        type=SdpType(content.description.type),
        sdp=content.description.sdp,
        lifetime=content.lifetime,
    )
    return (negotiate, *_mute_changed(about, content))


def _metadata_changed(context: _Context) -> _Result:
    content = _Streams.model_validate(context.event.content)
    changed = _mute_changed(_about(context, content), content)
    return changed or Unusable("no stream of the user's media is in sdp_stream_metadata")


_READERS: Final[dict[str, Callable[[_Context], _Result]]] = {
    "m.call.invite": _invite,
    "m.call.answer": _answer,
    "m.call.candidates": _candidates,
    "m.call.select_answer": _select_answer,
    "m.call.reject": _reject,
    "m.call.hangup": _hangup,
    "m.call.negotiate": _negotiate,
    "m.call.replaces": _replaces,
    "org.matrix.call.replaces": _replaces,
    "m.call.sdp_stream_metadata_changed": _metadata_changed,
    "org.matrix.call.sdp_stream_metadata_changed": _metadata_changed,
}

CALL_EVENT_TYPES: Final = frozenset(_READERS)


def read_call_event(
    event: RoomEvent,
    address: Address,
    ghost: str,
    now: float,
    *,
    address_of: Callable[[str], Address | None],
    is_ours: Callable[[str], bool],
) -> _Result:
    """What a person's call event in the portal of `address` (user id `ghost`) tells the core.

    `address_of` tells whose ghost a user id is; `is_ours`, whether it is a person's at all.
    """
    reader = _READERS.get(event.type)
    if reader is None:
        return Unusable("not a call event that is acted upon")
    try:
        return reader(_Context(event, address, ghost, now, address_of, is_ours))
    except ValidationError as error:
        return Unusable(_first_problem(error))


def _first_problem(error: ValidationError) -> str:
    """Where and what, but never the value: it may be a whole session description."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, problem["loc"]))
    return f"{where}: {problem['msg']}"


def _capabilities(content: _Capable) -> Capabilities:
    said = content.capabilities
    return Capabilities(
        dtmf=bool(said and said.dtmf),
        transferee=bool(said and said.transferee),
        negotiate=content.version > 0
        and (said is not None or content.sdp_stream_metadata is not None),
    )


def _mute_changed(about: _About, content: _Streams) -> tuple[MatrixMuteChanged, ...]:
    muted = _is_muted(content)
    return () if muted is None else (MatrixMuteChanged(**about, muted=muted),)


def _muted_from_the_start(about: _About, content: _Streams) -> tuple[MatrixMuteChanged, ...]:
    """Calls start unmuted; only the exception is news."""
    return tuple(change for change in _mute_changed(about, content) if change.muted)


def _is_muted(content: _Streams) -> bool | None:
    """Whether every stream that is the user's own media is muted; None if that is not said."""
    streams = (content.sdp_stream_metadata or {}).values()
    said = [s.audio_muted for s in streams if s.purpose in (None, "m.usermedia")]
    known = [muted for muted in said if muted is not None]
    return all(known) if known else None
