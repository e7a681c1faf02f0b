# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing session descriptions."""

import pytest

from bridge.errors import SdpError
from bridge.sdp.description import (
    Attribute,
    Connection,
    Crypto,
    Feedback,
    Fingerprint,
    Fmtp,
    Group,
    Media,
    MediaDirection,
    Origin,
    Rtcp,
    RtpMap,
    SessionDescription,
    Setup,
    SourceAttribute,
)
from bridge.sdp.parser import parse
from tests.sdp.samples import load, names, plain, text


@pytest.mark.parametrize("name", names())
def test_what_is_written_reads_the_same(name: str) -> None:
    description = load(name)
    written = str(description)
    assert parse(written) == description
    assert written.endswith("\r\n")
    assert "\n" not in written.replace("\r\n", "")


@pytest.mark.parametrize("name", names())
def test_no_attribute_is_lost(name: str) -> None:
    """Every attribute of a section is written again; only letters that say nothing of media go."""
    source = text(name).replace("\r\n", "\n")
    written = str(load(name)).split("\r\n")
    for line in source.split("\n"):
        if line.startswith("a=") and "rtpmap:9 G722/8000/1" not in line:
            assert line in written


def test_a_browsers_offer() -> None:
    description = load("chromium-offer")
    assert description.origin == Origin("6561302380238815743", "2", "127.0.0.1")
    assert description.groups == (Group("BUNDLE", ("0",)),)
    assert description.bundle() == ("0",)
    assert description.attributes[0] == Attribute("extmap-allow-mixed")
    (audio,) = description.media
    assert (audio.kind, audio.port, audio.protocol) == ("audio", 9, "UDP/TLS/RTP/SAVPF")
    assert audio.formats == ("111", "63", "9", "0", "8", "13", "110", "126")
    assert audio.connection == Connection("0.0.0.0")
    assert audio.rtcp == Rtcp(9, Connection("0.0.0.0"))
    assert audio.rtcp_mux
    assert audio.ice_ufrag == "bXyp"
    assert audio.ice_pwd == "F+aS66xGjmS1qqmE4EP4rkJ6"
    assert audio.ice_options == ("trickle",)
    assert audio.candidates == ()
    assert not audio.end_of_candidates
    assert audio.setup is Setup.ACTPASS
    assert audio.mid == "0"
    assert audio.direction is MediaDirection.SENDRECV
    assert audio.rtpmaps[0] == RtpMap(111, "opus", 48000, 2)
    assert audio.parameters(111) == "minptime=10;usedtx=1;useinbandfec=1"
    assert audio.parameters(0) == ""
    assert len(audio.extmaps) == 4
    assert audio.sources[0] == SourceAttribute(2796023017, "cname", "WDuwaMjKDDjvGEha")
    assert audio.msids == (
        "3a06a95c-f595-4cd7-8c34-e56d7fcf314a 0d71fad0-deaa-41af-a504-96892deb7792",
    )
    assert Feedback(111, "transport-cc") in audio.feedback


def test_what_the_session_says_holds_for_every_section() -> None:
    audio = load("firefox-offer").media[0]
    assert audio.fingerprints[0].value.startswith("6B:8B:F0")
    assert audio.ice_options == ("trickle",)
    assert audio.end_of_candidates
    assert load("asterisk-offer").media[0].connection == Connection("198.51.100.7")


def test_a_section_can_say_otherwise() -> None:
    description = parse(
        "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\na=inactive\n"
        "a=fingerprint:SHA-256 ab:cd\na=ice-lite\na=setup:passive\na=end-of-candidates\n"
        "m=audio 1 RTP/AVP 0\nc=IN IP4 192.0.2.2\nc=IN IP4 192.0.2.3\na=sendonly\na=bundle-only\n"
        "m=audio 2 RTP/AVP 0\na=fingerprint:sha-512 01:02\na=setup:active\n"
    )
    first, second = description.media
    assert description.ice_lite
    assert first.connection == Connection("192.0.2.2")
    assert first.direction is MediaDirection.SENDONLY
    assert first.fingerprints == (Fingerprint("sha-256", "AB:CD"),)
    assert first.setup is Setup.PASSIVE
    assert first.bundle_only
    assert second.connection == Connection("192.0.2.1")
    assert second.direction is MediaDirection.INACTIVE
    assert second.fingerprints[-1] == Fingerprint("sha-512", "01:02")
    assert second.setup is Setup.ACTIVE
    assert second.end_of_candidates
    assert parse(str(description)) == description


def test_a_provider_who_bends_the_rules() -> None:
    description = load("provider-offer")
    assert description.origin.username == "Session Border"
    assert description.origin.session_version == "7F12"
    assert description.name == "-"
    audio, fax = description.media
    assert audio.port == 35126
    assert audio.ptime == 30
    assert audio.maxptime is None
    assert Attribute("maxptime", "20.5") in audio.attributes
    assert fax.declined


def test_keys_of_sdes() -> None:
    audio = load("freeswitch-srtp-offer").media[0]
    key = "inline:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk|2^31|1:1"
    assert audio.crypto[0] == Crypto(1, "AES_CM_128_HMAC_SHA1_80", key)
    assert audio.crypto[1].session_parameters == "KDR=1 UNENCRYPTED_SRTCP"
    assert "inline" not in repr(audio)


def test_addresses_of_the_new_protocol() -> None:
    audio = load("ip6-offer").media[0]
    assert audio.connection == Connection("2001:db8::5", "IP6")
    assert audio.rtcp_address == ("2001:db8::6", 4009)


def test_where_rtcp_goes() -> None:
    assert load("sipp-offer").media[0].rtcp_address == ("127.0.0.1", 6001)
    assert load("rtpengine-offer").media[0].rtcp_address == ("203.0.113.9", 30043)
    assert Media(kind="audio", port=1, protocol="RTP/AVP", formats=("0",)).rtcp_address is None


def test_line_ends_and_blanks_are_forgiven() -> None:
    lines = ["", "v=0", "o=- 1 2 IN IP4 192.0.2.1 ", "s=", "", "t=0 0", "m=audio 5 RTP/AVP 0 \t"]
    expected = parse("\r\n".join(lines))
    assert expected.name == "-"
    assert expected.media[0].formats == ("0",)
    assert parse("\n".join(lines)) == expected
    assert parse("\r".join(lines) + "\r\r") == expected


def test_unknown_lines_are_ignored() -> None:
    assert plain(
        "0", "i=label", "b=CT:64", "b=AS:much", "k=clear:secret", "s=late", "y=?"
    ) == plain("0")


def test_hints_without_sense_are_kept_as_they_are() -> None:
    audio = plain("0", "a=ptime:x", "a=mid:", "a=fmtp:0", "a=ptime:20", "a=ptime:30", "a=mid:1")
    assert audio.media[0].ptime == 20
    assert audio.media[0].mid == "1"
    assert audio.media[0].attributes == (
        Attribute("ptime", "x"),
        Attribute("mid", ""),
        Attribute("fmtp", "0"),
        Attribute("ptime", "30"),
    )
    assert parse(str(audio)) == audio


def test_empty_lists_are_kept_as_they_are() -> None:
    audio = plain("0", "a=candidate:", "a=msid:", "a=rtpmap:100 L16/8000/0", "a=ssrc:1 flag")
    assert audio.media[0].candidates == ()
    assert audio.media[0].rtpmaps[-1] == RtpMap(100, "L16", 8000)
    assert audio.media[0].sources == (SourceAttribute(1, "flag"),)
    assert parse(str(audio)) == audio


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("x", "not of the form"),
        ("c=IN IP4", "wants <net type>"),
        ("c=ATM NSAP 47.0091", "IN IP4 or IN IP6"),
        ("c=IN IP5 1.2.3.4", "IN IP4 or IN IP6"),
        ("o=- 1 IN IP4 192.0.2.1", "wants <user>"),
        ("m=audio 0 RTP/AVP", "wants <media>"),
        ("m=audio 65536 RTP/AVP 0", "0 to 65535"),
        ("m=audio 4x RTP/AVP 0", "0 to 65535"),
        ("m=audio ٣ RTP/AVP 0", "0 to 65535"),
        ("m=audio 00000000000000001 RTP/AVP 0", "0 to 65535"),
        ("a=rtpmap:0", "wants <payload type>"),
        ("a=rtpmap:0 PCMU", "<clock>"),
        ("a=rtpmap:0 /8000", "<clock>"),
        ("a=rtpmap:0 PCMU/8000/1/1", "<clock>"),
        ("a=rtpmap:128 PCMU/8000", "the payload type must be a number from 0 to 127"),
        ("a=rtpmap:0 PCMU/fast", "the clock rate"),
        ("a=rtpmap:0 PCMU/8000/many", "the number of channels"),
        ("a=rtcp:", "wants <port>"),
        ("a=rtcp:9 IN", "wants <net type>"),
        ("a=fingerprint:sha-256", "wants <hash function>"),
        ("a=setup:maybe", "wants active, passive, actpass"),
        ("a=crypto:1 AES_CM_128_HMAC_SHA1_80", "wants <tag>"),
        ("a=crypto:x AES inline:abc", "the tag"),
        ("a=ssrc:1", "wants <ssrc>"),
        ("a=ssrc:4294967296 cname:x", "the source"),
    ],
)
def test_errors_name_the_line_and_say_why(line: str, why: str) -> None:
    with pytest.raises(SdpError) as caught:
        plain("0", line)
    assert str(caught.value).startswith("SDP line 8 (")
    assert why in str(caught.value)


def test_a_group_without_semantics() -> None:
    with pytest.raises(SdpError, match="wants <semantics>"):
        parse("v=0\no=- 1 1 IN IP4 192.0.2.1\na=group:\n")


def test_errors_do_not_tell_secrets() -> None:
    with pytest.raises(SdpError) as caught:
        plain("0", "a=crypto:x AES inline:c2VjcmV0")
    assert "c2VjcmV0" not in str(caught.value)


def test_errors_stay_short() -> None:
    with pytest.raises(SdpError) as caught:
        plain("0", "x" * 5000)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("nothing", ["", "\r\n", "hello", "o=- 1 1 IN IP4 192.0.2.1", "v=1"])
def test_what_is_no_session_description(nothing: str) -> None:
    with pytest.raises(SdpError):
        parse(nothing)


def test_an_origin_is_wanted() -> None:
    with pytest.raises(SdpError, match="o= line"):
        parse("v=0\ns=-\nt=0 0\n")


def test_formats_of_other_protocols_pass() -> None:
    description = plain("0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000")
    assert description.media[1].formats == ("webrtc-datachannel",)
    assert description.media[1].fmtps == ()


def test_writing_puts_an_address_where_it_differs() -> None:
    shared = Connection("192.0.2.1")
    audio = Media(kind="audio", port=1, protocol="RTP/AVP", formats=("0",), connection=shared)
    video = Media(kind="video", port=0, protocol="RTP/AVP", formats=("31",), maxptime=40)
    origin = Origin("1", "1", "192.0.2.1")
    both = SessionDescription(origin=origin, connection=shared, media=(audio, video))
    assert str(both).count("c=IN IP4") == 1
    alone = SessionDescription(origin=origin, media=(audio, video))
    assert str(alone).split("\r\n") == [
        "v=0",
        "o=- 1 1 IN IP4 192.0.2.1",
        "s=-",
        "t=0 0",
        "m=audio 1 RTP/AVP 0",
        "c=IN IP4 192.0.2.1",
        "a=sendrecv",
        "m=video 0 RTP/AVP 31",
        "a=sendrecv",
        "a=maxptime:40",
        "",
    ]


def test_parameters_of_a_format() -> None:
    audio = plain("8 101", "a=fmtp:101  0-15,  66").media[0]
    assert audio.fmtps == (Fmtp("101", "0-15,  66"),)


def test_directions() -> None:
    both, out, into, none = MediaDirection
    assert [d.reversed for d in (both, out, into, none)] == [both, into, out, none]
    assert out & into is none
    assert both & out is out
    assert both & into is into
    assert [d.sends for d in MediaDirection] == [True, True, False, False]
    assert [d.receives for d in MediaDirection] == [True, False, True, False]
