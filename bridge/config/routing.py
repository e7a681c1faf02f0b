# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of who may call what, and which way: the dial plan and its limits."""

from pydantic import Field

from bridge.config.base import NumberStyle, Seconds, Section
from bridge.config.bounds import Bounds, NumberKind


class OutboundRule(Section):
    """Which trunks carry a number. Rules are tried in order; the first that matches wins."""

    prefix: str = Field(
        "",
        description="The number in E.164 starts with this (+1, or + for any); empty: all numbers, "
        "also extensions.",
    )
    pattern: str = Field(
        "",
        description="The number is like this, as in Asterisk's dial plans (_+1202X., _1XX); empty: "
        "all numbers.",
    )
    sip_domain: str | None = Field(
        None, description="Matches SIP addresses of this domain instead of numbers; * for any."
    )
    people: tuple[str, ...] = Field(
        (),
        description="Only calls of these people: Matrix ids, in which * stands for anything, or "
        "server names. Empty: of everybody.",
    )
    trunk: str = Field("", description="Name of the trunk.")
    trunks: tuple[str, ...] = Field(
        (),
        description="Instead of trunk, several: the next one is tried where one cannot carry the "
        "call.",
    )
    format: NumberStyle = Field(
        "e164",
        description="How numbers in E.164 are written: e164 (+12025550123), plain (12025550123), "
        "international (as numbers.region dials abroad: 01112025550123), or national (as "
        "numbers.region dials its own numbers; others as international).",
    )
    strip: int = Field(
        0, ge=0, description="Digits to take off the front afterwards; a leading + goes with them."
    )
    prepend: str = Field("", description="What to put in front at last.")
    caller_id: str = Field(
        "", description="Number shown, whoever calls; empty: the caller's own, or the trunk's."
    )


class InboundRule(Section):
    """Whom an incoming call rings: a person, several at once, or whose localpart was dialled.

    Rules are tried in order; the first that matches wins.
    """

    trunk: str | None = Field(None, description="Only calls of this trunk; empty: of any.")
    number: str = Field(
        "*",
        description="The number dialled, with its country code (+1…) if it is a public one; with * "
        "at the end a prefix; *: any; a pattern as in Asterisk's dial plans after _ (_7XX).",
    )
    person: str | None = Field(None, description="Matrix id of the person to ring.")
    people: tuple[str, ...] = Field(
        (), description="Matrix ids of people to ring all at once; who answers first has the call."
    )
    localpart: bool = Field(
        False,
        description="Ring the person of this homeserver whose localpart was dialled (alice rings "
        "@alice:example.org), if permissions let them receive calls.",
    )


class Caller(Section):
    """As whom somebody calls."""

    numbers: tuple[str, ...] = Field(
        (),
        description="Numbers of theirs, in E.164 where they are public. Of these, the first one is "
        "shown that is among the trunk's callers; else the trunk's caller_id.",
        examples=["+12025550100"],
    )
    name: str = Field("", description="Name shown with the number, as far as trunks pass it on.")
    withhold: bool | None = Field(
        None,
        description="Whether they call without showing their number; empty: as the trunk has it. "
        "With the bot, or a code in front of a number, they may choose otherwise.",
    )


class Numbers(Section):
    """How telephone numbers are read and shown."""

    region: str = Field(
        "US",
        pattern="^[A-Z]{2}$",
        description="Country (ISO 3166) that national numbers belong to.",
    )
    allowed_prefixes: tuple[str, ...] = Field(
        (),
        description="E.164 prefixes that may be called; if there are any, no others, besides "
        "numbers that only a trunk knows (extensions).",
    )
    forbidden_prefixes: tuple[str, ...] = Field(
        (),
        description="E.164 prefixes that may not be called; where allowed_prefixes says otherwise, "
        "the longer prefix counts.",
    )
    forbidden_kinds: tuple[NumberKind, ...] = Field(
        ("premium_rate", "satellite"),
        description="Kinds of numbers that may not be called, as the library phonenumbers knows "
        "them; satellite: also international networks (+870, +881, +882, +883).",
    )
    outside_lines: tuple[str, ...] = Field(
        ("0", "9"),
        description="Digits by which a PBX gives an outside line: what follows them is checked, "
        "too, for emergency, premium and forbidden numbers. [] where no trunk is such a PBX.",
    )
    withhold_codes: tuple[str, ...] = Field(
        ("*67", "#31#", "*31#"),
        description="Codes in front of a number that hide the caller's own for one call. [] where "
        "they are the trunks' business.",
    )
    show_codes: tuple[str, ...] = Field(
        ("*82",), description="Codes in front of a number that show it for one call."
    )


class Limits(Section):
    """Bounds that keep a mistake, or a thief, cheap."""

    calls_per_person: int = Field(2, ge=1, description="Simultaneous calls of one person.")
    calls_per_minute: int = Field(
        10, ge=1, description="Outgoing calls of one person within any minute."
    )
    texts_per_minute: int = Field(
        20, ge=1, description="Texts that one person may send, or one number, within any minute."
    )
    minutes_per_day: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Minutes of one person's outgoing calls within 24 hours; a call counts until "
        "24 hours after its end.",
    )
    max_duration: Seconds = Field(14400, description="Seconds after which a call is ended.")
    ring_time: Seconds = Field(60, description="Seconds that a call may ring.")
    vanished_after: Seconds | None = Field(
        300,
        description="Seconds after which a telephone counts as vanished that is not on hold, and "
        "of which nothing comes: neither audio nor RTCP, nor anything by SIP. It is then asked "
        "(OPTIONS), and the call is ended if it does not answer. Empty: never.",
    )
    people: dict[str, Bounds] = Field(
        default_factory=dict,
        description="Other bounds by Matrix id, server name or *; of each, the most exact entry "
        "that has it counts.",
        examples=[{"@ann:example.org": {"minutes_per_day": 600}}],
    )
