# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with secrets in them: written whole or not at all, and what was there before is kept."""

import os
import shutil
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from bridge.errors import LocalError

PRIVATE = 0o600


def check_writable(path: Path) -> None:
    """Raises LocalError if a file could not be written there."""
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise LocalError(
            f"{path} cannot be written: its directory is not there, or belongs to others",
            remedy=f"Make it (mkdir -m 0700 {path.absolute().parent}), or choose another.",
        )


def write_private(path: Path, text: str, now: datetime) -> Path | None:
    """Write a file that its owner alone can read; what was there before is copied aside.

    Gives the copy; None if nothing was there, or just this. Raises LocalError.
    """
    try:
        copy = _copied(path, text, now)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as written:
            try:
                written.write(text)
                _like_before(Path(written.name), path)
                os.replace(written.name, path)
            except BaseException:
                os.unlink(written.name)
                raise
    except OSError as error:
        raise LocalError(
            f"{path} cannot be written: {error.strerror}",
            remedy="Choose a directory that you may write to.",
        ) from error
    return copy


def _copied(path: Path, text: str, now: datetime) -> Path | None:
    if not path.exists() or path.read_bytes() == text.encode():
        return None
    copy = path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%S}")
    number = 1
    while copy.exists():
        number += 1
        copy = path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%S}-{number}")
    shutil.copy2(path, copy)
    copy.chmod(PRIVATE)
    _owned_as(copy, path)
    return copy


def _like_before(new: Path, old: Path) -> None:
    """A temporary file is its owner's alone; who owned the file before goes on to."""
    if old.exists():
        _owned_as(new, old)


def _owned_as(new: Path, old: Path) -> None:
    # Who may not give files away is their owner already, or will hear of it when it starts.
    with suppress(PermissionError):
        os.chown(new, old.stat().st_uid, old.stat().st_gid)
