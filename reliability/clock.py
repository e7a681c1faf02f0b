# SPDX-License-Identifier: GPL-3.0-or-later
"""A wall clock of its own for a process, which can be set while that runs."""

import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_name("clock.c")
_AHEAD: Final = struct.Struct("=q")


class OwnClock:
    """Made of a small library (`clock.c`) that is loaded before all others.

    libfaketime does more, and with a file to set it by, holds threads up for seconds.
    """

    def __init__(self, directory: Path) -> None:
        """Raises FileNotFoundError where there is no C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise FileNotFoundError("there is no C compiler (Debian: apt-get install gcc)")
        directory.mkdir(parents=True, exist_ok=True)
        self._file, self._library = directory / "clock", directory / "clock.so"
        self._file.write_bytes(_AHEAD.pack(0))
        subprocess.run(
            [compiler, "-O2", "-Wall", "-shared", "-fPIC", _SOURCE, "-o", self._library, "-ldl"],
            check=True,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of the process that has it."""
        return {"LD_PRELOAD": str(self._library), "OWN_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        """Be so many seconds ahead of the machine's clock, at once; behind it, if below 0."""
        with os.fdopen(os.open(self._file, os.O_WRONLY), "wb") as file:
            file.write(_AHEAD.pack(seconds))
