# SPDX-License-Identifier: GPL-3.0-or-later
"""Which codec each leg gets, and that the audio is right for it."""

import numpy as np
import pesq
import pytest

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import G722, OPUS, PCMA, PCMU, GatedStage
from tests.simulators import audio
from tests.simulators.stage import Line
from tests.simulators.waiting import until

_SPEECH = 6
RELAYED = [(PCMU, "PCMU"), (PCMA, "PCMA"), (G722, "G722"), (OPUS, "opus")]
EACH_LINE = pytest.mark.parametrize(("line", "codec"), RELAYED, ids=[codec for _, codec in RELAYED])


@EACH_LINE
async def test_a_codec_that_both_have_is_relayed(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, line: Line, codec: str
) -> None:
    person, caller = await new_matrix_phone()
    async with stage.phone(line) as phone:
        call = await caller.call(await caller.client.direct_room(line.ghost))
        await call.connected()
        assert call.codec == codec
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    statistics = (await stage.bridge.ended(person.user_id)).statistics
    assert statistics["mode"] == "relay"


@pytest.mark.parametrize("line", [PCMU, PCMA, G722], ids=lambda line: line.name)
async def test_opus_is_transcoded_for_a_telephone_without_it(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, line: Line
) -> None:
    """The client is as nheko: Opus or nothing."""
    person, caller = await new_matrix_phone(codecs=("opus",))
    async with stage.phone(line) as phone:
        call = await caller.call(await caller.client.direct_room(line.ghost))
        await call.connected()
        assert call.codec == "opus"
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    statistics = (await stage.bridge.ended(person.user_id)).statistics
    assert statistics["mode"] == "transcode"


async def test_opus_is_offered_to_a_client_and_transcoded_from_a_telephone_without_it(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    person, callee = await new_matrix_phone(codecs=("opus",))
    async with stage.phone(PCMU) as phone:
        await phone.dial(stage.uri(person))
        call = await callee.rings()
        await call.answer()
        await call.connected()
        assert call.codec == "opus"
        await phone.hears(440)
        await call.voice.hears(1000)
        await phone.hang_up()
        await call.ended()


async def test_an_echo_comes_back_through_both_legs(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    _, caller = await new_matrix_phone()
    async with stage.phone(PCMU, says=None) as phone:
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await call.voice.hears(440)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")


@pytest.mark.parametrize(
    ("codecs", "least"), [(("PCMU",), 3.0), (("opus",), 2.8)], ids=["relayed", "transcoded"]
)
async def test_speech_stays_speech(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone, codecs: tuple[str, ...], least: float
) -> None:
    """PESQ (ITU-T P.862, narrow band) of what the client hears against what the telephone says.

    PCMU alone brings this voice down to 3.4; each packet lost in these six seconds costs 0.2 more.
    """
    said = audio.speechlike(_SPEECH, 8000)
    _, caller = await new_matrix_phone(codecs=codecs)
    async with stage.phone(PCMU, says=said) as phone:
        call = await caller.call(await caller.client.direct_room(PCMU.ghost))
        await call.connected()
        await until(
            lambda: len(call.voice.heard()) > _SPEECH * 8000,
            what="all of it was heard",
        )
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
    assert _pesq(said, call.voice.heard()[: len(said)]) > least


def _pesq(said: audio.Samples, heard: audio.Samples) -> float:
    """The telephone says the same over and over; `heard` begins somewhere in it."""
    once, degraded = np.array(said, np.float64), np.array(heard, np.float64)
    likeness = np.fft.irfft(np.fft.rfft(once) * np.conj(np.fft.rfft(degraded)))
    reference = np.roll(once, -int(np.argmax(likeness)))
    return float(pesq.pesq(8000, reference.astype(np.int16), degraded.astype(np.int16), "nb"))
