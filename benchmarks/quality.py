# SPDX-License-Identifier: GPL-3.0-or-later
"""How speech sounds behind the bridge: PESQ (ITU-T P.862), without sockets and without waiting.

Run it from the checkout: python -m benchmarks.quality. Speech goes through a path as it is in
calls, relayed or transcoded; the table compares what comes out with what the codecs do by
themselves. `--wav` takes speech of yours, 16 bit.
"""

import argparse
import json
import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path as File

import av
import numpy as np
from pesq import pesq

from bridge.media.embedded.codecs import make_decoder
from bridge.media.embedded.codecs.resampler import Resampler
from bridge.media.embedded.path import Path, Plan
from bridge.media.embedded.rtp import HEADER, HEADER_SIZE, VERSION, Emission, Reception
from bridge.media.embedded.srtp import Outlet
from bridge.media.embedded.transcoder import make_transcoder
from bridge.sdp.agreement import LegMedia
from bridge.sdp.codecs import AUDIO_CODECS, G722, OPUS, PCMA, PCMU, Codec
from bridge.sdp.description import MediaDirection
from tests.simulators.audio import Samples, read_wav, speechlike

RATE = 16000
"""Of the speech, samples per second."""
NARROW = 8000
SECONDS = 8
PTIME = 20
"""Milliseconds."""
LEAD = 0.2
"""Seconds of the beginning that are not judged: encoders find their way."""

_FFMPEG = {PCMU: "pcm_mulaw", PCMA: "pcm_alaw", G722: "g722", OPUS: "libopus"}
_RATES = {PCMU: NARROW, PCMA: NARROW, G722: RATE, OPUS: RATE}


@dataclass(frozen=True)
class Condition:
    """What a way does to packets."""

    name: str
    loss: float = 0.0
    jitter_ms: float = 0.0
    """Standard deviation of what each packet takes longer."""
    beyond: bool = False
    """Whether it is the way from the bridge on, and not the one to it."""
    seed: int = 1

    @property
    def percent(self) -> int:
        """What is lost, as receivers report it."""
        return round(100 * self.loss)

    def arrivals(self, count: int) -> list[tuple[float, int]]:
        """When which packet comes: seconds and its number, in order of time."""
        chance = random.Random(self.seed)
        came: list[tuple[float, int]] = []
        for number in range(count):
            lost = chance.random() < self.loss
            late = abs(chance.gauss(0, self.jitter_ms)) / 1000
            if not lost:
                came.append((number * PTIME / 1000 + late, number))
        return sorted(came)

    def left(self, packets: dict[int, bytes]) -> dict[int, bytes]:
        """The packets that come at all, by their number."""
        numbers = [number for _, number in self.arrivals(max(packets) + 1)]
        return {number: packets[number] for number in numbers if number in packets}


CLEAN = Condition("clean")
LOSSY = Condition("5 % loss, 20 ms jitter", loss=0.05, jitter_ms=20)
BEYOND = Condition("5 % loss beyond", loss=0.05, beyond=True)
CONDITIONS = (CLEAN, Condition("20 ms jitter", jitter_ms=20), LOSSY, BEYOND)


@dataclass(frozen=True)
class Score:
    """One line of the table."""

    source: str
    target: str
    condition: str
    band: str
    """`wb` (P.862.2) or `nb` (P.862.1)."""
    alone: float
    """What the codec makes of it by itself, without a bridge, under the same condition."""
    ideal: float
    """What comes of it if a receiver that waits for everything codes it once more: the least that
    transcoding costs."""
    bridge: float

    @property
    def difference(self) -> float:
        """What the bridge does to it beyond that; below 0 where it loses."""
        return self.bridge - self.ideal


# --- the ends -----------------------------------------------------------------------------------


def coded(codec: Codec, voice: Samples, percent: int = 0) -> list[bytes]:
    """Speech as a telephone or a browser sends it: not by what is judged.

    `percent`: how much of it is said to be lost.
    """
    rate = _RATES[codec]
    context = av.CodecContext.create(_FFMPEG[codec], "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout, context.format = rate, "mono", "s16"
    context.time_base = Fraction(1, rate)
    if codec == OPUS:
        context.bit_rate = 32000
        context.options = {"application": "voip", "fec": "1", "packet_loss": str(percent)}
    elif codec == G722:
        context.options = {"frame_size": str(rate * PTIME // 1000)}
    payloads: list[bytes] = []
    size = rate * PTIME // 1000
    for start in range(0, len(voice) - size + 1, size):
        frame = av.AudioFrame(format="s16", layout="mono", samples=size)
        frame.planes[0].update(voice[start : start + size].tobytes())
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        payloads += [bytes(packet) for packet in context.encode(frame)]
    return payloads


def heard(codec: Codec, packets: dict[int, bytes], rate: int) -> Samples:
    """Packets, by their number, as a receiver plays them that has waited for all that came.

    `rate` matters to Opus only.
    """
    decoder = make_decoder(codec, rate)
    size = decoder.rate * PTIME // 1000
    samples = array("h")
    expected = min(packets)
    for number in sorted(packets):
        if missing := number - expected:
            samples.frombytes(decoder.conceal(missing * size, packets[number]))
        samples.frombytes(decoder.decode(packets[number]))
        expected = number + 1
    return samples


def resampled(voice: Samples, rate: int, target: int) -> Samples:
    """At another rate."""
    if rate == target:
        return voice
    samples = array("h")
    samples.frombytes(Resampler(rate, target).resample(voice.tobytes()))
    return samples


# --- the bridge ---------------------------------------------------------------------------------


def _leg(codec: Codec) -> LegMedia:
    return LegMedia(
        codec=codec,
        payload_type=96,
        receive={96: codec},
        event=None,
        event_payload_type=None,
        ptime=PTIME,
        parameters="useinbandfec=1" if codec == OPUS else "",
        direction=MediaDirection.SENDRECV,
        address=("192.0.2.1", 4000),
        rtcp_address=("192.0.2.1", 4001),
        rtcp_mux=False,
    )


def bridged(
    source: Codec, target: Codec, payloads: Sequence[bytes], condition: Condition
) -> dict[int, bytes]:
    """What the bridge makes of packets that come as the condition says, by their number."""
    sent: dict[int, tuple[int, bytes]] = {}

    def keep(packet: bytes | memoryview) -> None:
        _, _, number, timestamp, _ = HEADER.unpack_from(packet)
        sent[number] = timestamp, bytes(packet[HEADER_SIZE:])

    path = Path(
        Reception(source.clock), Emission(ssrc=2, sequence=0, timestamp=0, clock=target.clock)
    )
    path.follow(
        Plan(
            audio_in=frozenset({96}),
            audio_out=96,
            clock_in=source.clock,
            clock_out=target.clock,
            transcoding=None if source == target else "transcoding",
        ),
        lambda: make_transcoder(_leg(source), _leg(target)),
    )
    path.lead(Outlet(keep))
    if condition.beyond:
        path.expect_loss(condition.percent)
        condition = CLEAN
    ticks = 1
    for came, number in condition.arrivals(len(payloads)):
        while ticks * PTIME / 1000 <= came:
            path.tick(ticks * PTIME / 1000)
            ticks += 1
        timestamp = number * source.clock * PTIME // 1000
        header = HEADER.pack(VERSION, 96, number + 1, timestamp, 1)
        path.receive(memoryview(bytearray(header + payloads[number])), came)
    first = min(timestamp for timestamp, _ in sent.values())
    step = target.clock * PTIME // 1000
    return {(timestamp - first) // step: payload for timestamp, payload in sent.values()}


# --- scores -------------------------------------------------------------------------------------


def score(voice: Samples, sound: Samples, rate: int, band: str) -> float:
    """PESQ, from 1 (bad) to 4.5 or so."""
    start = int(LEAD * rate)
    spoken = np.array(resampled(voice, RATE, rate))[start:]
    return float(pesq(rate, spoken, np.array(sound)[start:], band))


def measure(source: Codec, target: Codec, voice: Samples, condition: Condition) -> Score:
    """One line."""
    wide = {source, target} <= {OPUS, G722}
    rate, band = (RATE, "wb") if wide else (NARROW, "nb")
    before, after = (CLEAN, condition) if condition.beyond else (condition, CLEAN)
    # The codec that has to bear the condition.
    exposed = target if condition.beyond else source
    direct = coded(exposed, resampled(voice, RATE, _RATES[exposed]), condition.percent)
    relayed = source == target
    payloads = (
        direct
        if relayed or not condition.beyond
        else coded(source, resampled(voice, RATE, _RATES[source]))
    )
    played = heard(source, before.left(dict(enumerate(payloads))), _RATES[source])
    again = coded(target, resampled(played, _RATES[source], _RATES[target]), after.percent)

    def judged(codec: Codec, packets: dict[int, bytes], way: Condition) -> float:
        own = rate if codec == OPUS else _RATES[codec]
        sound = heard(codec, way.left(packets), own)
        return score(voice, resampled(sound, own, rate), rate, band)

    alone = judged(exposed, dict(enumerate(direct)), condition)
    ideal = alone if relayed else judged(target, dict(enumerate(again)), after)
    bridge = judged(target, bridged(source, target, payloads, condition), after)
    return Score(source.name, target.name, condition.name, band, alone, ideal, bridge)


def table(voice: Samples, conditions: Sequence[Condition] = CONDITIONS) -> Iterator[Score]:
    """Each codec to each, relayed where both are the same."""
    for condition in conditions:
        for source in AUDIO_CODECS:
            for target in AUDIO_CODECS:
                yield measure(source, target, voice, condition)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wav", type=File, help="speech, 16 bit; without it a voice is made up")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    arguments = parser.parse_args()
    if arguments.wav:
        samples, rate = read_wav(arguments.wav)
        voice = resampled(samples, rate, RATE)
    else:
        voice = speechlike(SECONDS, RATE)
    if arguments.json:
        print(json.dumps([asdict(line) for line in table(voice)], indent=1))
        return
    print("from  to    PESQ    alone  ideal  bridge  difference  condition")
    for line in table(voice):
        print(
            f"{line.source:6}{line.target:6}{line.band:6}{line.alone:7.2f}{line.ideal:7.2f}{line.bridge:8.2f}"
            f"{line.difference:+12.2f}  {line.condition}",
            flush=True,
        )


if __name__ == "__main__":
    main()
