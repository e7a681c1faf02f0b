# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd unit: systemd knows every line of it, and finds it well confined."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[2] / "packaging/matrix-sip.service"
# 0 is a program that can do nothing, 10 one that can do everything; systemd calls up to 2 "OK".
WANTED_EXPOSURE = 2.0

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="there is no systemd here"
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that exists in place of the one it would start."""
    text = re.sub(r"/opt/matrix-sip/bin/matrix-sip", shutil.which("true") or "", UNIT.read_text())
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    return copy


def test_systemd_understands_all_of_it(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert complaints == []
    assert done.returncode == 0


def test_a_misspelt_line_would_be_noticed(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHouse=yes"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert "ProtectHouse" in done.stderr


def test_it_is_confined(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= WANTED_EXPOSURE


def test_it_may_have_low_ports_by_a_drop_in_and_nothing_else(unit: Path) -> None:
    """As docs/how-to/install.md says."""
    page = (UNIT.parents[1] / "docs/how-to/install.md").read_text()
    found = re.search(r"^```ini\n(\[Service\]\nAmbient.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found
    drop_in = unit.parent / f"{unit.name}.d"
    drop_in.mkdir()
    (drop_in / "override.conf").write_text(found[1])
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert not [line for line in done.stderr.splitlines() if "override" in line], done.stderr
    assert done.returncode == 0
    capabilities = re.findall(r"^(?:Ambient|Capab)\w+=(.*)$", found[1], re.MULTILINE)
    assert set(capabilities) == {"CAP_NET_BIND_SERVICE"}
    unit_text = unit.read_text()
    for line in ("NoNewPrivileges=yes", "PrivateTmp=yes", "CapabilityBoundingSet=\n"):
        assert line in unit_text
