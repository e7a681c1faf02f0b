# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs send and are answered; the OpenAPI document is made of this."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from bridge.call.ids import Direction
from bridge.call.outcomes import Outcome
from bridge.config import Permission, Section, Transport
from bridge.config.routing import InboundRule, OutboundRule
from bridge.web.api.kinds import Call as CallName
from bridge.web.api.kinds import Line, Person, RuleName, SomeLine, Time, Who

Priority = Annotated[int, Field(ge=0, le=1_000_000)]
Source = Literal["api", "config"]
MOST = 1000
"""Calls in one answer."""

# --- what stands in addresses ----------------------------------------------------------------


class PersonPath(Section):
    """Whose it is."""

    person: Person


class RulePath(Section):
    """Which rule."""

    name: RuleName


class WhoPath(Section):
    """Whom it is for."""

    who: Who


class CallPath(Section):
    """Which call."""

    call: CallName


class ExplainQuery(Section):
    """A call that nobody makes."""

    who: SomeLine = Field(
        ..., description="Matrix id of who calls; with `trunk`, the number that calls."
    )
    number: SomeLine = Field(..., description="What they dial.")
    trunk: SomeLine | None = Field(None, description="The call comes in, by this trunk.")


class RecordsQuery(Section):
    """Which calls are looked for; all that is said has to be so."""

    person: Line = Field(
        "", description="Part of a Matrix id: of whose call it was, or at whom it rang."
    )
    number: Line = Field(
        "", description="Part of a number or address, of what SIP refused also of its source."
    )
    trunk: Line = Field("", description="Name of a trunk.")
    direction: Direction | None = Field(None, description="Who placed the call.")
    since: Time | None = Field(
        None,
        description="Those that began then or later.",
        examples=["2026-03-01T14:30:00Z"],
    )
    until: Time | None = Field(
        None, description="Those that began before.", examples=["2026-03-02T00:00:00+01:00"]
    )
    outcome: Outcome | None = Field(None, description="Whose doing it was that they ended.")
    after: CallName | None = Field(
        None, description="Go on after this call: `next` of the answer before."
    )
    limit: int = Field(100, ge=1, le=MOST, description="How many, at most.")


class EventsQuery(Section):
    """Where the stream begins, and when it ends."""

    after: Line = Field(
        "",
        description="Begin after the event of this id, as by the header `Last-Event-ID`; empty: "
        "with what happens from now on.",
    )
    seconds: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="End after so many seconds; 0: what there is already. Empty: after an hour.",
    )


# --- accounts --------------------------------------------------------------------------------


class AccountSettings(Section):
    """A person's own account with a SIP server, as the bot's `login` takes it."""

    server: SomeLine = Field(
        ...,
        description="Host name or address, with its port if that is not the default.",
        examples=["sip.example.com"],
    )
    transport: Transport | None = Field(
        None, description="How the server is reached; empty: as accounts.transport says."
    )
    username: SomeLine = Field(..., description="The account's user name.", examples=["alice"])
    domain: Line = Field("", description="Domain of the account's address; empty: the server.")
    auth_username: Line = Field(
        "", description="User name that goes with the password, where it is another."
    )
    password: SecretStr = Field(
        ..., min_length=1, max_length=255, description="Is kept sealed, and never shown."
    )


class Account(Section):
    """A person's own account, and how it stands."""

    person: str = Field(..., description="Whose it is.")
    server: str = Field(..., description="The SIP server, as it was given.")
    transport: Transport = Field(..., description="How the server is reached.")
    username: str = Field(..., description="The account's user name.")
    domain: str = Field(..., description="Domain of the account's address; empty: the server.")
    auth_username: str = Field(..., description="User name that goes with the password.")
    state: Literal["registered", "registering", "failed"] = Field(
        ..., description="How its registration stands; one that failed is tried again."
    )
    status: int = Field(..., description="SIP status of the registrar's last answer; 0: none.")
    reason: str = Field(..., description="What the registrar said with it.")


class Accounts(Section):
    """Everybody's accounts."""

    accounts: list[Account] = Field(..., description="By Matrix id.")


# --- routes ----------------------------------------------------------------------------------


class OutboundSettings(OutboundRule):
    """Where calls from Matrix go: a rule as in `outbound` of the configuration."""

    priority: Priority = Field(
        100, description="Rules of a lower one are tried first; of the same one, by name."
    )


class InboundSettings(InboundRule):
    """Whom calls from SIP ring: a rule as in `inbound` of the configuration."""

    priority: Priority = Field(
        100, description="Rules of a lower one are tried first; of the same one, by name."
    )


class Place(Section):
    """Where a rule comes from, and what becomes of it."""

    rule: str = Field(
        ...,
        description="What records and explanations call it: outbound:sales, or outbound[0] for "
        "the first one of the configuration.",
    )
    name: str = Field(
        ..., description="Its name here; that of one of the configuration is config.0, config.1…"
    )
    source: Source = Field(
        ..., description="Where it was set; those of the configuration are to read only."
    )
    priority: int | None = Field(..., description="Its priority, if it was set by the API.")
    in_force: bool = Field(..., description="Whether it is tried.")
    problems: list[str] = Field(
        ..., description="Why not: what in it contradicts the settings, and what is wanted."
    )


class OutboundRoute(Place):
    """A rule for calls from Matrix."""

    settings: OutboundRule = Field(..., description="The rule itself.")


class InboundRoute(Place):
    """A rule for calls from SIP."""

    settings: InboundRule = Field(..., description="The rule itself.")


class OutboundRoutes(Section):
    """All rules for calls from Matrix."""

    routes: list[OutboundRoute] = Field(..., description="In the order in which they are tried.")


class InboundRoutes(Section):
    """All rules for calls from SIP."""

    routes: list[InboundRoute] = Field(..., description="In the order in which they are tried.")


class Explained(Section):
    """What would become of a call, and by which rules: what `matrix-sip route` shows."""

    possible: bool = Field(..., description="Whether it would be placed, or ring somebody.")
    verdict: str = Field(..., description="What would become of it, in words.")
    cause: str | None = Field(..., description="Why nothing, as in the table of causes.")
    steps: list[str] = Field(..., description="Everything that was tried, in order.")
    trunks: list[str] = Field(..., description="The trunks that would be tried, in order.")
    people: list[str] = Field(..., description="Whom a call that comes in would ring.")


# --- permissions -----------------------------------------------------------------------------


class PermissionSettings(Section):
    """What somebody may do."""

    level: Permission = Field(
        ...,
        description="blocked: nothing; receive: be called; call: make calls; admin: see and end "
        "everybody's calls through the bot. Each includes those before it.",
    )


class PermissionEntry(Section):
    """What somebody may do, and where that was set."""

    who: str = Field(..., description="A Matrix id, a server name, or `*`.")
    level: Permission = Field(..., description="What they may do.")
    source: Source = Field(..., description="Where it was set.")
    in_force: bool = Field(
        ..., description="false: the configuration's, and the API has another for the same."
    )


class Permissions(Section):
    """All permissions; of those in force, the most exact one counts for a person."""

    permissions: list[PermissionEntry] = Field(..., description="By whom they are for.")


# --- calls -----------------------------------------------------------------------------------


class CallRequest(Section):
    """Ring a person, and dial the number when they have answered."""

    person: Person = Field(..., description="Who is to call.")
    number: SomeLine = Field(
        ...,
        description="A telephone number or SIP address, as the person would write it.",
        examples=["+12025550123"],
    )


class HangUp(Section):
    """Who ends a call, and why; for its record."""

    by: SomeLine = Field("the API", description="Who ends it.", examples=["helpdesk"])
    why: Line = Field("", description="Why.", examples=["the line is needed"])


class Attempt(Section):
    """A trunk that could not carry the call."""

    trunk: str = Field(..., description="Its name.")
    cause: str = Field(..., description="Why, as in the table of causes.")
    status: int = Field(..., description="SIP status; 0: none.")
    video: bool = Field(
        False, description="Whether it was asked for video, which it refused; it got one without."
    )


class Call(Section):
    """A call, as far as it has come."""

    call: str = Field(..., description="Its id.")
    state: Literal["preparing", "ringing", "connected", "ending", "ended"] = Field(
        ..., description="How far it has come."
    )
    direction: Direction = Field(..., description="Who placed it.")
    person: str = Field(..., description="Matrix id of the person; empty: nobody here.")
    number: str = Field(..., description="The telephone's number, or its SIP address.")
    trunk: str = Field(..., description="The trunk that carries it.")
    rule: str = Field(..., description="Which rule of the dial plan led it there.")
    started: datetime = Field(..., description="When it began.")
    rang: datetime | None = Field(..., description="When it rang first.")
    answered: datetime | None = Field(..., description="When both sides were connected.")
    ended: datetime | None = Field(..., description="When it ended.")
    talked_s: float | None = Field(..., description="Seconds between answer and end.")
    outcome: Outcome | None = Field(..., description="Whose doing its end was.")
    cause: str | None = Field(..., description="Why it ended, as in the table of causes.")
    sip_status: int | None = Field(..., description="SIP status with which it ended.")
    ended_by: str | None = Field(..., description="matrix, sip, media or bridge.")
    detail: str = Field(..., description="More about its end: who ended it, and why.")
    times: int = Field(
        ..., description="How many attempts it stands for: more than one of a flood, refused alike."
    )
    source: str = Field(
        ..., description="Of what SIP refused at once: the address or network it came from."
    )
    message_s: float | None = Field(
        ...,
        description="Seconds of the message that voicemail recorded, 0 if there is none; null: it "
        "did not take the call, or is not that far.",
    )
    other_trunks: list[Attempt] = Field(..., description="Trunks that could not carry it.")
    statistics: dict[str, int | float | str] = Field(
        ..., description="What was measured, once it has ended."
    )


class Calls(Section):
    """Calls that are not over."""

    calls: list[Call] = Field(..., description="Oldest first.")


class Records(Section):
    """Calls that were looked for."""

    calls: list[Call] = Field(..., description="Newest first.")
    next: str | None = Field(..., description="Value of `after` for those that follow, if any do.")


# --- problems --------------------------------------------------------------------------------


class FieldProblem(Section):
    """What is wrong with a part of a request."""

    field: str = Field(..., description="Which: `limit`, or `people[1]` in a body.")
    detail: str = Field(..., description="What is wrong, and what is wanted.")


class Problem(Section):
    """Why a request was not done (RFC 9457)."""

    type: str = Field(..., description="Which kind of problem it is.")
    title: str = Field(..., description="The same in words.")
    status: int = Field(..., description="The status of the answer.")
    detail: str = Field(..., description="What was the matter this time.")
    errors: list[FieldProblem] = Field([], description="Each part of the request to blame.")
    cause: str | None = Field(
        None, description="Of a call that cannot be: why, as in the table of causes."
    )
