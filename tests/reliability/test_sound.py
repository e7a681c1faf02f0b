# SPDX-License-Identifier: GPL-3.0-or-later
"""What an end of a call is taken to hear."""

from reliability.sound import Ear, Mouth, payloads
from tests.simulators.rtp import EVENT, Packet, Sender


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_tones_keys_and_pauses() -> None:
    clock = Clock()
    ear = Ear(frozenset({EVENT}), clock)

    async def send(packet: Packet) -> None:
        ear.take(packet)

    mouth = Mouth("PCMU", 1000, Sender(0), send, events=EVENT, clock=8000)

    async def speak(packets: int) -> None:
        for _ in range(packets):
            clock.now += 0.02
            await mouth.tick()

    ear.start_over()
    await speak(30)
    assert ear.tone("PCMU").is_near(1000)
    mouth.press("7")
    mouth.press("*")
    await speak(30)
    assert ear.keys == "7*"
    assert ear.pause() < 0.5
    mouth.muted = True
    await speak(100)
    assert not ear.tone("PCMU").is_near(1000)
    assert ear.pause() > 1.9


def test_a_second_of_a_tone_is_made_once() -> None:
    assert payloads("PCMU", 440) is payloads("PCMU", 440)
