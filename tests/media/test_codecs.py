# SPDX-License-Identifier: GPL-3.0-or-later
"""The codecs, each by itself."""

import ctypes
import itertools
import random
from array import array
from collections.abc import Iterator

import pytest

from bridge.errors import LocalError, RemoteError
from bridge.media.embedded.codecs import (
    Decoder,
    make_decoder,
    make_encoder,
    opus,
    packet_time_for,
    rate_for,
)
from bridge.media.embedded.codecs.base import SAMPLE_SIZE, crossed, faded
from bridge.media.embedded.codecs.concealment import Concealment
from bridge.media.embedded.codecs.g711 import G711Decoder, G711Encoder
from bridge.media.embedded.codecs.g722 import G722Decoder
from bridge.media.embedded.codecs.opus import OpusDecoder, OpusEncoder
from bridge.media.embedded.codecs.resampler import Resampler
from bridge.sdp.codecs import AUDIO_CODECS, G722, OPUS, PCMA, PCMU, TELEPHONE_EVENT, Codec
from tests.simulators.audio import find_tone, sine, speechlike

RATES = [(OPUS, 8000), (OPUS, 16000), (G722, 16000), (PCMU, 8000), (PCMA, 8000)]


def samples_of(octets: bytes) -> list[int]:
    """Samples as numbers."""
    return array("h", octets).tolist()


def octets_of(*samples: int) -> bytes:
    """Numbers as samples."""
    return array("h", samples).tobytes()


def packets(samples: "array[int]", size: int) -> Iterator[bytes]:
    """The samples in pieces of `size`."""
    for start in range(0, len(samples), size):
        yield samples[start : start + size].tobytes()


# --- all of them ----------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "rate"), RATES)
@pytest.mark.parametrize("hertz", [440, 1500])
def test_a_tone_passes(codec: Codec, rate: int, hertz: int) -> None:
    encoder, decoder = make_encoder(codec, rate, 20), make_decoder(codec, rate)
    heard = array("h")
    for packet in packets(sine(hertz, 1, rate), rate // 50):
        heard.frombytes(decoder.decode(encoder.encode(packet)))
    assert len(heard) == rate
    tone = find_tone(heard, rate)
    assert tone.is_near(hertz)
    assert tone.purity > 0.95
    assert tone.rms == pytest.approx(0.3 / 2**0.5, rel=0.1)


@pytest.mark.parametrize(("codec", "rate"), RATES)
@pytest.mark.parametrize("milliseconds", [10, 20, 30, 40, 50, 60])
def test_packets_of_all_usual_lengths(codec: Codec, rate: int, milliseconds: int) -> None:
    ptime = packet_time_for(codec, milliseconds)
    encoder, decoder = make_encoder(codec, rate, ptime), make_decoder(codec, rate)
    size = rate * ptime // 1000
    for packet in packets(sine(440, 5 * ptime / 1000, rate), size):
        payload = encoder.encode(packet)
        if codec != OPUS:
            assert len(payload) == 8 * ptime
        assert len(decoder.decode(payload)) == size * SAMPLE_SIZE


@pytest.mark.parametrize(("codec", "rate"), RATES)
def test_silence_stays_silent(codec: Codec, rate: int) -> None:
    encoder, decoder = make_encoder(codec, rate, 20), make_decoder(codec, rate)
    for _ in range(10):
        heard = decoder.decode(encoder.encode(bytes(rate // 50 * SAMPLE_SIZE)))
    assert max(map(abs, samples_of(heard))) <= 16


@pytest.mark.parametrize(("codec", "rate"), RATES)
def test_rest_has_the_length_asked_for(codec: Codec, rate: int) -> None:
    decoder = make_decoder(codec, rate)
    for milliseconds in (20, 100, 250):
        size = rate * milliseconds // 1000
        assert len(decoder.rest(size)) == size * SAMPLE_SIZE


@pytest.mark.parametrize(("codec", "rate"), RATES)
def test_loss_is_concealed_and_fades(codec: Codec, rate: int) -> None:
    encoder, decoder = make_encoder(codec, rate, 20), make_decoder(codec, rate)
    for packet in packets(sine(300, 0.2, rate), rate // 50):
        decoder.decode(encoder.encode(packet))
    lost = [samples_of(decoder.conceal(rate // 50, b"")) for _ in range(15)]
    assert all(len(samples) == rate // 50 for samples in lost)
    assert max(map(abs, lost[0])) > 4000
    assert max(map(abs, lost[-1])) < 500


def test_rates() -> None:
    assert rate_for(OPUS, PCMU) == 8000
    assert rate_for(OPUS, G722) == 16000
    assert rate_for(G722, OPUS) == 16000
    assert rate_for(PCMA, G722) == 8000
    assert rate_for(OPUS, OPUS) == 16000


def test_packet_times() -> None:
    assert [packet_time_for(PCMU, wanted) for wanted in (10, 30, 50)] == [10, 30, 50]
    assert [packet_time_for(OPUS, w) for w in (5, 10, 20, 30, 40, 50, 60)] == [
        *(10, 10, 20, 20, 40, 40, 60)
    ]


def test_what_is_no_audio_codec() -> None:
    with pytest.raises(LocalError, match="No decoder for telephone-event/8000"):
        make_decoder(TELEPHONE_EVENT, 8000)
    with pytest.raises(LocalError, match="No encoder for telephone-event/8000"):
        make_encoder(TELEPHONE_EVENT, 8000, 20)


# --- G.711 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # Ends and middles of ITU-T G.711 tables 1 and 2, scaled to 16 bits.
        ("PCMU", {0xFF: 0, 0x7F: 0, 0xFE: 8, 0x7E: -8, 0x80: 32124, 0x00: -32124, 0xEF: 132}),
        ("PCMA", {0xD5: 8, 0x55: -8, 0xAA: 32256, 0x2A: -32256, 0xC5: 264, 0xF5: 528}),
    ],
)
def test_values_of_the_tables(name: str, values: dict[int, int]) -> None:
    assert samples_of(G711Decoder(name).decode(bytes(values))) == list(values.values())


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_every_code_survives(name: str) -> None:
    decoder = G711Decoder(name)
    codes = bytes(range(256))
    again = G711Encoder(name).encode(decoder.decode(codes))
    # Mu-law has two codes for zero.
    assert decoder.decode(again) == decoder.decode(codes)
    assert len(set(again)) == (255 if name == "PCMU" else 256)


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_every_sample_goes_to_a_near_code(name: str) -> None:
    decoder = G711Decoder(name)
    everything = range(-32768, 32768)
    heard = samples_of(decoder.decode(G711Encoder(name).encode(octets_of(*everything))))
    assert heard == sorted(heard)
    for sample, value in zip(everything, heard, strict=True):
        # Half a step: a sixteenth of a segment, which is at most as wide as its values are great.
        assert abs(sample - value) <= max(8, (abs(sample) + 132) / 32)


# --- Opus -----------------------------------------------------------------------------------


@pytest.fixture
def spoken() -> list[bytes]:
    """Packets of something like speech, in Opus."""
    encoder = OpusEncoder(16000, "minptime=10;useinbandfec=1")
    encoder.expect_loss(5)
    return [encoder.encode(packet) for packet in packets(speechlike(1, 16000), 320)]


def test_the_rate_of_bits() -> None:
    def size(parameters: str) -> float:
        encoder = OpusEncoder(8000, parameters)
        return sum(len(encoder.encode(packet)) for packet in packets(speechlike(2, 8000), 160))

    assert size("stereo=1;maxaveragebitrate=12000") < size("") * 0.7
    assert size("maxaveragebitrate=500000") == size("")
    assert size("maxaveragebitrate=1000") == size("maxaveragebitrate=6000")


def test_redundancy_restores_a_lost_packet(spoken: list[bytes]) -> None:
    """A packet carries a coarse copy of the one before it."""
    complete, lossy, guessing = OpusDecoder(16000), OpusDecoder(16000), OpusDecoder(16000)
    errors = {"redundancy": 0, "guess": 0}
    for before, payload in zip([b"", *spoken], spoken, strict=False):
        expected = samples_of(complete.decode(payload))
        if before and spoken.index(payload) % 5 == 3:
            restored = lossy.conceal(320, spoken[spoken.index(payload) + 1])
            guessed = guessing.conceal(320, b"")
            for name, made in (("redundancy", restored), ("guess", guessed)):
                errors[name] += sum(
                    (a - b) ** 2 for a, b in zip(samples_of(made), expected, strict=True)
                )
        else:
            lossy.decode(payload)
            guessing.decode(payload)
    assert errors["redundancy"] < errors["guess"] * 0.6


def test_redundancy_is_for_those_who_use_it() -> None:
    voice = list(packets(speechlike(1, 16000), 320))
    asked, unasked = OpusEncoder(16000, "useinbandfec=1"), OpusEncoder(16000, "useinbandfec=0")
    plain = OpusEncoder(16000)
    for encoder in (asked, unasked, plain):
        encoder.expect_loss(5)
    expected = [plain.encode(packet) for packet in voice]
    assert [unasked.encode(packet) for packet in voice] == expected
    assert [asked.encode(packet) for packet in voice] != expected


def test_garbage_is_refused() -> None:
    with pytest.raises(RemoteError, match="Opus packet that cannot be decoded"):
        OpusDecoder(8000).decode(b"\xff\xff")


def test_less_than_opus_can_conceal_is_silence() -> None:
    decoder = OpusDecoder(8000)
    decoder.decode(OpusEncoder(8000).encode(sine(440, 0.02, 8000).tobytes()))
    assert decoder.conceal(19, b"") == bytes(38)
    assert decoder.conceal(21, b"")[40:] == bytes(2)


def test_rates_that_opus_has_not() -> None:
    with pytest.raises(LocalError, match="cannot decode at 44100 Hz: invalid argument"):
        OpusDecoder(44100)
    with pytest.raises(LocalError, match="cannot encode at 44100 Hz"):
        OpusEncoder(44100)


def test_lengths_that_opus_has_not() -> None:
    with pytest.raises(LocalError, match="invalid argument"):
        OpusEncoder(8000).encode(bytes(14))


def test_a_machine_without_opus(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ctypes.PyDLL:
        raise OSError(name)

    opus.library.cache_clear()
    monkeypatch.setattr(ctypes, "PyDLL", missing)
    with pytest.raises(LocalError, match="libopus") as caught:
        OpusDecoder(8000)
    assert "libopus0" in caught.value.remedy
    opus.library.cache_clear()


# --- G.722 and the rest ---------------------------------------------------------------------


def test_an_empty_packet_of_g722() -> None:
    decoder: Decoder = G722Decoder()
    assert decoder.decode(b"") == b""
    assert len(decoder.decode(bytes(160))) == 640


def test_fading() -> None:
    assert samples_of(faded(octets_of(1000, 1000, 1000, 1000), 1, 0)) == [1000, 750, 500, 250]
    assert faded(b"", 1, 0) == b""


def test_crossing() -> None:
    assert samples_of(crossed(octets_of(100, 100), octets_of(0, 0, 7))) == [100, 50, 7]
    assert samples_of(crossed(b"", octets_of(5))) == [5]


def test_nothing_to_conceal_with() -> None:
    concealment = Concealment(8000)
    assert concealment.conceal(80) == bytes(160)
    # What comes then fades in.
    heard = samples_of(concealment.heard(octets_of(*([3200] * 80))))
    assert heard[:2] == [0, 100]
    assert heard[32:] == [3200] * 48


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("hertz", [90, 210, 440])
@pytest.mark.parametrize("cut", [0, 37])
def test_what_is_made_up_goes_on_without_a_step(rate: int, hertz: int, cut: int) -> None:
    """Neither where the loss begins, nor within it, nor where it ends."""
    tone = sine(hertz, 0.2, rate)[cut:]
    concealment, size = Concealment(rate), rate // 50
    heard = array("h")
    for number, packet in enumerate(packets(tone[: 9 * size], size)):
        lost = number in (4, 5)
        heard.frombytes(concealment.conceal(size) if lost else concealment.heard(packet))
    steepest = max(abs(b - a) for a, b in itertools.pairwise(tone))
    assert max(abs(b - a) for a, b in itertools.pairwise(heard)) < 1.3 * steepest
    assert max(map(abs, heard[4 * size : 5 * size])) > 0.9 * max(tone)


def test_what_is_made_up_fades_and_ends() -> None:
    concealment = Concealment(8000)
    concealment.heard(sine(200, 0.1, 8000).tobytes())
    made = samples_of(concealment.conceal(800))
    peaks = [max(map(abs, made[n : n + 80])) for n in range(0, 800, 80)]
    assert peaks[0] > 9000
    assert peaks[:7] == sorted(peaks[:7], reverse=True)
    assert made[480:] == [0] * 320
    concealment.forget()
    assert concealment.conceal(160) == bytes(320)


def test_noise_is_concealed_too() -> None:
    concealment, chance = Concealment(8000), random.Random(1)
    concealment.heard(octets_of(*(chance.randint(-32768, 32767) for _ in range(400))))
    assert max(map(abs, samples_of(concealment.conceal(160)))) > 10000


@pytest.mark.parametrize(("codec", "rate"), RATES)
def test_another_sender_sounds_as_if_there_had_been_none(codec: Codec, rate: int) -> None:
    encoder = make_encoder(codec, rate, 20)
    spoken = [encoder.encode(packet) for packet in packets(speechlike(0.4, rate), rate // 50)]
    used, fresh = make_decoder(codec, rate), make_decoder(codec, rate)
    for payload in spoken:
        used.decode(payload)
    used.reset()
    assert [used.decode(p) for p in spoken] == [fresh.decode(p) for p in spoken]


def test_redundancy_is_made_while_packets_are_lost() -> None:
    voice = list(packets(speechlike(1, 16000), 320))

    def said(*losses: int) -> list[bytes]:
        encoder = OpusEncoder(16000, "useinbandfec=1")
        for percent in losses:
            encoder.expect_loss(percent)
        return [encoder.encode(packet) for packet in voice]

    assert said() == said(5, 0) != said(5)
    assert said(90) == said(30)


@pytest.mark.parametrize(("rate", "target"), [(16000, 8000), (8000, 16000)])
def test_resampling(rate: int, target: int) -> None:
    resampler = Resampler(rate, target)
    heard = array("h")
    for packet in packets(sine(1000, 1, rate), rate // 50):
        heard.frombytes(resampler.resample(packet))
    assert target - 100 < len(heard) <= target
    tone = find_tone(heard, target)
    assert tone.is_near(1000)
    assert tone.rms == pytest.approx(0.3 / 2**0.5, rel=0.05)


def test_resampling_keeps_out_what_the_lower_rate_cannot_carry() -> None:
    resampler = Resampler(16000, 8000)
    heard = array("h")
    for packet in packets(sine(6000, 1, 16000), 320):
        heard.frombytes(resampler.resample(packet))
    assert max(map(abs, heard[400:])) < 300


def test_every_codec_has_an_encoder_and_a_decoder() -> None:
    for codec in AUDIO_CODECS:
        rate = rate_for(codec, codec)
        assert make_encoder(codec, rate, 20).rate == make_decoder(codec, rate).rate == rate
