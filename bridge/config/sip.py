# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the SIP side: listeners, trunks, and people's own accounts."""

import warnings
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from bridge.config.base import NumberStyle, Off, Port, Seconds, Section, Transport
from bridge.config.bounds import Bounds

# Pydantic takes `Trunk.register` for an override of `ABCMeta.register`, which models never use.
warnings.filterwarnings("ignore", message='Field name "register" in "Trunk" shadows')


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
    strangers: Literal["reject", "drop"] = Field(
        "reject",
        description="What becomes of requests from anyone but a trunk or an account: answered with "
        "403 (reject), or not at all (drop), as if nothing listened.",
    )
    log_messages: bool = Field(
        False, description="Write whole SIP messages to the log (they contain numbers)."
    )
    nameservers: tuple[str, ...] = Field(
        (),
        description="DNS servers to ask where the trunks' servers are, as address or address:port; "
        "empty: the system's.",
    )


class TrunkTls(Section):
    """TLS with one trunk's server; what is left out is for sip.transports to say."""

    server_name: str = Field(
        "",
        description="Name that the server's certificate has to be for; empty: that in server, "
        "wherever SRV records lead.",
    )
    ca_list: Path | None = Field(
        None, description="Certificate authorities to trust for this trunk (PEM)."
    )
    certificate: Path | None = Field(
        None, description="Certificate chain that we show, if the server asks for one (PEM)."
    )
    private_key: Path | None = Field(None, description="Its private key (PEM).")
    verify: bool | None = Field(
        None, description="Whether the server's certificate has to be valid, and for its name."
    )


class Trunk(Section):
    """A SIP peer: a provider or a PBX."""

    server: str = Field(
        ...,
        description="Host name or address, with :port if it is not the default. Without a port, a "
        "name is looked up by its SRV records, too.",
    )
    transport: Literal["udp", "tcp", "tls", "auto"] = Field(
        "udp", description="Transport to reach it by; auto: as NAPTR and SRV records say, else udp."
    )
    outbound_proxy: tuple[str, ...] = Field(
        (),
        description="Proxies to send everything through, as host or host:port; the first one is "
        "sent to, all of them are named in Route.",
    )
    tls: TrunkTls = Field(TrunkTls(), description="TLS with this trunk.")
    answer_within: Seconds = Field(
        4.0,
        description="Seconds that a server gets for any answer at all; then the next of its "
        "servers is tried, and after the last one the call fails.",
    )
    probe_interval: Seconds | None = Field(
        None,
        description="Seconds between OPTIONS that tell whether a trunk without registration is "
        "there; empty: none are sent, and it is taken to be.",
    )
    nat: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether Contact becomes the address that the registrar saw us at; auto: not "
        "if that is private and only its port differs, or we and the registrar are public; always "
        "over TLS to a name.",
    )
    keep_alive: int = Field(
        15,
        ge=0,
        le=3600,
        description="Seconds between packets that keep a NAT's mapping open while registered; 0: "
        "none. Over TCP and TLS, the shortest of all trunks' counts for every connection.",
    )
    register: bool = Field(False, description="Register with the server (needs username).")
    username: str = Field("", description="User part of our address there, and of digest replies.")
    auth_username: str = Field("", description="User name for digest, where it differs.")
    password: SecretStr = Field(SecretStr(""), description="Password for digest.")
    domain: str = Field("", description="Domain of our address there; empty: the server's.")
    registration_interval: int = Field(
        300, ge=30, le=86400, description="Seconds asked for in REGISTER."
    )
    caller_id: str = Field(
        "", description="Number shown on outgoing calls; empty: username, by From alone."
    )
    callers: tuple[str, ...] = Field(
        (),
        description="Numbers that people may show by this trunk instead: in full, with * at the "
        "end a prefix, *: any, or a pattern after _ (see inbound.number). Who has which: callers.",
    )
    caller_format: NumberStyle = Field(
        "e164", description="How the number shown is written; as outbound.format."
    )
    identity: tuple[
        Literal["from", "p_asserted_identity", "p_preferred_identity", "remote_party_id"], ...
    ] = Field(
        ("from", "p_asserted_identity"),
        description="Headers that carry the number shown. Without from, From is username, as some "
        "providers want it.",
    )
    from_domain: str = Field("", description="Domain of From on outgoing calls; empty: domain.")
    withhold: bool = Field(
        False,
        description="Call without showing a number (Privacy: id), unless callers, the person or a "
        "code in front of the number says otherwise.",
    )
    anonymous_from: bool = Field(
        True,
        description="Whether From is anonymous then, too (RFC 3323); false: it is username, as "
        "some providers want it.",
    )
    peers: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Networks that INVITEs of this trunk come from, besides the server itself."
    )
    codecs: tuple[Literal["opus", "G722", "PCMU", "PCMA"], ...] = Field(
        ("opus", "G722", "PCMA", "PCMU"), description="Audio codecs offered, best first."
    )
    video: Annotated[Literal["off", "relay"], Off] = Field(
        "off",
        description="off: video is declined, and the call has its audio alone; relay: it passes as "
        "it is, where telephone and client share VP8 or H.264, at whatever bandwidth they use.",
    )
    trust_identity: bool = Field(
        True,
        description="Whether P-Asserted-Identity and Remote-Party-ID say who calls, rather than "
        "From; a provider checks them, a telephone may not.",
    )
    early_media: Literal["ignore", "connect"] = Field(
        "ignore", description="Whether audio before the answer (183) is let through."
    )
    calls_per_second: float = Field(
        20.0,
        gt=0,
        allow_inf_nan=False,
        description="Calls that the trunk may place within a second, twice as many at once; more "
        "are answered with 503, so that a PBX that calls in circles stops nobody else.",
    )
    redirects: Literal["follow", "refuse"] = Field(
        "follow",
        description="Whether a call that the trunk points elsewhere (300 to 399) is placed there, "
        "if the person might call that address themselves.",
    )
    reliable_provisionals: Literal["if_required", "if_supported", "required"] = Field(
        "if_required",
        description="When ringing (180, 183) is acknowledged (PRACK, RFC 3262): if a caller "
        "requires it, if a caller supports it, or always, requiring it ourselves when we call. "
        "Those that we call may always have it.",
    )
    session_timers: Literal["off", "supported", "required", "always"] = Field(
        "supported",
        description="Whether calls are refreshed, so that none outlives a lost peer (RFC 4028): "
        "never, if the peer has it too, only with peers that have it (421 to others), or even with "
        "peers that have not.",
    )
    session_interval: int = Field(
        1800, ge=90, le=86400, description="Seconds within which a call is refreshed."
    )
    session_interval_min: int = Field(
        90, ge=90, le=86400, description="Shortest such interval that a peer may ask for."
    )
    srtp: Annotated[Literal["off", "optional", "required"], Off] = Field(
        "off",
        description="Encryption of the audio, with keys by SIP (SDES). optional: where the other "
        "side can; required: or there is no call, and SIP itself has to come and go by tls.",
    )
    dtmf: Literal["auto", "rfc4733", "dtmf-relay", "dtmf"] = Field(
        "auto",
        description="How pressed keys are sent. rfc4733: within the audio; dtmf-relay, dtmf: by "
        "SIP INFO with that body; auto: within the audio where the other side can, else "
        "dtmf-relay.",
    )
    dialled_from: tuple[
        Literal["request_uri", "to", "p_called_party_id", "diversion", "history_info"], ...
    ] = Field(
        (),
        description="Where INVITEs say which number was dialled: of these, the first that names "
        "one. Empty: To where the trunk registers and calls come to its registration, else the "
        "Request-URI.",
    )
    transfers: Literal["accept", "refuse"] = Field(
        "accept",
        description="Whether the far end of a call may transfer the person, by REFER (RFC 3515) or "
        "Replaces (RFC 3891). The person has to be allowed to call whom they are transferred to.",
    )
    refer: bool = Field(
        True,
        description="Whether a call that the person transfers is handed over by REFER (RFC 3515), "
        "if the far end takes that. Else, the bridge connects the two telephones itself.",
    )
    limits: Bounds = Field(
        Bounds(), description="Bounds of all people's calls by this trunk together."
    )
    messages: bool = Field(
        False, description="Send what people write into portals as SIP MESSAGE (RFC 3428)."
    )
    mailbox_people: tuple[str, ...] = Field(
        (),
        description="Matrix ids of people whom the bot tells of voice messages in the account's "
        "mailbox (RFC 3842). The bridge asks the server for that, if it registers with it.",
    )
    mailbox_number: str = Field(
        "", description="What those people call to hear them; empty: what the server says."
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
    early_media: Literal["ignore", "connect"] = Field(
        "ignore", description="Whether audio before the answer is let through, as for trunks."
    )
    srtp: Annotated[Literal["off", "optional", "required"], Off] = Field(
        "off",
        description="Encryption of the audio, as for trunks; required: people can only have "
        "accounts that are reached by tls.",
    )
    dtmf: Literal["auto", "rfc4733", "dtmf-relay", "dtmf"] = Field(
        "auto", description="How pressed keys are sent, as for trunks."
    )
    video: Annotated[Literal["off", "relay"], Off] = Field(
        "off", description="Whether video is declined or passed on, as for trunks."
    )
    mailboxes: bool = Field(
        True,
        description="Ask those servers what waits in people's mailboxes (RFC 3842), which the bot "
        "tells them.",
    )
    mailbox_number: str = Field(
        "", description="What people call to hear it; empty: what the server says."
    )
