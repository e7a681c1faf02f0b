# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys in descriptions: which are usable, what is offered and answered, when they stay."""

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SdpError
from bridge.sdp.agreement import leg_media, sip_audio
from bridge.sdp.at_once import answer_at_once
from bridge.sdp.codecs import PCMA, TELEPHONE_EVENT, codecs_of
from bridge.sdp.description import Crypto, MediaDirection, SessionDescription
from bridge.sdp.ends import Exchange, LocalRtp
from bridge.sdp.negotiation import answer_to_sip, offer_to_sip
from bridge.sdp.parser import parse
from bridge.sdp.sdes import (
    KEY_LENGTHS,
    OFFERED,
    Encryption,
    EncryptionMismatch,
    Keys,
    crypto_line,
    key_of,
    only_fitting,
)
from tests.sdp.samples import LOCAL_RTP, load, plain

SUITE, SHORT = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
KEY = bytes(range(30))
MATRIX = load("chromium-offer")


def inline(key: bytes = KEY) -> str:
    """How a key is written."""
    return "inline:" + b64encode(key).decode()


def fresh(seed: int) -> tuple[Crypto, ...]:
    """A new key for every suite; each seed has its own."""
    return tuple(
        crypto_line(tag, suite, bytes((seed, tag)) * (length // 2))
        for tag, (suite, length) in enumerate(KEY_LENGTHS.items(), start=1)
    )


def ours(encryption: Encryption, seed: int = 1) -> LocalRtp:
    """Our end of a leg, with keys as they would be made."""
    return replace(
        LOCAL_RTP,
        encryption=encryption,
        crypto=() if encryption is Encryption.OFF else fresh(seed),
    )


def peer(
    *lines: Crypto, protocol: str = "RTP/SAVP", direction: str = "sendrecv"
) -> SessionDescription:
    """What a SIP peer says."""
    text = str(plain("8 101", *(f"a=crypto:{line}" for line in lines), f"a={direction}"))
    return parse(text.replace("RTP/AVP", protocol))


def line(tag: int = 1, suite: str = SUITE, seed: int = 7) -> Crypto:
    """A peer's line."""
    return crypto_line(tag, suite, bytes([seed]) * KEY_LENGTHS[suite])


# --- keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "parameters"),
    [
        (inline(), ""),
        (inline() + "|2^20", ""),
        (inline() + "|2^31", "WSH=128"),
        (inline() + "|1048576", "-x"),
        (inline(), "WSH=64 -OPTIONAL"),
    ],
)
def test_a_key_that_is_used(key: str, parameters: str) -> None:
    assert key_of(Crypto(1, SUITE, key, parameters)) == KEY


@pytest.mark.parametrize(
    ("suite", "key", "parameters"),
    [
        ("F8_128_HMAC_SHA1_80", inline(), ""),
        ("AES_256_CM_HMAC_SHA1_80", inline(), ""),
        ("AEAD_AES_128_GCM", inline(), ""),
        (SUITE, inline(KEY[:29]), ""),
        (SUITE, inline(KEY + b"x"), ""),
        (SUITE, "inline:a", ""),
        (SUITE, "inline:!!", ""),
        (SUITE, "uri:https://example.org/key", ""),
        (SUITE, inline() + "|2^19", ""),
        (SUITE, inline() + "|1048575", ""),
        (SUITE, inline() + "|2^20|1:4", ""),
        (SUITE, inline() + "|1:1", ""),
        (SUITE, f"{inline()}|2^20|1:4;{inline()}|2^20|2:4", ""),
        (SUITE, inline(), "UNENCRYPTED_SRTP"),
        (SUITE, inline(), "UNENCRYPTED_SRTCP"),
        (SUITE, inline(), "UNAUTHENTICATED_SRTP"),
        (SUITE, inline(), "WSH=64 KDR=1"),
        (SUITE, inline(), "FEC_ORDER=FEC_SRTP"),
        (SUITE, inline(), "something"),
    ],
)
def test_a_key_that_is_not_used(suite: str, key: str, parameters: str) -> None:
    assert key_of(Crypto(1, suite, key, parameters)) is None


def test_padding_may_be_left_out() -> None:
    suite = "AES_256_CM_HMAC_SHA1_80"
    key = bytes(range(46))
    assert inline(key).endswith("==")
    assert key_of(Crypto(1, suite, inline(key).rstrip("="))) == key


@given(st.sampled_from(sorted(KEY_LENGTHS)), st.data(), st.integers(0, 999_999_999))
def test_what_we_write_is_read(suite: str, data: st.DataObject, tag: int) -> None:
    length = KEY_LENGTHS[suite]
    key = data.draw(st.binary(min_size=length, max_size=length))
    written = crypto_line(tag, suite, key)
    read = sip_audio(peer(written)).crypto
    assert read == (written,)
    assert key_of(read[0]) == key


@given(st.text(max_size=80), st.text(max_size=30))
def test_no_key_is_too_strange(key: str, parameters: str) -> None:
    found = key_of(Crypto(1, SUITE, key, parameters))
    assert found is None or len(found) == 30


def test_keys_do_not_show() -> None:
    keys = Keys(SUITE, b"secret", b"secret")
    assert "secret" not in repr(keys)
    assert "secret" not in f"{keys}"


# --- which audio ----------------------------------------------------------------------------

SAVP, AVP = "RTP/SAVP", "RTP/AVP"


@pytest.mark.parametrize(
    ("offer", "off", "optional", "required"),
    [
        (peer(protocol=AVP), AVP, AVP, None),
        (peer(line()), None, SAVP, SAVP),
        (peer(line(), protocol=AVP), AVP, AVP, AVP),
        (peer(line(), protocol="RTP/SAVPF"), None, "RTP/SAVPF", "RTP/SAVPF"),
        (peer(), None, None, None),
        (peer(Crypto(1, "F8_128_HMAC_SHA1_80", inline())), None, None, None),
        (load("freeswitch-srtp-offer"), AVP, AVP, None),
    ],
    ids=["plain", "secure", "plain with keys", "feedback", "no keys", "unknown", "unusable"],
)
def test_what_is_agreed_on(
    offer: SessionDescription, off: str | None, optional: str | None, required: str | None
) -> None:
    for encryption, protocol in zip(Encryption, (off, optional, required), strict=True):
        if protocol is None:
            with pytest.raises(EncryptionMismatch):
                only_fitting(offer, encryption)
            continue
        chosen = only_fitting(offer, encryption)
        assert sip_audio(chosen).protocol == protocol
        answer = answer_to_sip(ours(encryption), chosen, PCMA, matrix=MATRIX)
        assert sip_audio(answer).protocol == protocol
        keys = leg_media(answer, chosen).keys
        secured = encryption is not Encryption.OFF and bool(sip_audio(chosen).crypto)
        assert (keys is not None) == secured


def test_of_audio_that_is_offered_twice_the_encrypted_one_is_taken() -> None:
    secure = peer(line())
    both = replace(secure, media=(*peer(protocol=AVP).media, *secure.media))
    assert [one.port for one in only_fitting(both, Encryption.OFF).media] == [4000, 0]
    for encryption in (Encryption.OPTIONAL, Encryption.REQUIRED):
        assert [one.port for one in only_fitting(both, encryption).media] == [0, 4000]


@pytest.mark.parametrize("encryption", Encryption)
def test_where_there_is_no_audio_that_is_said_elsewhere(encryption: Encryption) -> None:
    nothing = replace(peer(), media=())
    assert only_fitting(nothing, encryption) == nothing


# --- offers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encryption", "protocol"),
    [
        (Encryption.OFF, AVP),
        (Encryption.OPTIONAL, AVP),
        (Encryption.REQUIRED, SAVP),
    ],
)
def test_offers(encryption: Encryption, protocol: str) -> None:
    suites = tuple(OFFERED[encryption])
    audio = sip_audio(offer_to_sip(ours(encryption), (PCMA,)))
    assert audio.protocol == protocol
    assert tuple(one.suite for one in audio.crypto) == suites
    assert [one.tag for one in audio.crypto] == list(range(1, len(suites) + 1))


def test_the_tag_of_an_answer_says_which_key_counts() -> None:
    offer = offer_to_sip(ours(Encryption.OPTIONAL), (PCMA,))
    answer = peer(line(3, SHORT, seed=9), protocol=AVP)
    keys = leg_media(offer, answer).keys
    assert keys == Keys(SHORT, key_of(sip_audio(offer).crypto[2]) or b"", bytes([9]) * 30)


def test_keys_that_are_optional_leave_an_invite_in_one_packet() -> None:
    plain_offer, offer = (
        str(offer_to_sip(ours(encryption), (PCMA,)))
        for encryption in (Encryption.OFF, Encryption.OPTIONAL)
    )
    assert len(offer) - len(plain_offer) < 300


def test_who_does_not_want_encryption_answers_without() -> None:
    offer = offer_to_sip(ours(Encryption.OPTIONAL), (PCMA,))
    assert leg_media(offer, peer(protocol=AVP)).keys is None


@pytest.mark.parametrize(
    ("encryption", "answer"),
    [
        (Encryption.REQUIRED, peer(protocol=AVP)),
        (Encryption.REQUIRED, peer()),
        (Encryption.REQUIRED, peer(line(1, SUITE))),
        (Encryption.OPTIONAL, peer(line(6, SUITE), protocol=AVP)),
        (Encryption.OPTIONAL, peer(Crypto(2, SUITE, inline() + "|1:1"), protocol=AVP)),
    ],
    ids=["plain", "no key", "another suite", "another tag", "unusable"],
)
def test_an_answer_that_leaves_the_offer(
    encryption: Encryption, answer: SessionDescription
) -> None:
    offer = offer_to_sip(ours(encryption), (PCMA,))
    with pytest.raises(EncryptionMismatch):
        leg_media(offer, answer)


# --- answers --------------------------------------------------------------------------------


def test_the_order_of_an_offer_counts() -> None:
    offer = peer(Crypto(1, SUITE, "inline:x"), line(5, SHORT), line(6, SUITE))
    answer = answer_to_sip(ours(Encryption.REQUIRED), offer, PCMA, matrix=MATRIX)
    (chosen,) = sip_audio(answer).crypto
    assert (chosen.tag, chosen.suite) == (5, SHORT)


# --- later offers and answers ---------------------------------------------------------------


def agreed(*lines: Crypto, protocol: str = SAVP) -> Exchange:
    """A peer offered, and we answered."""
    offer = peer(*lines, protocol=protocol)
    local = ours(Encryption.OPTIONAL)
    return Exchange(local=answer_to_sip(local, offer, PCMA, matrix=MATRIX), remote=offer)


def keys_of(exchange: Exchange) -> Keys:
    """What was agreed on."""
    keys = leg_media(exchange.local, exchange.remote).keys
    assert keys is not None
    return keys


def reanswered(before: Exchange, *lines: Crypto) -> Keys:
    """What is agreed on after another offer."""
    offer = peer(*lines, direction="sendonly")
    local = ours(Encryption.OPTIONAL, seed=2)
    answer = answer_to_sip(local, offer, PCMA, matrix=MATRIX, previous=before)
    return keys_of(Exchange(local=answer, remote=offer))


def test_a_key_that_stays_leaves_ours_as_it_is() -> None:
    before = agreed(line(1))
    assert reanswered(before, line(1)) == keys_of(before)
    assert reanswered(before, line(9)) == keys_of(before)


@pytest.mark.parametrize("other", [line(1, seed=8), line(1, SHORT)])
def test_a_new_key_is_answered_with_a_new_one(other: Crypto) -> None:
    before = keys_of(agreed(line(1)))
    after = reanswered(agreed(line(1)), other)
    assert (after.suite, after.theirs) == (other.suite, key_of(other))
    assert after.ours != before.ours


def test_we_offer_again_what_is_in_use_and_nothing_else() -> None:
    before = agreed(line(3, SHORT))
    offer = offer_to_sip(ours(Encryption.OPTIONAL, seed=2), (PCMA,), previous=before)
    audio = sip_audio(offer)
    assert audio.protocol == SAVP
    assert [(one.tag, one.suite) for one in audio.crypto] == [(1, SHORT)]
    after = keys_of(Exchange(local=offer, remote=peer(line(1, SHORT, seed=3))))
    assert after.ours == keys_of(before).ours
    assert after.theirs == bytes([3]) * 30


def test_who_is_not_encrypted_is_not_asked_again() -> None:
    offer = peer(protocol=AVP)
    answer = answer_to_sip(ours(Encryption.OPTIONAL), offer, PCMA, matrix=MATRIX)
    before = Exchange(local=answer, remote=offer)
    again = offer_to_sip(ours(Encryption.OPTIONAL), (PCMA,), previous=before)
    assert sip_audio(again).crypto == ()


def test_encryption_that_ends_within_a_call() -> None:
    before = agreed(line(1), protocol=AVP)
    plain_offer = peer(protocol=AVP)
    local = ours(Encryption.OPTIONAL, seed=2)
    answer = answer_to_sip(local, plain_offer, PCMA, matrix=MATRIX, previous=before)
    assert leg_media(answer, plain_offer).keys is None
    assert sip_audio(answer).direction is MediaDirection.SENDRECV


def test_an_answer_at_once_keeps_the_keys() -> None:
    before = agreed(line(2, SHORT))
    hold = peer(line(4, SHORT), direction="sendonly")
    answer = answer_at_once(before.local, before.remote, hold).local
    assert keys_of(Exchange(local=answer, remote=hold)) == keys_of(before)


@pytest.mark.parametrize(
    "offer",
    [peer(line(1, seed=8)), peer(line(1, SHORT)), peer(protocol=AVP), peer()],
    ids=["new key", "new suite", "plain", "no key"],
)
def test_new_keys_cannot_be_answered_at_once(offer: SessionDescription) -> None:
    before = agreed(line(1))
    with pytest.raises(SdpError):
        answer_at_once(before.local, before.remote, offer)


def test_encryption_cannot_begin_at_once() -> None:
    offer = peer(protocol=AVP)
    answer = answer_to_sip(ours(Encryption.OPTIONAL), offer, PCMA, matrix=MATRIX)
    with pytest.raises(EncryptionMismatch):
        answer_at_once(answer, offer, peer(line(1)))
    again = answer_at_once(answer, offer, peer(line(1), protocol=AVP)).local
    assert sip_audio(again).crypto == ()


# --- telephone-events -----------------------------------------------------------------------


def test_telephone_events_may_be_left_out() -> None:
    local = replace(LOCAL_RTP, events=False)
    offer = offer_to_sip(local, (PCMA,))
    answer = answer_to_sip(local, plain("8 101"), PCMA, matrix=MATRIX)
    for description in (offer, answer):
        assert TELEPHONE_EVENT not in codecs_of(sip_audio(description)).values()
