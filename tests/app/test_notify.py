# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd hears."""

import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge.app.notify import notify


def listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.settimeout(2)
    return listener


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with listen(str(tmp_path / "notify")) as listener:
        notify("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_by_an_abstract_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"matrix-sip-{tmp_path.name}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with listen(f"\0{name}") as listener:
        notify("STOPPING=1")
        assert listener.recv(100) == b"STOPPING=1"


def test_nobody_has_to_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with capture_logs() as lines:
        notify("READY=1")
    assert [each["log_level"] for each in lines] == ["warning"]
