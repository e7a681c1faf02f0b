# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo, as somebody would run it."""

import sys
from pathlib import Path

from tests.simulators.processes import Child
from tests.simulators.waiting import until

_ROOT = Path(__file__).parents[2]
_INTERRUPTED = 130


async def test_both_calls_are_good_and_nothing_is_left_behind(tmp_path: Path) -> None:
    demo = await _start(tmp_path, "--once")
    status = await demo.wait(within=60)
    assert status == 0, demo.output()
    for promised in ("m.call.invite", "INVITE", "relayed", "transcoded", "both calls were good"):
        assert promised in demo.output()
    _assert_clean(tmp_path)


async def test_it_cleans_up_when_it_is_stopped_in_mid_call(tmp_path: Path) -> None:
    demo = await _start(tmp_path)
    await until(
        lambda: "audio up" in demo.output(), within=60, what=f"a call began:\n{demo.output()}"
    )
    await demo.stop(grace=30)
    assert demo.process.returncode == _INTERRUPTED, demo.output()
    _assert_clean(tmp_path)


async def _start(directory: Path, *arguments: str) -> Child:
    files = directory / "files"
    files.mkdir()
    return await Child.start(
        "demo",
        [sys.executable, "-m", "demo", *arguments],
        log=directory / "demo.log",
        cwd=_ROOT,
        env={"TMPDIR": str(files), "COLUMNS": "100"},
    )


def _assert_clean(directory: Path) -> None:
    """No file, and no process that was started with one of its files."""
    assert not list((directory / "files").iterdir())
    left = [
        command
        for process in Path("/proc").glob("[0-9]*/cmdline")
        if str(directory) in (command := _read(process))
    ]
    assert not left


def _read(cmdline: Path) -> str:
    try:
        return cmdline.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it ended meanwhile
        return ""
