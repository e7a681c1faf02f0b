# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a call, in words: for whoever is asked why it failed."""

from collections.abc import Iterator, Mapping
from typing import Final

from bridge.call.causes import MEANINGS, Cause
from bridge.call.ids import Direction, Side
from bridge.call.outcomes import Outcome, outcome_of
from bridge.records import CallRecord

OUTCOMES: Final[Mapping[Outcome, str]] = {
    Outcome.SUCCESS: "went well",
    Outcome.VOICEMAIL: "taken by voicemail",
    Outcome.CALLER: "given up by the caller",
    Outcome.CALLEE: "busy, declined, not there",
    Outcome.POLICY: "not allowed",
    Outcome.TRUNK: "telephone network",
    Outcome.HOMESERVER: "homeserver",
    Outcome.MEDIA: "no audio",
    Outcome.BRIDGE: "the bridge itself",
}
"""Whose doing it was."""
ENDERS: Final[Mapping[str, str]] = {
    "matrix": "the person's client",
    "sip": "the telephone's side",
    "media": "the audio engine",
    "bridge": "the bridge",
}
_TRUNK: Final = "Is the provider's server reachable, and its name right? Try matrix-sip check."
_STOLEN: Final = "limits of the trunk; if nobody calls so much, an account may be stolen."
_ICE: Final = "See how-to/nat-and-firewall: media.public_address, the ports, a TURN server."
_HELP: Final[Mapping[Cause, str]] = {
    Cause.NOT_PERMITTED: "Give the person an entry in permissions.",
    Cause.NO_ROUTE: "No rule in outbound fits the number; try matrix-sip route.",
    Cause.TRUNK_CREDENTIALS: "Compare username, auth_username, domain and password of the trunk.",
    Cause.REFUSED: "Credit, destination, or the number shown (caller_id): ask the provider.",
    Cause.TRUNK_DOWN: _TRUNK,
    Cause.CONGESTION: "The provider or the network behind it was full; a second trunk helps.",
    Cause.CONNECTION_LOST: "Look at the last SIP messages, and at session_timers of the trunk.",
    Cause.NO_COMMON_CODEC: "Compare both descriptions below with codecs of the trunk.",
    Cause.NOT_ENCRYPTED: "srtp of the trunk and what the provider offers do not fit.",
    Cause.ICE_FAILED: _ICE,
    Cause.ICE_TIMEOUT: _ICE,
    Cause.MEDIA_FAILED: "The log lines of this call say more.",
    Cause.UNDELIVERABLE: "The homeserver did not answer: is homeserver.address right?",
    Cause.STRANGER: "Is it a provider's other address? Then add it to peers of the trunk.",
    Cause.TOO_FREQUENT: "Does something call in circles? Look at limits, and calls_per_second.",
    Cause.NO_RESOURCES: "The bridge was at its limit: media.rtp_ports, memory, processors.",
    Cause.NOT_IN_SERVICE: "Does inbound have a rule for the number, as the trunk writes it?",
    Cause.TRUNK_BUSY: _STOLEN,
    Cause.TRUNK_SPENT: _STOLEN,
    Cause.ERROR: "A fault of the bridge: please report it, with the log lines of this call.",
}


_SILENCES: Final = {
    "no_ice_pair": "no way was found for its audio. See how-to/nat-and-firewall; a TURN server?",
    "no_dtls": "the keys were not agreed on; is something between that changes packets?",
    "wrong_key": "its packets could not be decrypted.",
    "unexpected_address": "its packets came from another address than it had told: NAT.",
    "muted": "the person was muted.",
    "never_sent": "it never sent any. A firewall, or no permission to use the microphone?",
    "stopped": "it ceased to send.",
}
SIDES: Final = {Side.MATRIX: "the person's client", Side.SIP: "the telephone"}


def ends(record: CallRecord) -> tuple[str, str]:
    """Who called, and who was called."""
    both = (str(record.person) or "nobody here", number(record))
    return both if record.direction is Direction.TO_SIP else both[::-1]


def number(record: CallRecord) -> str:
    """The telephone's number or address."""
    return record.address.removeprefix("tel:") or "several addresses"


def cause_of(record: CallRecord) -> Cause | None:
    """Why it ended; None while it lasts."""
    try:
        return Cause(record.cause)
    except ValueError:
        return None


def outcome(record: CallRecord) -> Outcome | None:
    """Whose doing its end was; None while it lasts."""
    cause = cause_of(record)
    return outcome_of(cause) if cause else None


def in_short(record: CallRecord) -> str:
    """How it ended, in a few words."""
    if record.ended_at is None:
        return "in progress"
    status = f" ({record.status})" if record.status and record.cause != "normal" else ""
    times = f", {record.times} times" if record.times > 1 else ""
    left = f", {recorded}" if (recorded := message(record)) else ""
    return (record.cause or "unknown").replace("_", " ") + status + times + left


def message(record: CallRecord) -> str:
    """What voicemail has recorded of it; empty if it did not take it, or that is not known yet."""
    if record.message_s is None:
        return ""
    return f"message of {duration(record.message_s)}" if record.message_s else "no message"


def talked(record: CallRecord) -> float | None:
    """Seconds between answer and end; None if either is missing."""
    if record.answered_at is None or record.ended_at is None:
        return None
    return max(0.0, record.ended_at - record.answered_at)


def sentences(record: CallRecord) -> Iterator[str]:
    """The verdict."""
    if record.times > 1:
        yield from _flood(record)
        return
    caller, called = ends(record)
    way = f" by trunk {record.trunk}" if record.trunk else ""
    yield f"{caller} called {called}{way}."
    for attempt in record.attempts:
        words = attempt.cause.replace("_", " ")
        it = "it with video" if attempt.video else "it"
        yield f"Trunk {attempt.trunk} could not carry {it}: {words} ({attempt.status})."
    yield from _course(record)
    if record.ended_at is not None:
        yield from _end(record)


def _flood(record: CallRecord) -> Iterator[str]:
    way = f" by trunk {record.trunk}" if record.trunk else ""
    lasted = max(1.0, (record.ended_at or record.started_at) - record.started_at)
    where = record.source or "several addresses"
    yield f"{record.times} calls within {duration(lasted)} from {where}{way}, all refused alike."
    yield f"They were ended by the bridge: {in_short(record)}."
    yield f"{_capital(record.detail)}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _course(record: CallRecord) -> Iterator[str]:
    if record.rang_at is not None:
        yield f"It rang after {record.rang_at - record.started_at:.1f} s."
    if record.answered_at is not None and record.cause == Cause.VOICEMAIL.value:
        yield f"Voicemail answered after {record.answered_at - record.started_at:.1f} s."
    elif record.answered_at is not None:
        yield f"It was answered after {record.answered_at - record.started_at:.1f} s."
    elif record.ended_at is not None:
        yield "It was never answered." if record.rang_at is not None else "It never rang."


def _end(record: CallRecord) -> Iterator[str]:
    lasted = talked(record)
    if lasted is not None and record.cause == Cause.VOICEMAIL.value:
        left = message(record)
        article = "a " if record.message_s else ""
        yield f"The caller was there for {duration(lasted)}" + (
            f", and left {article}{left}." if left else "."
        )
    elif lasted is not None:
        yield f"They talked for {duration(lasted)}."
    who = ENDERS.get(record.ended_by or "", record.ended_by or "")
    yield f"It was ended by {who}: {in_short(record)}."
    cause = cause_of(record)
    if cause is None:
        return
    if record.direction is Direction.TO_SIP and MEANINGS[cause].sentence:
        yield f"The person was told: “{MEANINGS[cause].sentence}”"
    if record.detail:
        yield f"{record.detail}."


def advice(record: CallRecord) -> str:
    """What usually helps; empty where nothing has to."""
    cause = cause_of(record)
    return _HELP.get(cause, "") if cause else ""


def unheard(record: CallRecord) -> Iterator[str]:
    """From whom nothing was heard, and why, of a call that was answered."""
    if record.answered_at is None or not record.statistics:
        return
    figures = record.statistics
    for side, who in SIDES.items():
        if side is Side.MATRIX and record.cause == Cause.VOICEMAIL.value:
            continue  # Nobody was there.
        why = str(figures.get(f"{side.value}_silence", ""))
        if why:
            seconds = float(figures.get(f"{side.value}_silent_s", 0))
            yield f"Nothing was heard from {who} for {seconds:.0f} s: {silence(why)}"
        elif not figures.get(f"{side.value}_packets_received"):
            yield f"No audio came from {who}."


def silence(cause: str) -> str:
    """Why nothing is heard, and what helps, in words."""
    return _SILENCES.get(cause, f"{cause.replace('_', ' ')}.")


def duration(seconds: float) -> str:
    """Minutes and seconds."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
