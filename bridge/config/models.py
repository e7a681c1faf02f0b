# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed settings. The models below are the reference: names, defaults, bounds and descriptions.

The commented example file and the reference page are generated from them.
"""

import warnings
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

# Pydantic takes `Trunk.register` for an override of `ABCMeta.register`, which models never use.
warnings.filterwarnings("ignore", message='Field name "register" in "Trunk" shadows')

Transport = Literal["udp", "tcp", "tls"]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


def _off(value: Any) -> Any:
    """YAML takes a bare `off` for false."""
    return EncryptionMode.OFF if value is False else value


class Encryption(Section):
    """Calls in end-to-end encrypted rooms; the homeserver has to support it (see the how-to)."""

    mode: Annotated[EncryptionMode, BeforeValidator(_off)] = Field(
        EncryptionMode.ALLOW,
        description="off: no calls in encrypted rooms; allow: calls in both kinds of rooms; "
        "default: as allow, and rooms that the bridge makes are encrypted; require: calls in "
        "encrypted rooms alone.",
    )


class AutoJoin(StrEnum):
    """Whether the bridge accepts its own invitations for the people of its homeserver."""

    OFF = "off"
    AS_TOKEN = "as_token"


def _never(value: Any) -> Any:
    """YAML takes a bare `off` for false."""
    return AutoJoin.OFF if value is False else value


class Portals(Section):
    """The rooms in which people and telephone numbers meet."""

    auto_join: Annotated[AutoJoin, BeforeValidator(_never)] = Field(
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


class SipTransport(Section):
    """A listener for SIP."""

    protocol: Literal["udp", "tcp", "tls"] = Field("udp", description="Transport protocol.")
    listen: IPv4Address | IPv6Address = Field(
        IPv4Address("0.0.0.0"), description="Address to listen on."
    )
    port: Port = Field(5060, description="Port to listen on (5061 is usual for tls).")
    public_address: str | None = Field(
        None, description="Address to put into Via and Contact when behind 1:1 NAT."
    )
    certificate: Path | None = Field(
        None,
        description="TLS: certificate chain (PEM). Without one, the bridge can only connect to "
        "others, which is enough for a trunk that registers.",
    )
    private_key: Path | None = Field(None, description="TLS: private key (PEM).")
    ca_list: Path | None = Field(None, description="TLS: certificate authorities to trust (PEM).")
    verify: bool = Field(True, description="TLS: verify the certificates of servers called.")


class Sip(Section):
    """The SIP endpoint."""

    transports: tuple[SipTransport, ...] = Field(
        (SipTransport(),), description="Listeners; at least one."
    )
    user_agent: str = Field("matrix-sip", description="User-Agent and Server header.")
    max_calls: int = Field(1000, ge=1, le=1024, description="Simultaneous SIP legs at most.")
    log_messages: bool = Field(
        False, description="Write whole SIP messages to the log (they contain numbers)."
    )


class Trunk(Section):
    """A SIP peer: a provider or a PBX."""

    server: str = Field(
        ..., description="Host name or address, with :port if it is not the default."
    )
    transport: Literal["udp", "tcp", "tls"] = Field("udp", description="Transport to reach it by.")
    register: bool = Field(False, description="Register with the server (needs username).")
    username: str = Field("", description="User part of our address there, and of digest replies.")
    auth_username: str = Field("", description="User name for digest, where it differs.")
    password: SecretStr = Field(SecretStr(""), description="Password for digest.")
    domain: str = Field("", description="Domain of our address there; empty: the server's.")
    registration_interval: int = Field(
        300, ge=30, le=86400, description="Seconds asked for in REGISTER."
    )
    caller_id: str = Field("", description="User part of From on outgoing calls; empty: username.")
    peers: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Networks that INVITEs of this trunk come from, besides the server itself."
    )
    codecs: tuple[Literal["opus", "G722", "PCMU", "PCMA"], ...] = Field(
        ("opus", "G722", "PCMA", "PCMU"), description="Audio codecs offered, best first."
    )
    trust_identity: bool = Field(
        True,
        description="Whether P-Asserted-Identity and Remote-Party-ID say who calls, rather than "
        "From; a provider checks them, a telephone may not.",
    )
    early_media: Literal["ignore", "connect"] = Field(
        "ignore", description="Whether audio before the answer (183) is let through."
    )
    messages: bool = Field(
        False, description="Send what people write into portals as SIP MESSAGE (RFC 3428)."
    )


class Accounts(Section):
    """SIP accounts that people have of their own, and log in to with the bot."""

    servers: tuple[str, ...] = Field(
        (),
        description="Servers, without port, that people may have accounts with; '*' is any, and "
        "lets people have the bridge connect to every address it can reach. Empty: none.",
        examples=["sip.example.com"],
    )
    transport: Transport = Field(
        "udp", description="Transport to reach those servers by, where a person names none."
    )


class OutboundRule(Section):
    """Which trunk carries a number. Rules are tried in order; the first that matches wins."""

    prefix: str = Field(
        "",
        description="The number in E.164 starts with this (+1, or + for any); empty: all numbers, "
        "also extensions.",
    )
    sip_domain: str | None = Field(
        None, description="Matches SIP addresses of this domain instead of numbers; * for any."
    )
    trunk: str = Field(..., description="Name of the trunk.")
    strip: int = Field(0, ge=0, description="Digits to take off the front (+ does not count).")
    prepend: str = Field("", description="What to put in front afterwards.")
    keep_plus: bool = Field(True, description="Whether numbers keep their leading +.")


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


class Numbers(Section):
    """How telephone numbers are read and shown."""

    region: str = Field(
        "US",
        pattern="^[A-Z]{2}$",
        description="Country (ISO 3166) that national numbers belong to.",
    )
    forbidden_prefixes: tuple[str, ...] = Field(
        (), description="E.164 prefixes that nobody may call."
    )
    outside_lines: tuple[str, ...] = Field(
        ("0", "9"),
        description="Digits by which a PBX gives an outside line: what follows them is checked, "
        "too, for emergency, premium and forbidden numbers. [] where no trunk is such a PBX.",
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
    max_duration: Seconds = Field(14400, description="Seconds after which a call is ended.")
    ring_time: Seconds = Field(60, description="Seconds that a call may ring.")


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
        description="Range of UDP ports for audio, on both sides; a call takes three or more.",
    )
    ice_servers: tuple[TurnServer, ...] = Field(
        (),
        description="STUN and TURN servers.",
        examples=[{"url": "stun:stun.example.org:3478"}],
    )


class Logging(Section):
    """What is written to the log, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level.")
    format: Literal["console", "json"] = Field("console", description="For people or for machines.")
    full_numbers: bool = Field(
        False, description="Write telephone numbers in full instead of their last two digits."
    )


class Web(Section):
    """The admin listener: health and metrics."""

    listen: IPv4Address | IPv6Address = Field(
        IPv4Address("127.0.0.1"), description="Address to listen on."
    )
    port: Port = Field(29331, description="Port to listen on.")


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
    numbers: Numbers = Field(default_factory=Numbers)
    limits: Limits = Field(default_factory=Limits)
    notices: Notices = Field(default_factory=Notices)
    media: Media = Field(default_factory=Media)
    logging: Logging = Field(default_factory=Logging)
    web: Web = Field(default_factory=Web)
