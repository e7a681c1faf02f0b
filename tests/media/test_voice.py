# SPDX-License-Identifier: GPL-3.0-or-later
"""Voice messages and greetings, as files."""

import wave
from array import array
from io import BytesIO
from pathlib import Path

import av
import pytest

from bridge.errors import LocalError
from bridge.media import voice
from bridge.media.embedded.files import OggOpus, read_samples
from tests.simulators.audio import find_tone, sine

RATE = voice.RATE


def recorded(file: Path, *parts: tuple[float, float]) -> str:
    """A recording: hertz (0: silence) and seconds."""
    written = OggOpus(str(file), RATE)
    for hertz, seconds in parts:
        samples = sine(hertz, seconds, RATE, amplitude=0.3 if hertz else 0)
        written.write(samples.tobytes())
    written.close()
    return str(file)


def tone_in(data: bytes) -> float:
    return find_tone(array("h", read_samples(BytesIO(data), RATE)), RATE).hertz


def encoded(container: str, codec: str, seconds: float, hertz: float = 500) -> bytes:
    """An audio file as clients and telephones make them."""
    out = BytesIO()
    rate = 48000 if codec == "libopus" else 44100
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        samples = sine(hertz, seconds, rate)
        size = stream.codec_context.frame_size or 1024
        for at in range(0, len(samples) - size, size):
            frame = av.AudioFrame(format="s16", layout="mono", samples=size)
            frame.planes[0].update(samples[at : at + size].tobytes())
            frame.sample_rate, frame.pts = rate, at
            for made in av.AudioResampler(stream.format, "mono", rate).resample(frame):
                file.mux(stream.encode(made))
        file.mux(stream.encode(None))
    return out.getvalue()


def test_a_recording_becomes_a_message(tmp_path: Path) -> None:
    file = recorded(tmp_path / "said.ogg", (0, 1), (500, 2))
    message = voice.read_voice(file, shortest=1, most=None)
    assert message is not None
    assert message.data == Path(file).read_bytes()
    assert message.seconds == pytest.approx(3, abs=0.05)
    assert len(message.waveform) == voice.BARS
    assert max(message.waveform) == 1024
    assert max(message.waveform[:32]) < 40
    assert min(message.waveform[36:98]) > 800


def test_too_little_is_no_message(tmp_path: Path) -> None:
    file = recorded(tmp_path / "said.ogg", (0, 3), (500, 0.5))
    assert voice.read_voice(file, shortest=1, most=None) is None


def test_what_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """A crash leaves a file without an end."""
    file = Path(recorded(tmp_path / "said.ogg", (500, 5)))
    file.write_bytes(file.read_bytes()[:-3000])
    message = voice.read_voice(str(file), shortest=1, most=None)
    assert message is not None
    assert 2 < message.seconds < 5


@pytest.mark.parametrize("what", ["nothing", "rubbish"])
def test_what_is_no_recording_at_all(tmp_path: Path, what: str) -> None:
    file = tmp_path / "said.ogg"
    if what == "rubbish":
        file.write_bytes(b"rubbish" * 100)
    with pytest.raises(LocalError):
        voice.read_voice(str(file), shortest=1, most=None)


@pytest.mark.parametrize(
    ("most", "seconds"), [(20_000, 10), (4_000, 5)], ids=["of less quality", "shorter"]
)
def test_a_message_that_the_homeserver_would_not_take(
    tmp_path: Path, most: int, seconds: float
) -> None:
    file = recorded(tmp_path / "said.ogg", (500, 10))
    assert len(Path(file).read_bytes()) > most
    message = voice.read_voice(file, shortest=1, most=most)
    assert message is not None
    assert len(message.data) <= most
    assert seconds * 0.6 < message.seconds <= seconds
    assert tone_in(message.data) == pytest.approx(500, abs=15)
    assert [each.name for each in tmp_path.iterdir()] == ["said.ogg"]


def test_where_next_to_nothing_may_be_sent_it_is_tried_all_the_same(tmp_path: Path) -> None:
    file = recorded(tmp_path / "said.ogg", (500, 2))
    message = voice.read_voice(file, shortest=1, most=10)
    assert message is not None
    assert message.seconds == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    ("container", "codec"),
    [("ogg", "libopus"), ("mp3", "libmp3lame"), ("wav", "pcm_s16le"), ("mp4", "aac")],
)
def test_a_greeting_may_have_any_usual_format(tmp_path: Path, container: str, codec: str) -> None:
    file = tmp_path / "greetings" / "one.wav"
    audio = encoded(container, codec, 2)
    assert voice.write_greeting(audio, file, longest=60) == pytest.approx(2, abs=0.15)
    with wave.open(str(file)) as written:
        assert (written.getframerate(), written.getnchannels()) == (RATE, 1)
    assert tone_in(file.read_bytes()) == pytest.approx(500, abs=15)


def test_what_is_no_greeting_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "one.wav"
    audio = encoded("wav", "pcm_s16le", 1)
    voice.write_greeting(audio, file, longest=60)
    before = file.read_bytes()
    for audio, why in (
        (b"", "cannot be played"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/hostname\n", "cannot be played"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "cannot be played"),
        (encoded("wav", "pcm_s16le", 3), "too long"),
        (encoded("wav", "pcm_s16le", 1, hertz=0), "nothing to be heard"),
    ):
        with pytest.raises(LocalError, match=why):
            voice.write_greeting(audio, file, longest=2)
    assert file.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["one.wav"]


def test_tones_for_who_has_no_greeting(tmp_path: Path) -> None:
    greeting, beep = tmp_path / "a" / "greeting.wav", tmp_path / "a" / "beep.wav"
    voice.write_tones(greeting, beep)
    samples = array("h", read_samples(str(greeting), RATE))
    rising = [
        find_tone(samples[int(at * RATE) : int((at + 0.15) * RATE)], RATE).hertz
        for at in (0.63, 0.93, 1.25)
    ]
    assert rising == pytest.approx([523, 659, 784], abs=15)
    assert find_tone(array("h", read_samples(str(beep), RATE)), RATE).is_near(1000)


def test_a_folder_in_which_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot be written"):
        voice.write_tones(tmp_path / "file" / "a.wav", tmp_path / "file" / "b.wav")
    written = OggOpus(str(tmp_path / "file" / "said.ogg"), RATE)
    with pytest.raises(LocalError, match="cannot be written"):
        written.write(bytes(RATE * 2))
    with pytest.raises(LocalError, match="cannot be written"):
        written.close()


def test_a_waveform_of_nothing() -> None:
    assert voice.waveform(b"") == ()
    assert voice.waveform(bytes(4)) == (0, 0)
