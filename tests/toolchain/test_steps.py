# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees of a step that works, and of one that does not."""

import re
from pathlib import Path

import pytest

from scripts.steps import TAIL_LINES, StepError, Steps, output_of


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path / "logs" / "setup.log")


def test_a_step_is_one_line_with_its_time(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    with steps.step("greet"):
        steps.run(["echo", "hello"])

    assert re.fullmatch(r"  greet \.\.\. \d+\.\d s\n", capsys.readouterr().out)
    assert steps.log.read_text() == "== greet\n$ echo hello\nhello\n"


def test_of_steps_side_by_side_each_is_seen_to_begin_and_to_end(
    steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = steps.beside("paint")
    with steps.step("build"):
        with beside.step("paint"):
            beside.run(["echo", "red"])
            steps.run(["echo", "wall"])
        steps.skip("roof", "there")

    seen = re.sub(r"\d+\.\d s", "T s", capsys.readouterr().out)
    assert seen.splitlines() == [
        "  build ... ",
        "  paint ... T s",
        "  roof ... there",
        "  build ... T s",
    ]
    assert beside.log.name == "setup-paint.log"
    assert beside.log.read_text() == "== paint\n$ echo red\nred\n"
    assert "red" not in steps.log.read_text()


def test_a_failing_step_says_which_why_and_where(
    steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    script = f"seq {TAIL_LINES + 10}; echo broken >&2; exit 3"

    with pytest.raises(StepError) as caught, steps.step("build it"):
        steps.run(["sh", "-c", script])

    message = str(caught.value)
    assert message.startswith("build it: `sh -c ")
    assert "ended with status 3" in message
    assert "  | broken\n" in message
    assert "  | 1\n" not in message
    assert str(steps.log) in message
    assert "build it ... FAILED after" in capsys.readouterr().out


def test_only_the_failing_command_is_quoted(steps: Steps) -> None:
    steps.run(["echo", "of an earlier command"])

    with pytest.raises(StepError) as caught:
        steps.run(["false"])

    assert "earlier" not in str(caught.value)


def test_a_missing_command_is_named(steps: Steps) -> None:
    with pytest.raises(StepError, match="there is no command 'no-such-command'"):
        steps.run(["no-such-command"])


def test_a_log_can_be_continued(tmp_path: Path) -> None:
    log = tmp_path / "setup.log"
    Steps(log).run(["echo", "one"])

    Steps(log, append=True).run(["echo", "two"])

    assert log.read_text() == "$ echo one\none\n$ echo two\ntwo\n"


def test_commands_get_their_environment(steps: Steps) -> None:
    steps.run(["sh", "-c", "echo $COLOUR; command -v sh"], env={"COLOUR": "green"})

    assert "green\n/" in steps.log.read_text()


def test_output_of_a_failing_command_is_its_complaint() -> None:
    assert output_of(["echo", "good"]) == "good\n"
    with pytest.raises(StepError, match="ended with status 4: bad"):
        output_of(["sh", "-c", "echo bad >&2; exit 4"])
