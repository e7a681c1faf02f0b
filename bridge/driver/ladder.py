# SPDX-License-Identifier: GPL-3.0-or-later
"""A call's ladder: what happened on which leg, in words that an admin reads."""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import astuple, fields, is_dataclass
from typing import Any, Final

from bridge.call import commands as do
from bridge.call import events as happened
from bridge.call.ids import CallId, Direction
from bridge.records import LadderEntry

_MATRIX_EVENTS: Final[dict[type[happened.Event], str]] = {
    happened.MatrixInviteReceived: "m.call.invite",
    happened.MatrixAnswerReceived: "m.call.answer",
    happened.MatrixCandidatesReceived: "m.call.candidates",
    happened.MatrixSelectAnswerReceived: "m.call.select_answer",
    happened.MatrixRejectReceived: "m.call.reject",
    happened.MatrixHangupReceived: "m.call.hangup",
    happened.MatrixNegotiateReceived: "m.call.negotiate",
    happened.MatrixReplacesReceived: "m.call.replaces",
    happened.MatrixMuteChanged: "mute changed",
    happened.MatrixMemberLeft: "member left",
}
_MATRIX_COMMANDS: Final[dict[type[do.Command], str]] = {
    do.SendMatrixInvite: "m.call.invite",
    do.SendMatrixAnswer: "m.call.answer",
    do.SendMatrixSelectAnswer: "m.call.select_answer",
    do.SendMatrixReject: "m.call.reject",
    do.SendMatrixHangup: "m.call.hangup",
    do.SendMatrixNegotiate: "m.call.negotiate",
    do.SendMatrixAssertedIdentity: "m.call.asserted_identity",
    do.SendNotice: "notice",
}
_DETAILS: Final = ("sdp", "matrix_sdp", "sip_sdp", "candidates", "text", "detail", "statistics")
_NO_CONTENT: Final = (*_DETAILS, "op", "call", "address", "capabilities")
_BRIEF: Final = (
    "type",
    "reason",
    "muted",
    "selected",
    "status",
    "q850",
    "fault",
    "side",
    "matrix_codec",
    "sip_codec",
    "cause",
    "ended_by",
    "by",
    "other",
)
_SECRETS: Final = re.compile(
    r"^(?P<what>(?:Proxy-)?Authorization:|a=ice-pwd:|a=key-mgmt:|k=|"
    r"a=crypto:(?:[ \t]*\d+[ \t]+[\w-]+(?=[ \t]))?|"
    # Keys pressed may be a password.
    r"Signal[ \t]*=|Content-Type:[ \t]*application/dtmf[ \t]*\r?\n(?:.+\r?\n)*\r?\n)[^\r\n]*",
    re.IGNORECASE | re.MULTILINE,
)
_ABOUT_CALLS: Final = re.compile(
    r"^CSeq:\s*\d+\s+(?!REGISTER|OPTIONS|SUBSCRIBE|PUBLISH)\w+", re.IGNORECASE | re.MULTILINE
)
_CSEQ_METHOD: Final = re.compile(r"^CSeq:\s*\d+\s+(\w+)", re.IGNORECASE | re.MULTILINE)


def of_event(event: happened.Event, at: float) -> LadderEntry | None:
    """An event's line; None for what the SIP messages themselves tell."""
    match event:
        case happened.SipEnded() | happened.SipReinviteFailed():
            return _entry(at, "sip", "", words(event), event)
        case happened.SipEvent():
            return None
        case happened.MediaMeasured():
            return None
        case happened.MediaVideoChanged(codec=codec):
            return _entry(at, "media", "", f"video: {codec or 'none'}", event)
        case happened.MediaEvent():
            return _entry(at, "media", "", words(event), event)
        case (
            happened.PersonInvited()
            | happened.PortalReady()
            | happened.PortalFailed()
            | happened.MatrixSendFailed()
        ):
            return _entry(at, "matrix", "", words(event), event)
    if name := _MATRIX_EVENTS.get(type(event)):
        return _entry(at, "matrix", "in", name, event, _content(event))
    return _entry(at, "bridge", "", words(event), event)


def of_command(command: do.Command, at: float) -> LadderEntry | None:
    """A command's line; None for what the SIP messages themselves tell, and for bookkeeping."""
    match command:
        case do.SipCommand() | do.RecordLegs() | do.RecordStatistics() | do.RecordQuality():
            return None
        case do.RecordSilence(side=side, cause=cause):
            summary = f"nothing is heard from {side.value}: {cause.replace('_', ' ')}"
            return LadderEntry(at=at, leg="bridge", direction="", summary=summary)
        case do.MediaCommand():
            return _entry(at, "media", "", words(command), command)
        case do.RecordStart(person=person, address=address, trunk=trunk):
            ends = (person, address)
            caller, callee = ends if command.direction is Direction.TO_SIP else ends[::-1]
            by = f" ({command.rule})" if command.rule else ""
            by += f", forwarded by {command.diverted_by}" if command.diverted_by else ""
            return LadderEntry(
                at=at,
                leg="bridge",
                direction="",
                summary=f"start: {caller} to {callee} by {trunk}{by}",
            )
        case do.RecordAttempts(trunk=trunk, failed=failed):
            last = failed[-1]
            how, next_one = (" with video", "without it") if last.video else ("", trunk)
            summary = (
                f"{last.trunk} could not{how}: {last.cause} ({last.status}); trying {next_one}"
            )
            return LadderEntry(at=at, leg="bridge", direction="", summary=summary)
        case do.StoreCommand():
            return _entry(at, "bridge", "", words(command).removeprefix("record "), command)
    if name := _MATRIX_COMMANDS.get(type(command)):
        content = _content(command) if isinstance(command, do.SendCallEvent) else ""
        return _entry(at, "matrix", "out", name, command, content)
    return _entry(at, "matrix", "", words(command), command)


def of_sip_message(direction: str, text: str, at: float) -> LadderEntry:
    """A whole SIP message's line; `direction` is `received` or `sent`."""
    first, _, _ = text.partition("\r\n")
    if first.startswith("SIP/2.0 "):
        method = _CSEQ_METHOD.search(text)
        summary = first.removeprefix("SIP/2.0 ") + (f" ({method[1]})" if method else "")
    else:
        summary = first.removesuffix(" SIP/2.0")
    way = "in" if direction == "received" else "out"
    return LadderEntry(at=at, leg="sip", direction=way, summary=summary, detail=_clean(text))


def words(thing: object) -> str:
    """A class's name as words: `SipEnded` is `sip ended`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(thing).__name__).lower()


def _entry(
    at: float, leg: str, direction: str, summary: str, thing: object, content: str = ""
) -> LadderEntry:
    brief = [_word(value) for name in _BRIEF if (value := getattr(thing, name, None))]
    detail = [str(value) for name in _DETAILS if (value := getattr(thing, name, None))]
    if brief:
        summary = f"{summary}: {', '.join(brief)}"
    text = _clean("\n".join([*([content] if content else []), *detail]))
    return LadderEntry(at=at, leg=leg, direction=direction, summary=summary, detail=text)


def _content(thing: Any) -> str:
    """The short fields of what is an event in Matrix, a line each."""
    values = {each.name: getattr(thing, each.name) for each in fields(thing)}
    return "\n".join(
        f"{name}: {_plain(value)}"
        for name, value in values.items()
        if name not in _NO_CONTENT and value not in (None, "", ())
    )


def _plain(value: Any) -> str:
    if is_dataclass(value) and not isinstance(value, type):
        return " ".join(map(str, astuple(value)))
    return _word(value)


def _word(value: object) -> str:
    return str(getattr(value, "value", value))


def _clean(text: str) -> str:
    """Without credentials and keys: a ladder is shown to whoever asks why a call failed."""
    return _SECRETS.sub(r"\g<what> [hidden]", text)


class SipMessages:
    """Finds the call of each SIP message; those that come before their call is known wait."""

    def __init__(
        self,
        call_of: Callable[[str], CallId | None],
        trace: Callable[[CallId, LadderEntry], None],
        *,
        dialogs: int = 64,
        messages: int = 16,
    ) -> None:
        self._call_of = call_of
        self._trace = trace
        self._dialogs = dialogs
        self._messages = messages
        self._waiting: OrderedDict[str, list[LadderEntry]] = OrderedDict()

    def add(self, sip_call_id: str, direction: str, text: str, at: float) -> None:
        """Trace a message, now or when its call is known."""
        if not _ABOUT_CALLS.search(text) and self._call_of(sip_call_id) is None:
            return
        self._waiting.setdefault(sip_call_id, [])
        if len(self._waiting[sip_call_id]) < self._messages:
            self._waiting[sip_call_id].append(of_sip_message(direction, text, at))
        while len(self._waiting) > self._dialogs:
            self._waiting.popitem(last=False)
        self.sort()

    def sort(self) -> None:
        """Trace what waited for a call that is known by now."""
        found = [(key, call) for key in self._waiting if (call := self._call_of(key)) is not None]
        for key, call in found:
            for entry in self._waiting.pop(key):
                self._trace(call, entry)
