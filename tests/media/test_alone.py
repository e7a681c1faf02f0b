# SPDX-License-Identifier: GPL-3.0-or-later
"""A call without a client: files are played to the SIP peer, and it is recorded."""

import asyncio
import wave
from array import array
from pathlib import Path

import av
import pytest

from bridge.call.commands import EndAudio, JoinMedia, PlayAudio, RecordAudio
from bridge.call.events import (
    MediaConnected,
    MediaFailed,
    MediaFault,
    MediaKeyPressed,
    MediaPlayed,
    MediaRecorded,
)
from bridge.call.ids import OpId, Side
from bridge.errors import LocalError
from bridge.media.embedded import files, sounds
from tests.media.desk import Desk
from tests.media.sound import heard, tone
from tests.simulators.audio import Tone, find_tone, sine
from tests.simulators.rtp import EVENT, PAYLOAD_TYPES, RtpPeer, Sender


@pytest.fixture
def beep(tmp_path: Path) -> str:
    file = tmp_path / "beep.wav"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(sine(700, 0.3, 16000).tobytes())
    return str(file)


def found(file: Path) -> Tone:
    samples = files.read_samples(str(file), 16000)
    return find_tone(array("h", samples), 16000)


async def greet(desk: Desk, phone: RtpPeer, file: str, codec: str) -> None:
    """The phone hears a file."""
    before = len(phone.received.packets)
    desk.engine.do(PlayAudio(call=desk.call, op=OpId(901), side=Side.SIP, file=file))
    packets = (await phone.received.reaches(before + 15))[before:]
    assert heard(codec, [packet.payload for packet in packets]).is_near(700)
    assert (await desk.event(MediaPlayed)).seconds == 0.3


async def speak(desk: Desk, phone: RtpPeer, file: Path, codec: str) -> MediaRecorded:
    """The phone says something."""
    desk.engine.do(RecordAudio(call=desk.call, op=OpId(902), side=Side.SIP, file=str(file)))
    # Commands are carried out in order: what is asked after it, is answered after it.
    await desk.refused(
        lambda op: PlayAudio(call=desk.call, op=op, side=Side.SIP, file=f"{file}.none")
    )
    step = 960 if codec == "opus" else 160
    sender = Sender(PAYLOAD_TYPES[codec], step)
    phone.send(*sender.packets(tone(codec, 500, 60)))
    phone.send(*sender.digit("#", EVENT))
    assert (await desk.event(MediaKeyPressed)).key == "#"
    desk.engine.do(EndAudio(call=desk.call, side=Side.SIP))
    return await desk.event(MediaRecorded)


@pytest.mark.parametrize("codec", ["PCMU", "G722"])
async def test_a_telephone_is_greeted_and_recorded(
    desk: Desk, phone: RtpPeer, tmp_path: Path, beep: str, codec: str
) -> None:
    joined = await desk.join("", phone.sdp([codec]))
    assert joined.matrix_sdp == ""
    phone.aim(joined.sip_sdp)
    assert (await desk.event(MediaConnected)).sip_codec.startswith(codec)
    await greet(desk, phone, beep, codec)
    recorded = await speak(desk, phone, tmp_path / "said.ogg", codec)
    assert recorded.seconds == pytest.approx(1.2, abs=0.05)
    assert recorded.sound == pytest.approx(1.2, abs=0.1)
    assert found(tmp_path / "said.ogg").is_near(500)
    statistics = await desk.hang_up()
    assert statistics["matrix_packets_received"] == 0
    assert statistics["sip_packets_received"] == 68


async def test_one_that_was_to_ring_at_a_client(
    desk: Desk, phone: RtpPeer, tmp_path: Path, beep: str
) -> None:
    """What the client was offered is void; a hold is answered without it."""
    await desk.offer(Side.SIP, phone.sdp(["opus"]))
    joined = await desk.join("", phone.sdp(["opus"]))
    phone.aim(joined.sip_sdp)
    held = phone.sdp(["opus"]).replace("a=sendrecv", "a=sendonly")
    assert "sendonly" in held
    answered = await desk.offer(Side.SIP, held)
    assert not answered.needed
    assert "a=recvonly" in answered.answer
    assert not (await desk.offer(Side.SIP, phone.sdp(["opus"]))).needed
    await greet(desk, phone, beep, "opus")
    await speak(desk, phone, tmp_path / "said.ogg", "opus")
    assert found(tmp_path / "said.ogg").is_near(500)


async def test_one_that_offered_nothing(
    desk: Desk, phone: RtpPeer, tmp_path: Path, beep: str
) -> None:
    await desk.offer(Side.SIP, None)
    offered = await desk.offer(Side.MATRIX, "")
    phone.aim(offered.sdp)
    assert await desk.answer(Side.SIP, phone.sdp(["PCMU"])) == ""
    await desk.event(MediaConnected)
    assert (await desk.offer(Side.MATRIX, "")).needed is False
    await greet(desk, phone, beep, "PCMU")
    await speak(desk, phone, tmp_path / "said.ogg", "PCMU")


async def test_without_a_common_codec_there_is_no_call(desk: Desk, phone: RtpPeer) -> None:
    sdp = phone.sdp(["PCMU"]).replace("RTP/AVP 0 ", "RTP/AVP 18 ")
    refused = await desk.refused(
        lambda op: JoinMedia(call=desk.call, op=op, matrix_sdp="", sip_sdp=sdp)
    )
    assert refused.fault is MediaFault.NO_COMMON_CODEC


@pytest.mark.parametrize(
    ("longest", "silence"), [(None, 0.1), (0.1, None)], ids=["silence", "length"]
)
async def test_a_recording_ends_by_itself(
    desk: Desk,
    phone: RtpPeer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    longest: float | None,
    silence: float | None,
) -> None:
    monkeypatch.setattr(sounds, "FLUSH", 0.05)
    joined = await desk.join("", phone.sdp(["PCMU"]))
    phone.aim(joined.sip_sdp)
    file = str(tmp_path / "said.ogg")
    desk.engine.do(
        RecordAudio(
            call=desk.call,
            op=OpId(903),
            side=Side.SIP,
            file=file,
            longest=longest,
            silence=silence,
        )
    )
    recorded = await desk.event(MediaRecorded)
    assert (recorded.op, recorded.sound) == (OpId(903), 0.0)
    await desk.hang_up()
    assert len(desk.of(MediaRecorded)) == 1


async def test_a_disk_that_is_full(
    desk: Desk, phone: RtpPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recording ends with what could be written."""
    monkeypatch.setattr(sounds, "FLUSH", 0.05)

    def encode(self: files.OggOpus, frame: av.AudioFrame) -> None:
        raise LocalError("no space is left")

    monkeypatch.setattr(files.OggOpus, "_encode", encode)
    joined = await desk.join("", phone.sdp(["PCMU"]))
    phone.aim(joined.sip_sdp)
    file = str(tmp_path / "said.ogg")
    recording = RecordAudio(call=desk.call, op=OpId(904), side=Side.SIP, file=file)
    desk.engine.do(recording)
    sender = Sender(0)
    for _ in range(500):
        if desk.of(MediaRecorded):
            break
        phone.send(*sender.packets(tone("PCMU", 500, 1)))
        await asyncio.sleep(0.02)
    assert (await desk.event(MediaRecorded)).op == OpId(904)


async def test_a_file_that_cannot_be_completed(
    desk: Desk, phone: RtpPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(self: files.OggOpus) -> None:
        raise LocalError("no space is left")

    monkeypatch.setattr(files.OggOpus, "close", close)
    joined = await desk.join("", phone.sdp(["PCMU"]))
    phone.aim(joined.sip_sdp)
    file = str(tmp_path / "said.ogg")
    desk.engine.do(RecordAudio(call=desk.call, op=OpId(905), side=Side.SIP, file=file))
    desk.engine.do(EndAudio(call=desk.call, side=Side.SIP))
    failed = await desk.event(MediaFailed)
    assert (failed.op, failed.fault) == (OpId(905), MediaFault.NO_RESOURCES)


def test_what_is_loud_enough_to_be_heard() -> None:
    voice = sine(300, 0.5, 16000, amplitude=0.05).tobytes()
    noise = sine(300, 0.5, 16000, amplitude=0.01).tobytes()
    assert files.loud_seconds(voice + noise, 16000) == pytest.approx(0.5, abs=0.03)
    assert files.loud_seconds(b"", 16000) == 0
