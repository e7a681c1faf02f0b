# SPDX-License-Identifier: GPL-3.0-or-later
"""Voice messages are posted once, whatever is away meanwhile; and what people may set."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from bridge.app import voicemails as module
from bridge.app.in_force import InForce
from bridge.app.policy import policy_of
from bridge.app.voicemail_desk import VoicemailSettings
from bridge.app.voicemail_files import greeting_of
from bridge.app.voicemails import KEPT, Voicemails
from bridge.call.causes import Cause
from bridge.call.commands import DropVoicemail, KeepVoicemail, PostVoicemail, RecordEnd
from bridge.call.events import Event, VoicemailFilled
from bridge.call.ids import Address, CallId, UserId
from bridge.config import AppService, Config, Encryption, EncryptionMode, Limits, Voicemail
from bridge.config.models import Notices
from bridge.errors import ConfigurationError, NotDone, RemoteError
from bridge.media import voice
from bridge.media.embedded.files import OggOpus
from bridge.records import PersonSettings
from bridge.voicemail import Recording, Voice, VoicemailDesk
from tests.simulators.audio import sine, write_wav

ANN = UserId("@ann:mx.test")
NUMBER = Address("tel:+12025550123")
CALL = CallId("ab-1")
NOON = 1_700_049_600.0


def config(folder: Path | None = None, **settings: Any) -> Config:
    """Voicemail is allowed if it has a folder."""
    return Config(
        appservice=AppService(as_token=SecretStr("as"), hs_token=SecretStr("hs")),
        encryption=Encryption(mode=EncryptionMode.OFF),
        notices=Notices(timezone="UTC"),
        voicemail=Voicemail(enabled=folder is not None, folder=folder, **settings),
    )


class Bench:
    """The store and the rooms, and time that passes only when somebody sleeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.in_force = InForce(config(folder, max_waiting=2))
        self.rows: dict[CallId, Recording] = {}
        self.lengths: dict[CallId, float] = {}
        self.posted: list[tuple[UserId, Address, str, Voice, str, str]] = []
        self.failures: list[Exception] = []
        self.emitted: list[Event] = []
        self.limit: int | None = None
        self.away = 0
        self.now = NOON
        self.asleep: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None
        self.restart()

    def restart(self) -> None:
        self.voicemails = Voicemails(
            self.in_force,
            self,
            self,
            self.emitted.append,
            wall=lambda: self.now,
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.asleep.append(seconds)
        self.now += seconds
        self.on_sleep()
        await asyncio.sleep(0)

    # the store
    def keep(self, recording: Recording) -> None:
        self.rows[recording.call] = recording

    def forget(self, call: CallId) -> None:
        self.rows.pop(call, None)

    def measure(self, call: CallId, seconds: float) -> None:
        self.lengths.setdefault(call, seconds)

    async def waiting(self) -> Sequence[Recording]:
        return list(self.rows.values())

    # the rooms
    async def most(self) -> int | None:
        if self.away:
            self.away -= 1
            raise RemoteError("away")
        return self.limit

    async def deliver(
        self,
        person: UserId,
        address: Address,
        caller_name: str,
        voice: Voice,
        body: str,
        key: str,
    ) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.posted.append((person, address, caller_name, voice, body, key))

    # the core
    def records(self, seconds: float = 2.0, call: CallId = CALL, name: str = "Pat") -> Path:
        """A caller speaks."""
        file = self.folder / f"{call}.ogg"
        written = OggOpus(str(file), 16000)
        written.write(sine(500, seconds, 16000).tobytes())
        written.close()
        kept = KeepVoicemail(
            call=call, person=ANN, address=NUMBER, caller_name=name, file=str(file)
        )
        self.voicemails.observe(kept, NOON)
        return file

    async def post(self, call: CallId = CALL) -> None:
        self.voicemails.observe(PostVoicemail(call=call), NOON + 5)
        await self.voicemails.settled()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.voicemails.close()


async def test_a_message_is_posted_and_forgotten(bench: Bench) -> None:
    file = bench.records()
    assert bench.rows[CALL].file == str(file)
    assert bench.voicemails.waiting == 1
    await bench.post()
    [(person, address, name, said, body, key)] = bench.posted
    assert (person, address, name, key) == (ANN, NUMBER, "Pat", "voicemail.ab-1")
    assert body == "Voice message from Pat (+1 202-555-0123), 12:00 UTC, 0:02"
    assert said.seconds == pytest.approx(2, abs=0.05)
    assert bench.lengths == {CALL: said.seconds}
    assert bench.rows == {}
    assert not file.exists()
    assert bench.voicemails.waiting == 0


async def test_who_hangs_up_before_the_beep_has_left_no_message(bench: Bench) -> None:
    bench.records()
    for call, cause in (("ab-1", "voicemail"), ("ab-2", "voicemail"), ("ab-3", "normal")):
        end = RecordEnd(call=CallId(call), cause=cause, status=200, ended_by="sip")
        bench.voicemails.observe(end, NOON)
    assert bench.lengths == {CallId("ab-2"): 0}
    bench.voicemails.observe(PostVoicemail(call=CALL), NOON + 5)
    bench.voicemails.observe(replace(end, call=CALL, cause="voicemail"), NOON + 5)
    await bench.voicemails.settled()
    assert bench.lengths[CALL] == pytest.approx(2, abs=0.05)


async def test_a_caller_without_a_name(bench: Bench) -> None:
    bench.records(name="")
    await bench.post()
    assert bench.posted[0][4].startswith("Voice message from +1 202-555-0123, ")


async def test_nothing_worth_it_is_deleted(bench: Bench) -> None:
    file = bench.records()
    bench.voicemails.observe(DropVoicemail(call=CALL), NOON)
    assert not file.exists()
    assert bench.rows == {}
    assert bench.posted == []
    assert bench.lengths == {CALL: 0}


@pytest.mark.parametrize("error", [RemoteError("away"), RuntimeError("a bug")])
async def test_while_the_homeserver_is_away_it_waits(bench: Bench, error: Exception) -> None:
    file = bench.records()
    bench.failures, bench.away = [error] * 3, 1
    bench.on_sleep = lambda: assert_kept(file)
    await bench.post()
    assert bench.asleep == [2, 2, 4, 8]
    assert len(bench.posted) == 1


def assert_kept(file: Path) -> None:
    assert file.exists()


async def test_after_a_day_it_says_which_day(bench: Bench) -> None:
    bench.records()
    bench.failures = [RemoteError("away")]

    def a_day_passes() -> None:
        bench.now += 90_000

    bench.on_sleep = a_day_passes
    await bench.post()
    assert "2023-11-15 12:00 UTC" in bench.posted[0][4]


async def test_what_nobody_takes_is_given_up_in_the_end(bench: Bench) -> None:
    file = bench.records()
    bench.failures = [RemoteError("gone")] * 5_000
    with capture_logs() as lines:
        await bench.post()
    assert bench.now > NOON + KEPT
    assert max(bench.asleep) == 300
    assert lines[-1]["log_level"] == "error"
    assert not file.exists()
    assert bench.posted == []


async def test_after_a_crash_it_is_posted_by_the_next_start(bench: Bench) -> None:
    bench.records()
    bench.restart()
    await bench.voicemails.start()
    await bench.voicemails.settled()
    assert len(bench.posted) == 1
    assert bench.rows == {}


@pytest.mark.parametrize("what", ["short", "rubbish", "gone"])
async def test_what_a_crash_left_may_be_nothing(bench: Bench, what: str) -> None:
    file = bench.records(0.4)
    if what == "rubbish":
        file.write_bytes(b"rubbish")
    elif what == "gone":
        file.unlink()
    bench.restart()
    await bench.voicemails.start()
    await bench.voicemails.settled()
    assert bench.posted == []
    assert bench.rows == {}
    assert not file.exists()


async def test_what_ends_while_the_bridge_stops_is_left_for_the_next_start(bench: Bench) -> None:
    file = bench.records()
    await bench.voicemails.close()
    await bench.post()
    assert file.exists()
    assert CALL in bench.rows


async def test_what_waits_when_the_bridge_stops_is_kept(bench: Bench) -> None:
    file = bench.records()
    asleep = asyncio.Event()
    bench.failures = [RemoteError("away")]

    async def sleep(seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    bench.voicemails._sleep = sleep
    bench.voicemails.observe(PostVoicemail(call=CALL), NOON)
    await asleep.wait()
    await bench.voicemails.close()
    assert file.exists()
    assert CALL in bench.rows


async def test_the_core_learns_when_too_many_wait(bench: Bench) -> None:
    bench.records()
    bench.records(call=CallId("ab-2"))
    assert bench.emitted == [VoicemailFilled(full=True)]
    await bench.post()
    assert bench.emitted[1:] == [VoicemailFilled(full=False)]


async def test_a_message_that_is_too_large_is_made_smaller(bench: Bench) -> None:
    file = bench.records(8)
    bench.limit = file.stat().st_size // 2
    await bench.post()
    assert len(bench.posted[0][3].data) <= bench.limit


async def test_a_file_that_cannot_be_deleted_is_no_reason_to_post_it_again(bench: Bench) -> None:
    file = bench.records()
    bench.on_sleep = lambda: pytest.fail("posted twice")
    file.unlink()
    file.mkdir()
    with capture_logs() as lines:
        await bench.post()
    assert bench.rows == {}
    assert lines[-1]["event"] == "a recording cannot be deleted"


# --- files ------------------------------------------------------------------------------------


async def test_tones_are_made_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.voicemails.open()
    assert {each.name for each in bench.folder.iterdir()} == {"greeting.wav", "beep.wav"}
    monkeypatch.setattr(voice, "write_tones", lambda *files: pytest.fail("written twice"))
    await bench.voicemails.prepare()


async def test_without_voicemail_nothing_is_written(bench: Bench) -> None:
    bench.in_force.replace(config())
    await bench.voicemails.prepare()
    assert list(bench.folder.iterdir()) == []
    bench.voicemails.changed()


async def test_a_folder_that_cannot_be_made(bench: Bench) -> None:
    (bench.folder / "file").touch()
    bench.in_force.replace(config(bench.folder / "file" / "voicemail"))
    with pytest.raises(ConfigurationError, match="voicemail has no place") as error:
        await bench.voicemails.prepare()
    assert "voicemail.folder" in error.value.remedy
    with capture_logs() as lines:
        bench.voicemails.changed()
        assert bench.voicemails._preparing is not None
        await bench.voicemails._preparing
    assert lines[-1]["event"] == "callers hear no greeting"


# --- settings ---------------------------------------------------------------------------------


def test_the_core_knows_what_is_set(tmp_path: Path) -> None:
    terms = policy_of(config(tmp_path, answers=("declined",), max_length=30)).voicemail
    assert terms is not None
    assert terms.greeting == str(tmp_path / "greeting.wav")
    assert terms.folder == str(tmp_path)
    assert (terms.longest, terms.silence, terms.delay) == (30, 8, 20)
    assert terms.causes == {Cause.DECLINED}
    assert policy_of(config()).voicemail is None


class Settings:
    """What people chose."""

    def __init__(self, folder: Path) -> None:
        self.chosen = PersonSettings()
        self.in_force = InForce(config(folder))
        self.settings = VoicemailSettings(self.in_force, lambda person: self.chosen, self.choose)

    async def choose(self, person: UserId, settings: PersonSettings) -> None:
        self.chosen = settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path)


async def test_a_person_switches_it_on(settings: Settings) -> None:
    desk: VoicemailDesk = settings.settings
    status = desk.status(ANN)
    assert status is not None
    assert (status.on, status.delay, status.own_delay) == (False, 20, False)
    await desk.switch(ANN, True)
    await desk.set_delay(ANN, 12)
    status = desk.status(ANN)
    assert status is not None
    assert (status.on, status.delay, status.own_delay) == (True, 12, True)
    assert settings.chosen == PersonSettings(voicemail=True, voicemail_delay=12)
    await desk.set_delay(ANN, None)
    assert settings.chosen == PersonSettings(voicemail=True)


@pytest.mark.parametrize("seconds", [4, 60, 9999])
async def test_a_delay_with_which_it_would_never_answer(settings: Settings, seconds: float) -> None:
    with pytest.raises(NotDone, match="From 5 to 59 seconds"):
        await settings.settings.set_delay(ANN, seconds)


async def test_where_the_admin_allows_none(settings: Settings) -> None:
    settings.in_force.replace(config())
    desk = settings.settings
    settings.chosen = replace(settings.chosen, greeting=True)
    assert desk.status(ANN) is None
    assert desk.greeting(ANN) == ""  # There is no folder.
    with pytest.raises(NotDone, match="no voicemail here"):
        await desk.switch(ANN, True)
    with pytest.raises(NotDone, match="no voicemail here"):
        await desk.set_delay(ANN, 10)
    with pytest.raises(NotDone, match="no voicemail here"):
        await desk.set_greeting(ANN, b"")


async def test_a_greeting_comes_and_goes(settings: Settings, tmp_path: Path) -> None:
    desk = settings.settings
    write_wav(tmp_path / "mine.wav", sine(500, 1, 8000), 8000)
    assert desk.greeting(ANN) == ""
    seconds = await desk.set_greeting(ANN, (tmp_path / "mine.wav").read_bytes())
    assert seconds == pytest.approx(1, abs=0.05)
    assert settings.chosen.greeting
    file = greeting_of(settings.in_force.config.voicemail, ANN)
    assert desk.greeting(ANN) == str(file)
    assert file.exists()
    with pytest.raises(NotDone, match="I cannot use that"):
        await desk.set_greeting(ANN, b"rubbish")
    assert file.exists()
    await desk.set_greeting(ANN, None)
    await desk.set_greeting(ANN, None)
    assert not file.exists()
    assert not settings.chosen.greeting


def test_files_of_people_do_not_leave_their_folder(tmp_path: Path) -> None:
    file = greeting_of(Voicemail(folder=tmp_path), UserId("@../../x:mx.test"))
    assert file.parent == tmp_path / "greetings"


def test_how_long_a_call_rings_at_most_is_known() -> None:
    assert Limits().ring_time > Voicemail().delay
    assert module.SHORTEST == 1.0
