# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed settings. The models here, in sip.py and in routing.py are the reference: names, defaults,
bounds and descriptions.

The commented example file and the reference page are generated from them.
"""

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from bridge.config.base import Days, Off, Port, Seconds, Section
from bridge.config.routing import Caller, InboundRule, Limits, Numbers, OutboundRule
from bridge.config.sip import Accounts, Sip, Trunk
from bridge.config.voicemail import Voicemail


class Homeserver(Section):
    """The homeserver that the bridge is registered with."""

    address: str = Field(
        "http://127.0.0.1:8008", description="Where the bridge reaches the homeserver's client API."
    )
    domain: str = Field("example.org", description="The homeserver's name, as in Matrix ids.")


class AppService(Section):
    """How the homeserver reaches the bridge, and who the bridge is there."""

    id: str = Field("matrix-sip", description="The registration's id.")
    address: str = Field(
        "http://127.0.0.1:29330", description="Where the homeserver reaches the bridge."
    )
    listen: IPv4Address | IPv6Address = Field(
        IPv4Address("127.0.0.1"), description="Address to listen on for the homeserver."
    )
    port: Port = Field(29330, description="Port to listen on for the homeserver.")
    bot_localpart: str = Field("sipbot", description="Localpart of the bridge's own bot.")
    ghost_prefix: str = Field(
        "sip_", description="Localparts of ghosts start with this; the rest encodes the address."
    )
    as_token: SecretStr = Field(
        SecretStr(""), description="Token by which the bridge proves itself to the homeserver."
    )
    hs_token: SecretStr = Field(
        SecretStr(""), description="Token by which the homeserver proves itself to the bridge."
    )


class Database(Section):
    """Where portals, seen events and call records are kept."""

    url: SecretStr = Field(
        SecretStr("sqlite:matrix-sip.db"),
        description="sqlite:FILE (relative to the config file) or postgresql://user:password@host/db.",
    )
    secret_key: SecretStr = Field(
        SecretStr(""),
        description="Secrets in the database (the keys of encrypted rooms, passwords of SIP "
        "accounts) are sealed with this. Keep a copy: without it they are lost.",
    )


class EncryptionMode(StrEnum):
    """What becomes of encrypted rooms, and of those that are not."""

    OFF = "off"
    ALLOW = "allow"
    DEFAULT = "default"
    REQUIRE = "require"


class Encryption(Section):
    """Calls in end-to-end encrypted rooms; the homeserver has to support it (see the how-to)."""

    mode: Annotated[EncryptionMode, Off] = Field(
        EncryptionMode.ALLOW,
        description="off: no calls in encrypted rooms; allow: calls in both kinds of rooms; "
        "default: as allow, and rooms that the bridge makes are encrypted; require: calls in "
        "encrypted rooms alone.",
    )


class AutoJoin(StrEnum):
    """Whether the bridge accepts its own invitations for the people of its homeserver."""

    OFF = "off"
    AS_TOKEN = "as_token"


class Portals(Section):
    """The rooms in which people and telephone numbers meet."""

    auto_join: Annotated[AutoJoin, Off] = Field(
        AutoJoin.OFF,
        description="off: a person has to accept the invitation to a new room before it rings; "
        "as_token: the bridge accepts for people of its own homeserver, by people_token, and marks "
        "the room as a direct chat.",
    )
    people_token: SecretStr = Field(
        SecretStr(""),
        description="Token of the second registration (generate-registration --people), by which "
        "the bridge acts for people; wanted with auto_join: as_token.",
    )
    leave_unanswered_after: Seconds | None = Field(
        None,
        description="Seconds after the last call at which the bridge leaves the room of a caller "
        "to whom nobody ever talked, called back or wrote; empty: never.",
    )


class Permission(StrEnum):
    """What a person may do; each level includes those before it."""

    BLOCKED = "blocked"
    RECEIVE = "receive"
    CALL = "call"
    ADMIN = "admin"


class Notices(Section):
    """What ghosts write to people about their calls."""

    level: Literal["none", "errors", "all"] = Field(
        "errors",
        description="errors: why a call failed, and that one was missed; all: also how long a call "
        "lasted. What is wrong with a room is said in any case, once.",
    )
    timezone: str = Field(
        "",
        description="Time zone of the times in them, like Europe/Berlin; empty: the machine's.",
    )


class TurnServer(Section):
    """A STUN or TURN server."""

    url: str = Field(
        ..., description="stun:host:port, turn:host:port?transport=udp or turns:host:port."
    )
    username: str = Field("", description="User name for TURN.")
    password: SecretStr = Field(SecretStr(""), description="Password for TURN.")


PORTS_PER_WORKER = 16
"""The fewest that a media worker can do with."""


class Media(Section):
    """How audio travels."""

    listen: IPv4Address | IPv6Address | None = Field(
        None, description="Address for RTP and ICE; empty: every interface, loopback only if alone."
    )
    public_address: IPv4Address | IPv6Address | None = Field(
        None, description="Address to announce in SDP when behind 1:1 NAT."
    )
    rtp_ports: tuple[Port, Port] = Field(
        (30000, 34999),
        description="Range of UDP ports for audio and video, on both sides; a call takes three or "
        "more, and two more with video.",
    )
    workers: int | None = Field(
        None,
        ge=0,
        le=256,
        description="How many processes may carry audio, beside the one that signals; 0: none, it "
        "does both; empty: one for each core but one. They start when calls need them.",
    )
    opus_bitrate: int = Field(
        32000,
        ge=6000,
        le=128000,
        description="Bits per second of Opus that is made here: of a telephone's other codec, of "
        "greetings and of tones; less where the receiver asks for less (maxaveragebitrate). What "
        "is relayed stays as it is.",
    )
    ice_servers: tuple[TurnServer, ...] = Field(
        (),
        description="STUN and TURN servers.",
        examples=[{"url": "stun:stun.example.org:3478"}],
    )
    homeserver_turn: bool = Field(
        True, description="Use the TURN servers that the homeserver gives its users, too."
    )


class Shutdown(Section):
    """What becomes of calls when the bridge is told to stop (SIGTERM, SIGINT)."""

    drain: float = Field(
        60,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that calls may go on for, while new ones are refused; what is left is "
        "ended on both sides then, or at the second signal. 0: at once. Whoever stops the process "
        "has to wait 30 seconds longer (systemd: TimeoutStopSec, Docker: stop_grace_period).",
    )


class Records(Section):
    """How long calls are remembered."""

    keep_calls: Days = Field(
        365,
        description="Days after which the record of a call is deleted: who, when, how it ended; "
        "0: never.",
    )
    keep_ladders: Days = Field(
        30,
        description="Days after which what both sides of a call said is deleted; 0: with the "
        "record.",
    )


class Logging(Section):
    """What is written to the log, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level.")
    format: Literal["console", "json"] = Field("console", description="For people or for machines.")
    full_numbers: bool = Field(
        False, description="Write telephone numbers in full instead of their last two digits."
    )


class Web(Section):
    """The admin listener: health, metrics and the admin page."""

    listen: IPv4Address | IPv6Address = Field(
        IPv4Address("127.0.0.1"), description="Address to listen on."
    )
    port: Port = Field(29331, description="Port to listen on.")
    token: SecretStr = Field(
        SecretStr(""),
        description="Who has it may see the admin page: everybody's calls, and what was said in "
        "them. Empty: there is no page. From elsewhere it wants TLS: a reverse proxy.",
    )
    actions: bool = Field(
        False, description="Whether calls may be ended by the page; if not, it only shows."
    )


class Api(Section):
    """The API for programs, on the listener of `web`; there is none without a token."""

    read_token: SecretStr = Field(
        SecretStr(""),
        description="Programs that have it may read everything by the API: accounts, routes, "
        "permissions, everybody's calls, and what happens. Empty: only those with the other one.",
    )
    write_token: SecretStr = Field(
        SecretStr(""),
        description="Programs that have it may change all that, too, and start and end calls. "
        "Empty: nobody. From elsewhere it wants TLS: a reverse proxy.",
    )


class Config(Section):
    """Everything that can be set."""

    homeserver: Homeserver = Field(default_factory=Homeserver)
    appservice: AppService = Field(default_factory=AppService)
    database: Database = Field(default_factory=Database)
    encryption: Encryption = Field(default_factory=Encryption)
    portals: Portals = Field(default_factory=Portals)
    permissions: dict[str, Permission] = Field(
        default_factory=dict,
        description="Who may do what, by Matrix id, server name or *; the most exact entry counts. "
        "blocked: nothing; receive: be called; call: make calls; admin: see and end everybody's "
        "calls through the bot. Each includes those before it. Empty: nobody.",
        examples=[
            {"example.org": "receive", "@person:example.org": "call", "@chief:example.org": "admin"}
        ],
    )
    sip: Sip = Field(default_factory=Sip)
    trunks: dict[str, Trunk] = Field(
        default_factory=dict,
        description="SIP peers by name.",
        examples=[
            {
                "provider": {
                    "server": "sip.example.com",
                    "register": True,
                    "username": "alice",
                    "password": "from your provider",
                    "callers": ["+12025550101"],
                }
            }
        ],
    )
    accounts: Accounts = Field(default_factory=Accounts)
    outbound: tuple[OutboundRule, ...] = Field(
        (),
        description="Where calls from Matrix go.",
        examples=[{"trunk": "provider"}],
    )
    inbound: tuple[InboundRule, ...] = Field(
        (),
        description="Where calls from SIP go.",
        examples=[{"person": "@person:example.org"}],
    )
    callers: dict[str, Caller] = Field(
        default_factory=dict,
        description="As whom people call, by Matrix id (* in it stands for anything), server name "
        "or *: the entry for the very person, or else the first that means them. Others show the "
        "trunk's caller_id.",
        examples=[
            {"@person:example.org": {"numbers": ["+12025550101"], "name": "Pat Person"}},
        ],
    )
    numbers: Numbers = Field(default_factory=Numbers)
    limits: Limits = Field(default_factory=Limits)
    notices: Notices = Field(default_factory=Notices)
    voicemail: Voicemail = Field(default_factory=Voicemail)
    media: Media = Field(default_factory=Media)
    shutdown: Shutdown = Field(default_factory=Shutdown)
    records: Records = Field(default_factory=Records)
    logging: Logging = Field(default_factory=Logging)
    web: Web = Field(default_factory=Web)
    api: Api = Field(default_factory=Api)
