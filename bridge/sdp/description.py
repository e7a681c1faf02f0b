# SPDX-License-Identifier: GPL-3.0-or-later
"""Session descriptions (RFC 8866), with what RTP, ICE, DTLS-SRTP and SDES add, as values."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Family = Literal["IP4", "IP6"]

UNSPECIFIED_ADDRESSES = frozenset({"0.0.0.0", "::"})


class MediaDirection(Enum):
    """Who sends, seen by the one whose description it is in (RFC 3264 section 5.1)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> "MediaDirection":
        """The direction of one who sends and receives, or does not."""
        if sends:
            return cls.SENDRECV if receives else cls.SENDONLY
        return cls.RECVONLY if receives else cls.INACTIVE

    @property
    def sends(self) -> bool:
        """Whether the describer wants to send."""
        return self in (MediaDirection.SENDRECV, MediaDirection.SENDONLY)

    @property
    def receives(self) -> bool:
        """Whether the describer wants to receive."""
        return self in (MediaDirection.SENDRECV, MediaDirection.RECVONLY)

    @property
    def reversed(self) -> "MediaDirection":
        """The same flows, seen by the other side."""
        return MediaDirection.of(sends=self.receives, receives=self.sends)

    def __and__(self, other: "MediaDirection") -> "MediaDirection":
        """The flows that both directions have."""
        return MediaDirection.of(
            sends=self.sends and other.sends, receives=self.receives and other.receives
        )


class Setup(Enum):
    """Who opens the DTLS association (RFC 4145 section 4, RFC 5763 section 5)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"
    HOLDCONN = "holdconn"


@dataclass(frozen=True, slots=True)
class Connection:
    """A `c=` line: an address of the Internet. A multicast suffix stays part of the address."""

    address: str
    family: Family = "IP4"

    @property
    def unspecified(self) -> bool:
        """Whether the address is 0.0.0.0 or ::."""
        return self.address in UNSPECIFIED_ADDRESSES

    def __str__(self) -> str:
        return f"IN {self.family} {self.address}"


@dataclass(frozen=True, slots=True)
class Origin:
    """An `o=` line. Identifier and version are numbers by the RFC, but peers differ: text."""

    session_id: str
    session_version: str
    address: str = "0.0.0.0"
    family: Family = "IP4"
    username: str = "-"

    def __str__(self) -> str:
        return (
            f"{self.username} {self.session_id} {self.session_version} "
            f"IN {self.family} {self.address}"
        )


@dataclass(frozen=True, slots=True)
class Attribute:
    """An `a=` line without a field of its own. `value` is None for a flag."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class RtpMap:
    """`a=rtpmap`: what a payload type stands for. `clock` in Hz."""

    payload_type: int
    name: str
    clock: int
    channels: int = 1

    def __str__(self) -> str:
        channels = f"/{self.channels}" if self.channels != 1 else ""
        return f"{self.payload_type} {self.name}/{self.clock}{channels}"


@dataclass(frozen=True, slots=True)
class Fmtp:
    """`a=fmtp`: parameters of one format, as written."""

    format: str
    parameters: str

    def __str__(self) -> str:
        return f"{self.format} {self.parameters}"


@dataclass(frozen=True, slots=True)
class Feedback:
    """`a=rtcp-fb`: feedback that the describer gives and takes (RFC 4585 section 4.2)."""

    payload_type: int | None
    """None: every one of the section."""
    value: str
    """`nack pli`, `ccm fir`, …"""

    def __str__(self) -> str:
        return f"{'*' if self.payload_type is None else self.payload_type} {self.value}"


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """A `b=` line: `AS` in kilobits per second with all headers, `TIAS` (RFC 3890) in bits."""

    modifier: str
    value: int

    def __str__(self) -> str:
        return f"{self.modifier}:{self.value}"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`a=fingerprint`: hash of the DTLS certificate (RFC 8122)."""

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.value}"


@dataclass(frozen=True, slots=True)
class Rtcp:
    """`a=rtcp`: where RTCP goes when not to the port above RTP's (RFC 3605)."""

    port: int
    connection: Connection | None = None

    def __str__(self) -> str:
        return f"{self.port} {self.connection}" if self.connection else str(self.port)


@dataclass(frozen=True, slots=True)
class Crypto:
    """`a=crypto`: an SDES key (RFC 4568). `key` is a secret and stays out of the repr."""

    tag: int
    suite: str
    key: str
    session_parameters: str = ""

    def __repr__(self) -> str:
        return f"Crypto(tag={self.tag}, suite={self.suite!r})"

    def __str__(self) -> str:
        return f"{self.tag} {self.suite} {self.key} {self.session_parameters}".rstrip()


@dataclass(frozen=True, slots=True)
class SourceAttribute:
    """`a=ssrc`: an attribute of one RTP source (RFC 5576)."""

    ssrc: int
    attribute: str
    value: str | None = None

    def __str__(self) -> str:
        return f"{self.ssrc} {Attribute(self.attribute, self.value)}"


@dataclass(frozen=True, slots=True)
class Group:
    """`a=group` (RFC 5888), such as BUNDLE."""

    semantics: str
    mids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.semantics, *self.mids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An `m=` section.

    What the session level says for all sections (connection, direction, ICE and DTLS parameters)
    is here already, in every section that does not say otherwise.
    """

    kind: str
    """`audio`, `video`, `application`, `image`, …"""
    port: int
    protocol: str
    """`RTP/AVP`, `UDP/TLS/RTP/SAVPF`, …"""
    formats: tuple[str, ...]
    """Payload types, best first, where the protocol is RTP."""
    connection: Connection | None = None
    bandwidths: tuple[Bandwidth, ...] = ()
    direction: MediaDirection = MediaDirection.SENDRECV
    rtpmaps: tuple[RtpMap, ...] = ()
    fmtps: tuple[Fmtp, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    ptime: int | None = None
    """Milliseconds of audio wanted in a packet."""
    maxptime: int | None = None
    """Milliseconds of audio accepted in a packet."""
    mid: str | None = None
    bundle_only: bool = False
    rtcp: Rtcp | None = None
    rtcp_mux: bool = False
    ice_ufrag: str | None = None
    ice_pwd: str | None = None
    ice_options: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    """As after `a=candidate:`."""
    end_of_candidates: bool = False
    fingerprints: tuple[Fingerprint, ...] = ()
    setup: Setup | None = None
    crypto: tuple[Crypto, ...] = ()
    msids: tuple[str, ...] = ()
    """`stream track` or `stream`."""
    sources: tuple[SourceAttribute, ...] = ()
    extmaps: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    """Every other attribute, in order."""

    @property
    def declined(self) -> bool:
        """Whether the section is refused or disabled (RFC 3264 section 6, RFC 9143 section 6)."""
        return self.port == 0 and not self.bundle_only

    @property
    def active_direction(self) -> MediaDirection:
        """The direction, with the old way to hold counted in: an unspecified address.

        (RFC 3264 section 8.4.) With ICE that address means only that candidates will follow, and
        a bundled section may leave all of ICE to another one.
        """
        old_hold = (
            self.ice_ufrag is None
            and "TLS" not in self.protocol
            and self.connection is not None
            and self.connection.unspecified
        )
        return self.direction & MediaDirection.SENDONLY if old_hold else self.direction

    @property
    def rtcp_address(self) -> tuple[str, int] | None:
        """Where the describer wants RTCP unless multiplexed; None where it gave no address."""
        connection = self.rtcp.connection if self.rtcp and self.rtcp.connection else self.connection
        if connection is None:
            return None
        return connection.address, self.rtcp.port if self.rtcp else self.port + 1

    @property
    def bit_rate(self) -> int | None:
        """Bits per second that the describer lets its peer send; None where it does not say."""
        said = {line.modifier: line.value for line in self.bandwidths}
        return said.get("TIAS", said["AS"] * 1000 if "AS" in said else None)

    def parameters(self, payload_type: int) -> str:
        """The parameters (`a=fmtp`) of a payload type; empty where there are none."""
        return next((f.parameters for f in self.fmtps if f.format == str(payload_type)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    """A whole session description; `str()` is its text."""

    origin: Origin
    name: str = "-"
    connection: Connection | None = None
    ice_lite: bool = False
    groups: tuple[Group, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    """Every other attribute of the session level, in order."""
    media: tuple[Media, ...] = ()

    def bundle(self) -> tuple[str, ...]:
        """Identifiers of the sections that share the first one's transport (RFC 9143)."""
        return next((group.mids for group in self.groups if group.semantics == "BUNDLE"), ())

    def __str__(self) -> str:
        return "".join(f"{line}\r\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield "v=0"
        yield f"o={self.origin}"
        yield f"s={self.name}"
        if self.connection:
            yield f"c={self.connection}"
        yield "t=0 0"
        if self.ice_lite:
            yield "a=ice-lite"
        yield from (f"a=group:{group}" for group in self.groups)
        yield from (f"a={attribute}" for attribute in self.attributes)
        for media in self.media:
            yield from _media_lines(media, self.connection)


def _media_lines(media: Media, inherited: Connection | None) -> Iterator[str]:
    yield f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}"
    if media.connection and media.connection != inherited:
        yield f"c={media.connection}"
    yield from (f"b={line}" for line in media.bandwidths)
    yield from (f"a={attribute}" for attribute in _transport_attributes(media))
    yield from (f"a=extmap:{value}" for value in media.extmaps)
    yield f"a={media.direction.value}"
    yield from (f"a=msid:{value}" for value in media.msids)
    yield from (f"a=rtpmap:{value}" for value in media.rtpmaps)
    yield from (f"a=fmtp:{value}" for value in media.fmtps)
    yield from (f"a=rtcp-fb:{value}" for value in media.feedback)
    if media.ptime is not None:
        yield f"a=ptime:{media.ptime}"
    if media.maxptime is not None:
        yield f"a=maxptime:{media.maxptime}"
    yield from (f"a=ssrc:{value}" for value in media.sources)
    yield from (f"a={attribute}" for attribute in media.attributes)


def _transport_attributes(media: Media) -> Iterator[str]:
    if media.mid is not None:
        yield f"mid:{media.mid}"
    if media.bundle_only:
        yield "bundle-only"
    if media.rtcp:
        yield f"rtcp:{media.rtcp}"
    if media.rtcp_mux:
        yield "rtcp-mux"
    if media.ice_ufrag is not None:
        yield f"ice-ufrag:{media.ice_ufrag}"
    if media.ice_pwd is not None:
        yield f"ice-pwd:{media.ice_pwd}"
    if media.ice_options:
        yield f"ice-options:{' '.join(media.ice_options)}"
    yield from (f"candidate:{value}" for value in media.candidates)
    if media.end_of_candidates:
        yield "end-of-candidates"
    yield from (f"fingerprint:{value}" for value in media.fingerprints)
    if media.setup:
        yield f"setup:{media.setup.value}"
    yield from (f"crypto:{value}" for value in media.crypto)
