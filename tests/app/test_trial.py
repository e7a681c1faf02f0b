# SPDX-License-Identifier: GPL-3.0-or-later
"""`check --call`: a call by the dial plan, and what is told of it."""

import math
import socket
from array import array
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bridge.app.cli import commands
from bridge.app.trial import caller_of, judge, trial
from bridge.app.verdicts import Finding, Verdict
from bridge.config import Config, parse
from bridge.errors import NotDone
from bridge.media.embedded.rtcp import FarEnd
from bridge.media.embedded.trial import TONE, Heard, _measure
from tests.simulators.baresip import Phone
from tests.simulators.processes import free_port
from tests.sip.phone import Sipp
from tests.sip.udp_peer import UdpPeer, granted

NUMBER = "+12025550123"


def config(port: int, **trunk: Any) -> Config:
    settings = {
        "appservice": {"as_token": "ours", "hs_token": "theirs"},
        "encryption": {"mode": "off"},
        "web": {"port": free_port()},
        "permissions": {"@chief:example.org": "admin", "@ann:example.org": "call"},
        "sip": {"transports": [{"listen": "127.0.0.1", "port": free_port(socket.SOCK_DGRAM)}]},
        "trunks": {"pbx": {"server": f"127.0.0.1:{port}", **trunk}},
        "outbound": [{"trunk": "pbx"}],
        "media": {"listen": "127.0.0.1", "rtp_ports": [43000, 43999]},
        "limits": {"ring_time": 8},
    }
    return parse(yaml.safe_dump(settings), directory=Path("/tmp"))


async def findings(config: Config, talk: float = 1.2, who: str = "") -> dict[str, Finding]:
    return {each.what: each async for each in trial(config, NUMBER, who, talk)}


def ports_taken(config: Config) -> "closing[socket.socket]":
    """A bridge that runs has its SIP port."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    transport = config.sip.transports[0]
    taken.bind((str(transport.listen), transport.port))
    return closing(taken)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("codec", "encrypts", "told"),
    [
        ("PCMA", "", "PCMA/8000, not encrypted"),
        ("G722", "srtp", "G722/8000, AES_256_CM_HMAC_SHA1_80"),
    ],
)
async def test_a_telephone_that_echoes(
    tmp_path: Path, codec: str, encrypts: str, told: str
) -> None:
    async with Phone(tmp_path, user=NUMBER, says=None, codecs=[codec], encrypts=encrypts) as phone:
        settings = config(phone.port, srtp="optional" if encrypts else "off")
        with ports_taken(settings):
            found = await findings(settings)
    assert {each.verdict for each in found.values()} == {Verdict.OK}, found
    assert found["dial plan"].message.startswith("@chief:example.org: trunk `pbx` dials")
    assert found["call"].message.startswith("200, answered after")
    assert found["codec"].message.split(",")[0] == told.split(",")[0]
    assert ("not encrypted" in found["codec"].message) == (not encrypts)
    assert int(found["audio in"].message.split()[0]) > 20
    assert f"our tone of {TONE} Hz comes back" in found["sound"].message
    assert found["end"].message == "BYE, answered"


@pytest.mark.e2e
async def test_a_telephone_from_which_nothing_comes(tmp_path: Path) -> None:
    async with Sipp("callee_answers", tmp_path) as phone:
        found = await findings(config(phone.port), talk=0.3)
        await phone.succeeds()
    assert found["audio in"].verdict is Verdict.FAILED
    assert "not one packet" in found["audio in"].message
    assert "nat-and-firewall" in found["audio in"].remedy
    assert found["audio out"].message.endswith("the far end reports nothing")
    assert found["end"].verdict is Verdict.OK


async def test_a_call_that_is_refused() -> None:
    async with UdpPeer(lambda request: (486, ())) as peer:
        found = await findings(config(peer.port))
    assert found["call"].verdict is Verdict.FAILED
    assert found["call"].message == "refused: 486 Whatever"
    assert [*found] == ["dial plan", "call"]


async def test_a_trunk_that_registers_is_registered_with_first_if_no_bridge_runs() -> None:
    account = {"register": True, "username": "me", "password": "secret"}
    async with UdpPeer(
        lambda request: granted(request) if request.method == "REGISTER" else (603, ())
    ) as peer:
        found = await findings(config(peer.port, **account))
        assert found["registration"].message == "registered"
        assert found["call"].message == "refused: 603 Whatever"
        assert [each for each in peer.methods() if each != "ACK"] == [
            *("REGISTER", "INVITE", "REGISTER")
        ]
        peer.answer = lambda request: (403, ())
        found = await findings(config(peer.port, **account))
    assert found["registration"].verdict is Verdict.FAILED
    assert found["registration"].message == "403 Whatever"


async def test_who_is_not_allowed_calls_nobody() -> None:
    settings = config(9)
    found = await findings(settings, who="@stranger:example.org")
    assert [*found] == ["dial plan"]
    assert found["dial plan"].verdict is Verdict.FAILED
    assert "matrix-sip route @stranger:example.org" in found["dial plan"].remedy


def test_as_whom_is_called() -> None:
    settings = config(9)
    assert caller_of(settings, "") == "@chief:example.org"
    assert caller_of(settings, "@bob:example.org") == "@bob:example.org"
    with pytest.raises(NotDone, match="not a Matrix id"):
        caller_of(settings, "bob")
    nobody = settings.model_copy(update={"permissions": {}})
    with pytest.raises(NotDone, match="--as"):
        caller_of(nobody, "")


def heard(**known: Any) -> Heard:
    values: dict[str, Any] = {
        "codec": "PCMA/8000",
        "encryption": "",
        "sent": 250,
        "received": 240,
        "lost": 3,
        "jitter_ms": 1.5,
        "level": -20.0,
        "echo": False,
        "far_end": FarEnd(reports=2, lost=1),
    }
    return Heard(**values | known)


def test_what_is_told_of_audio() -> None:
    out, came, sound = judge(heard())
    assert out.message == "250 packets; the far end reports 1 lost"
    assert came.message == "240 packets, 3 lost, jitter 1.5 ms"
    assert sound.message == "heard, at -20 dB"
    silent = judge(heard(level=-90.0))[-1]
    assert (silent.verdict, silent.message) == (
        Verdict.WARNING,
        "packets came, but they are silent",
    )


@pytest.mark.parametrize(
    ("hertz", "amplitude", "level", "echo"),
    [(TONE, 0.3, -13.5, True), (440, 0.3, -13.5, False), (TONE, 0.0, -120, False)],
)
def test_sound_is_measured(hertz: int, amplitude: float, level: float, echo: bool) -> None:
    rate = 8000
    samples = array("h", [0] * rate)
    samples.extend(
        int(amplitude * 32767 * math.sin(2 * math.pi * hertz * n / rate)) for n in range(rate)
    )
    found, ours = _measure(samples, rate)
    assert found == pytest.approx(level, abs=0.5) or found < -100 > level
    assert ours is echo
    assert _measure(array("h"), rate)[1] is False


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def one(*given: object) -> Any:
        asked.append(given[1:])
        yield Finding(Verdict.FAILED, "call", "refused: 486 Busy Here", "Wait.")

    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr("bridge.app.trial.trial", one)
    file = tmp_path / "config.yaml"
    file.write_text("appservice: {as_token: a, hs_token: b}\nencryption: {mode: off}\n")
    words = ["check", "-c", str(file), "--call", NUMBER, "--as", "@a:b.c", "--talk", "2"]
    result = CliRunner().invoke(commands, words)
    assert result.exit_code == 1
    assert "failed   call: refused: 486 Busy Here\n         Wait." in result.output
    assert asked == [(NUMBER, "@a:b.c", 2.0)]
    file.write_text(file.read_text() + "web: {prt: 1}\n")
    result = CliRunner().invoke(commands, words)
    assert result.exit_code == 1
    assert len(asked) == 1
