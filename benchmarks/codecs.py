# SPDX-License-Identifier: GPL-3.0-or-later
"""What codecs and transcoding cost on this machine: microseconds of CPU for a packet of 20 ms.

Run it from the checkout: python -m benchmarks.codecs
"""

import math
import random
import time
from array import array
from collections.abc import Callable
from functools import partial
from itertools import count

from bridge.media.embedded.codecs import make_decoder, make_encoder, rate_for
from bridge.media.embedded.transcoder import Transcoder
from bridge.sdp.codecs import AUDIO_CODECS, Codec

PACKETS = 1000
PTIME = 20
"""Milliseconds."""
ROUNDS = 3


def speech(rate: int) -> list[bytes]:
    """Packets of samples: tones and noise that come and go like syllables."""
    noise = random.Random(1)
    samples = array("h")
    for n in range(PACKETS * rate // 50):
        at = n / rate
        syllable = 0.5 + 0.5 * math.sin(2 * math.pi * 3 * at)
        voice = math.sin(2 * math.pi * 150 * at) + 0.5 * math.sin(2 * math.pi * 700 * at)
        samples.append(int(6000 * syllable * (voice + 0.3 * noise.uniform(-1, 1))))
    size = rate // 50 * samples.itemsize
    octets = samples.tobytes()
    return [octets[start : start + size] for start in range(0, len(octets), size)]


def cost(make: Callable[[], Callable[[bytes], object]], packets: list[bytes]) -> float:
    """Microseconds for each packet: the best of some rounds, each with fresh state."""
    best = math.inf
    for _ in range(ROUNDS):
        work = make()
        start = time.process_time()
        for packet in packets:
            work(packet)
        best = min(best, time.process_time() - start)
    return best / len(packets) * 1e6


def decoding(codec: Codec, rate: int) -> Callable[[bytes], object]:
    """A decoder."""
    return make_decoder(codec, rate).decode


def encoding(codec: Codec, rate: int) -> Callable[[bytes], object]:
    """An encoder."""
    return make_encoder(codec, rate, PTIME).encode


def transcoding(source: Codec, target: Codec) -> Callable[[bytes], object]:
    """A transcoder that numbers its packets."""
    transcoder = Transcoder(
        source,
        make_decoder(source, rate_for(source, target)),
        target,
        make_encoder(target, rate_for(target, source), PTIME),
        PTIME,
    )
    numbers = count()

    def push(payload: bytes) -> object:
        number = next(numbers)
        return transcoder.push(number & 0xFFFF, number * source.clock // 50, payload)

    return push


def main() -> None:
    """Print a table."""
    print(f"{'from':6}{'to':6}{'decode':>8}{'encode':>8}{'together':>10}   us per 20 ms")
    spoken = {rate: speech(rate) for rate in (8000, 16000)}
    for source in AUDIO_CODECS:
        for target in AUDIO_CODECS:
            if source == target:
                continue
            rate, wanted = rate_for(source, target), rate_for(target, source)
            encoder = make_encoder(source, rate, PTIME)
            packets = [encoder.encode(samples) for samples in spoken[rate]]
            decode = cost(partial(decoding, source, rate), packets)
            encode = cost(partial(encoding, target, wanted), spoken[wanted])
            together = cost(partial(transcoding, source, target), packets)
            print(f"{source.name:6}{target.name:6}{decode:8.1f}{encode:8.1f}{together:10.1f}")


if __name__ == "__main__":
    main()
