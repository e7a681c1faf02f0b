# SPDX-License-Identifier: GPL-3.0-or-later
"""Video is encrypted as the audio is, with keys of its own."""

import pytest

from bridge.sdp.agreement import leg_media
from bridge.sdp.codecs import PCMA
from bridge.sdp.description import Crypto
from bridge.sdp.ends import Exchange
from bridge.sdp.negotiation import answer_to_sip, offer_to_sip
from bridge.sdp.sdes import Encryption, only_fitting
from bridge.sdp.video import leg_video, video_of
from tests.sdp.video_samples import (
    BASELINE,
    CLIENT,
    PHONE,
    SAVP,
    TRUNK,
    changed,
    keyed,
    section,
    secured,
)


def test_video_has_keys_of_its_own() -> None:
    offer = offer_to_sip(secured(1, Encryption.OPTIONAL), TRUNK, matrix=CLIENT, video=(BASELINE,))
    audio, video = (media.crypto for media in offer.media)
    assert [line.tag for line in video] == [1, 2, 3]
    assert not {line.key for line in audio} & {line.key for line in video}
    agreed = leg_video(offer, changed(keyed(2, protocol="RTP/AVP"), 1, formats=("99",)))
    assert agreed is None or agreed.keys is not None


def test_keys_stay_as_long_as_the_peers_do() -> None:
    phone = keyed(2)
    answer = answer_to_sip(
        secured(1, Encryption.REQUIRED), phone, PCMA, matrix=PHONE, video=BASELINE
    )
    before = Exchange(local=answer, remote=phone)
    agreed = leg_video(answer, phone)
    assert agreed is not None
    assert agreed.keys is not None
    media = leg_media(answer, phone)
    assert media.keys is not None
    assert media.keys.ours != agreed.keys.ours
    local = secured(3, Encryption.REQUIRED)
    again = answer_to_sip(local, phone, PCMA, matrix=PHONE, previous=before, video=BASELINE)
    assert leg_video(again, phone) == agreed
    offer = offer_to_sip(local, TRUNK, matrix=PHONE, previous=before, video=(BASELINE,))
    assert section(offer).crypto == (Crypto(1, agreed.keys.suite, section(answer).crypto[0].key),)
    assert section(offer).protocol == SAVP


@pytest.mark.parametrize(
    ("audio", "video", "encryption", "usable"),
    [
        (SAVP, SAVP, Encryption.OPTIONAL, True),
        (SAVP, "RTP/AVP", Encryption.OPTIONAL, True),  # Plain video, with keys (RFC 8643).
        ("RTP/AVP", "RTP/AVP", Encryption.OFF, True),
        ("RTP/AVP", SAVP, Encryption.OFF, False),
    ],
)
def test_video_is_encrypted_as_the_audio_is(
    audio: str, video: str, encryption: Encryption, usable: bool
) -> None:
    offer = changed(changed(keyed(2), 0, protocol=audio), 1, protocol=video)
    assert (video_of(only_fitting(offer, encryption)) is not None) == usable


def test_plain_video_beside_encrypted_audio_is_declined() -> None:
    offer = changed(keyed(2), 1, protocol="RTP/AVP", crypto=())
    assert video_of(only_fitting(offer, Encryption.OPTIONAL)) is None
