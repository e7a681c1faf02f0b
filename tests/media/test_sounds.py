# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a side hears, and files into which a side is written."""

import asyncio
import wave
from array import array
from pathlib import Path

import av
import pytest

from bridge.call.commands import EndAudio, PlayAudio, RecordAudio
from bridge.call.events import MediaEvent, MediaFault, MediaPlayed, MediaRecorded
from bridge.call.ids import OpId, Side
from bridge.media.embedded.flow import Ear
from bridge.media.embedded.sounds import Sounds
from bridge.media.embedded.srtp import Outlet, Packet
from bridge.media.embedded.streams import Streams
from bridge.sdp.codecs import OPUS, PCMU
from tests.media.desk import CALL, Desk
from tests.media.sound import agreed, heard, tone
from tests.simulators.audio import Tone, find_tone, sine
from tests.simulators.rtp import PAYLOAD_TYPES, RtpPeer, Sender
from tests.simulators.waiting import until
from tests.simulators.webrtc import CHROMIUM, WebRtcPeer

OPUS_ONLY = (111, 110)


def written(file: Path, hertz: float, seconds: float) -> str:
    """A WAV file with a tone."""
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(sine(hertz, seconds, 16000).tobytes())
    return str(file)


def read(file: Path) -> tuple[str, float, Tone]:
    """A file's codec, seconds, and the tone in it."""
    with av.open(str(file)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16000)
        frames = [made for frame in container.decode(stream) for made in resampler.resample(frame)]
        data = b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in frames)
        samples = array("h", data)
        return stream.codec_context.name, len(samples) / 16000, find_tone(samples, 16000)


@pytest.mark.parametrize("formats", [CHROMIUM, OPUS_ONLY])
async def test_a_side_hears_a_file_in_place_of_the_other(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, tmp_path: Path, formats: tuple[int, ...]
) -> None:
    await desk.client_calls(client, phone, formats=formats)
    sender = Sender(0)
    phone.send(*sender.packets([b"p" * 160] * 5))
    before = len(await client.received.reaches(4))
    file = written(tmp_path / "tone.wav", 700, 0.5)
    playing = PlayAudio(call=desk.call, op=OpId(901), side=Side.MATRIX, file=file)
    desk.engine.do(playing)
    await client.received.reaches(before + 5)
    phone.send(*sender.packets([b"p" * 160] * 3))
    played = await desk.event(MediaPlayed)
    assert (played.op, played.seconds) == (OpId(901), 0.5)
    packets = (await client.received.reaches(before + 24))[before:]
    codec = "opus" if formats is OPUS_ONLY else "PCMU"
    assert heard(codec, [packet.payload for packet in packets][:24]).hertz == pytest.approx(
        700, abs=10
    )
    phone.send(*sender.packets([b"p" * 160] * 5))
    packets = await client.received.reaches(before + 27)
    numbers = [packet.sequence for packet in packets]
    assert numbers == [(numbers[0] + n) & 0xFFFF for n in range(len(numbers))]
    assert len({packet.ssrc for packet in packets}) == 1


def _unheard(_: Packet, _now: float) -> None:
    """Nobody listens."""


async def test_a_file_is_played_with_the_bit_rate_of_the_settings(tmp_path: Path) -> None:
    file = written(tmp_path / "tone.wav", 700, 0.3)

    async def size(bitrate: int) -> int:
        streams = Streams("cname", lambda: None, lambda *_: None, bitrate)
        sizes: list[int] = []
        streams.to_sip.lead(Outlet(lambda packet: sizes.append(len(packet))))
        streams.follow(agreed(PCMU, 0), agreed(OPUS, 111))
        events: list[MediaEvent] = []
        sounds = Sounds(CALL, streams, lambda *_: None, lambda _: Ear(_unheard), events.append)
        await sounds.play(PlayAudio(call=CALL, op=OpId(1), side=Side.SIP, file=file))
        await until(lambda: events, what="it was played", every=0.005)
        await sounds.close()
        return sum(sizes[2:12])

    few, many = await asyncio.gather(size(8000), size(64000))
    assert few < 0.7 * many


@pytest.mark.parametrize(
    ("side", "codec"), [(Side.SIP, "PCMU"), (Side.MATRIX, "PCMU"), (Side.MATRIX, "opus")]
)
async def test_a_side_is_written_into_a_file_and_still_passes(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, tmp_path: Path, side: Side, codec: str
) -> None:
    await desk.client_calls(client, phone, [codec])
    file = tmp_path / "said.ogg"
    recording = RecordAudio(call=desk.call, op=OpId(902), side=side, file=str(file))
    desk.engine.do(recording)
    # Commands are carried out in order: what is asked after it, is answered after it.
    refused = await desk.refused(
        lambda op: PlayAudio(call=desk.call, op=op, side=Side.SIP, file=str(tmp_path / "none"))
    )
    assert "cannot be played" in refused.detail
    sound = tone(codec, 500, 50)
    if side is Side.SIP:
        phone.send(*Sender(PAYLOAD_TYPES[codec]).packets(sound))
        await client.received.reaches(50)
    else:
        formats = {"PCMU": 0, "opus": 111}
        stream = Sender(formats[codec], 960 if codec == "opus" else 160, ssrc=client.ssrc)
        await client.send(*stream.packets(sound), extended=True)
        await phone.received.reaches(50)
    desk.engine.do(EndAudio(call=desk.call, side=side))
    recorded = await desk.event(MediaRecorded)
    assert recorded.op == OpId(902)
    assert recorded.seconds == pytest.approx(1.0, abs=0.05)
    name, seconds, found = read(file)
    assert name in {"opus", "libopus"}
    assert seconds == pytest.approx(1.0, abs=0.05)
    assert found.hertz == pytest.approx(500, abs=10)


async def test_the_end_of_the_call_completes_both(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, tmp_path: Path
) -> None:
    await desk.client_calls(client, phone)
    file = tmp_path / "said.ogg"
    desk.engine.do(RecordAudio(call=desk.call, op=OpId(903), side=Side.SIP, file=str(file)))
    long = written(tmp_path / "tone.wav", 700, 60)
    desk.engine.do(PlayAudio(call=desk.call, op=OpId(904), side=Side.SIP, file=long))
    await phone.received.reaches(5)
    phone.send(*Sender(0).packets(tone("PCMU", 500, 50)))
    await client.received.reaches(50)
    await desk.hang_up()
    assert 0 < desk.of(MediaPlayed)[0].seconds < 60
    assert desk.of(MediaRecorded)[0].seconds == pytest.approx(1.0, abs=0.05)
    assert read(file)[1] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("kind", [PlayAudio, RecordAudio])
async def test_before_anything_is_agreed_there_is_nobody(
    desk: Desk,
    client: WebRtcPeer,
    tmp_path: Path,
    kind: type[PlayAudio] | type[RecordAudio],
) -> None:
    await desk.offer(Side.MATRIX, await client.offer())
    file = str(tmp_path / "x.ogg")
    failed = await desk.refused(lambda op: kind(call=desk.call, op=op, side=Side.SIP, file=file))
    assert failed.fault is MediaFault.NO_RESOURCES
