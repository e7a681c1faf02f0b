# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, as people use it."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import yaml
from typer.testing import CliRunner, Result

from bridge.app.cli import commands
from bridge.config import load
from bridge.config.provisioned import ProvisionedOutbound
from bridge.store.database import open_database
from bridge.store.provisioned import ProvisionedSettings
from tests.simulators.processes import free_port

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("MATRIX_SIP_")]:
        monkeypatch.delenv(name)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments)


def configure(path: Path = Path("config.yaml"), **sections: dict[str, object]) -> None:
    """A generated configuration with some sections changed."""
    settings = yaml.safe_load(call("generate-config").stdout)
    for name, values in sections.items():
        settings[name].update(values)
    path.write_text(yaml.safe_dump(settings))


class Answer(BaseHTTPRequestHandler):
    """An admin listener that answers as the test says."""

    status = 200
    body = b""
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path} {self.headers['Authorization']}")
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[tuple[type[Answer], int]]:
    handler = type("Handler", (Answer,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield handler, server.server_port
        server.shutdown()
        thread.join()


def test_version() -> None:
    result = call("--version")
    assert result.exit_code == 0
    assert result.stdout == f"matrix-sip {version('matrix-sip')}\n"


def test_help_names_every_command() -> None:
    text = call("--help").stdout
    for name in ("run", "check", "health", "generate-config", "generate-registration"):
        assert name in text


def test_a_generated_configuration_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(call("generate-config").stdout)
    config = load(file, {})
    assert config.appservice.as_token != config.appservice.hs_token


def test_the_example_has_no_tokens() -> None:
    result = call("generate-config", "--example")
    assert result.stdout == (ROOT / "config.yaml.example").read_text()


def test_the_registration_has_the_tokens_of_the_configuration() -> None:
    configure()
    result = call("generate-registration")
    assert result.exit_code == 0
    found = yaml.safe_load(result.stdout)
    settings = yaml.safe_load(Path("config.yaml").read_text())["appservice"]
    assert found["as_token"] == settings["as_token"]
    assert found["hs_token"] == settings["hs_token"]
    assert found["url"] == "http://127.0.0.1:29330"


def test_the_second_registration_is_for_people_and_has_no_address() -> None:
    configure()
    settings = yaml.safe_load(Path("config.yaml").read_text())
    result = call("generate-registration", "--people")
    assert result.exit_code == 0
    found = yaml.safe_load(result.stdout)
    assert found["url"] is None
    assert found["as_token"] == settings["portals"]["people_token"]
    assert found["namespaces"]["users"] == [{"exclusive": False, "regex": "@.*:example\\.org"}]
    first = yaml.safe_load(call("generate-registration").stdout)
    for key in ("id", "sender_localpart", "as_token", "hs_token"):
        assert found[key] != first[key]


def test_without_a_token_there_is_no_second_registration() -> None:
    configure(portals={"people_token": ""})
    result = call("generate-registration", "--people")
    assert result.exit_code == 1
    assert "people_token" in result.stderr


@pytest.mark.parametrize("command", ["run", "check", "health", "generate-registration"])
def test_a_missing_file_is_explained(command: str) -> None:
    result = call(command)
    assert result.exit_code == (2 if command == "check" else 1)
    assert "config.yaml does not exist" in result.stderr
    assert "matrix-sip generate-config > config.yaml" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["run", "check", "health", "generate-registration"])
def test_every_mistake_is_told(command: str) -> None:
    Path("bad.yaml").write_text("web: {prt: 1}\nnumbers: {region: XX}\n")
    result = call(command, "--config", "bad.yaml")
    assert result.exit_code == 1
    assert "bad.yaml:1: web.prt: unknown key; did you mean 'port'?" in result.output
    assert "bad.yaml:2: numbers.region: 'XX' is not a country" in result.output


def test_check_goes_on_after_a_mistake_in_the_settings() -> None:
    configure(homeserver={"address": "http://127.0.0.1:1"}, web={"port": free_port()})
    settings = yaml.safe_load(Path("config.yaml").read_text())
    settings["numbers"]["region"] = "XX"
    Path("config.yaml").write_text(yaml.safe_dump(settings))
    result = call("check")
    assert result.exit_code == 1
    assert "failed   configuration: config.yaml:" in result.output
    assert "failed   homeserver: http://127.0.0.1:1 does not answer" in result.output
    assert "ok       pjsua2" in result.output


def test_check_of_nothing_that_can_be_read_proves_nothing() -> None:
    Path("bad.yaml").write_text("web: [\n")
    result = call("check", "--config", "bad.yaml")
    assert result.exit_code == 2
    assert "not valid YAML" in result.output


def test_check_tells_of_settings_of_earlier_versions() -> None:
    configure(homeserver={"address": "http://127.0.0.1:1"}, web={"port": free_port()})
    settings = yaml.safe_load(Path("config.yaml").read_text())
    settings["trunks"] = {"pbx": {"server": "127.0.0.1:1", "answer_within": 0.1}}
    settings["outbound"] = [{"trunk": "pbx", "keep_plus": False}]
    Path("config.yaml").write_text(yaml.safe_dump(settings))
    output = call("check").output
    assert "outbound[0].keep_plus: is now format" in output
    assert "Run matrix-sip upgrade." in output


def test_the_file_can_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(Path("other.yaml"))
    monkeypatch.setenv("MATRIX_SIP_CONFIG", "other.yaml")
    assert call("generate-registration").exit_code == 0


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_asks_the_running_bridge(
    listener: tuple[type[Answer], int], status: int, code: int
) -> None:
    handler, port = listener
    handler.status, handler.body = status, json.dumps({"ready": status == 200}).encode()
    configure(web={"listen": "0.0.0.0", "port": port})
    result = call("health")
    assert result.exit_code == code
    assert json.loads(result.stdout) == {"ready": status == 200}


def test_health_of_no_bridge(listener: tuple[type[Answer], int]) -> None:
    handler, port = listener
    handler.body = b"<html>"
    configure(web={"port": port})
    assert call("health").exit_code == 1
    configure(web={"port": 1})
    result = call("health")
    assert result.exit_code == 1
    assert "no bridge answers at http://127.0.0.1:1/health: Connection refused" in result.stderr
    assert "matrix-sip run" in result.stderr


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (200, {"applied": ["permissions"], "restart": ["media.workers"], "problems": []}, 0, ""),
        (200, {"applied": [], "restart": [], "problems": []}, 0, "nothing is different"),
        (
            422,
            {"applied": [], "restart": [], "problems": ["config.yaml:3: web.prt: unknown key"]},
            1,
            "config.yaml:3: web.prt: unknown key",
        ),
        (401, {}, 1, "another appservice.as_token"),
        (503, {}, 1, "starting or stopping"),
        (404, {}, 1, "no bridge of this version"),
    ],
)
def test_reload_tells_what_came_of_it(
    listener: tuple[type[Answer], int], status: int, body: dict[str, Any], code: int, said: str
) -> None:
    handler, port = listener
    handler.status, handler.body = status, json.dumps(body).encode()
    configure(web={"port": port})
    # Whether the settings are right is for the bridge to say, which reads the same file.
    Path("config.yaml").write_text(Path("config.yaml").read_text() + "limits: {ring_time: never}\n")
    result = call("reload")
    assert result.exit_code == code
    assert said in result.output
    assert handler.asked[-1].startswith("POST /reload Bearer ")
    if body.get("applied"):
        assert "in force permissions" in result.stdout
        assert "restart  media.workers" in result.stdout


def test_reload_without_a_bridge_or_a_file() -> None:
    configure(web={"port": 1})
    result = call("reload")
    assert result.exit_code == 1
    assert "no bridge answers at http://127.0.0.1:1/reload: Connection refused" in result.stderr
    Path("config.yaml").write_text("web: [")
    result = call("reload")
    assert result.exit_code == 1
    assert "not valid YAML" in result.stderr


def test_a_bridge_that_cannot_start_says_why_and_ends() -> None:
    configure(database={"url": "sqlite:missing/a.db"}, web={"port": free_port()})
    result = subprocess.run(
        [sys.executable, "-m", "bridge", "run"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert "missing/a.db cannot be opened" in result.stderr
    assert "database.url needs a file" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bridge_that_still_starts_can_be_stopped() -> None:
    configure(
        homeserver={"address": "http://127.0.0.1:1"},
        appservice={"port": free_port()},
        web={"port": free_port()},
    )
    with subprocess.Popen(
        [sys.executable, "-m", "bridge", "run"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            while not Path("matrix-sip.db").exists():
                assert process.poll() is None
                time.sleep(0.02)  # It needs the processor itself.
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "stopped" in errors
    assert "Traceback" not in errors


def test_a_list_of_calls_is_not_cut_in_a_pipe() -> None:
    configure()
    assert call("calls").exit_code == 0
    with closing(sqlite3.connect("matrix-sip.db")) as database, database:
        database.execute(
            "INSERT INTO call (call, direction, person, address, trunk, started_at, ended_at,"
            " cause, status, ended_by) VALUES ('c1', 'to_sip', '@alice:mx.test',"
            " 'tel:+12025550123', 'provider', 1700000000, 1700000009, 'busy', 486, 'sip')"
        )
    (_, line) = call("calls").stdout.splitlines()
    assert "busy (486), by sip" in line


def plan(path: Path = Path("config.yaml")) -> None:
    """A configuration with two trunks."""
    configure(path)
    settings = yaml.safe_load(path.read_text())
    settings |= {
        "permissions": {"@pat:example.org": "call"},
        "trunks": {
            "first": {"server": "sip.example.com", "callers": ["+1202*"], "withhold": True},
            "second": {"server": "192.0.2.20", "caller_id": "100"},
        },
        "callers": {"@pat:example.org": {"numbers": ["+12025550177"], "name": "Pat"}},
        "outbound": [
            {"prefix": "+44", "trunk": "first"},
            {"prefix": "+1", "trunks": ["first", "second"], "format": "national"},
        ],
        "inbound": [{"trunk": "second", "number": "_7XX", "person": "@pat:example.org"}],
    }
    path.write_text(yaml.safe_dump(settings))


def test_a_route_is_explained_without_calling_anybody() -> None:
    plan()
    result = call("route", "@pat:example.org", "(202) 555-0123")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "permissions: `@pat:example.org` is call",
        "the number: `+12025550123`",
        "outbound[0], numbers from +44: no, the number starts otherwise",
        "outbound[1], numbers from +1: this one",
        'callers: `@pat:example.org` is +12025550177, "Pat"',
        "by `first`: INVITE sip:2025550123@sip.example.com",
        'by `first`: From: "Anonymous" <sip:anonymous@anonymous.invalid>',
        'by `first`: P-Asserted-Identity: "Pat" <sip:+12025550177@sip.example.com>',
        "by `first`: Privacy: id",
        "by `second`: INVITE sip:2025550123@192.0.2.20",
        'by `second`: From: "Pat" <sip:100@192.0.2.20>',
        'by `second`: P-Asserted-Identity: "Pat" <sip:100@192.0.2.20>',
        "trunk `first` dials `2025550123` as `+12025550177`, withheld, "
        "then trunk `second` dials `2025550123` as `100`",
    ]


def test_a_route_in_is_explained() -> None:
    plan()
    result = call("route", "202 555 0123", "701", "--in", "--trunk", "second")
    assert result.stdout.splitlines() == [
        "the caller: `tel:+12025550123`",
        "the number: `701`",
        "inbound[0], number _7XX, trunk second: this one",
        "@pat:example.org: permissions say call",
        "rings @pat:example.org",
    ]


def test_a_route_meets_what_programs_have_set() -> None:
    plan()
    rule = ProvisionedOutbound(name="sales", priority=1, trunk="second", prefix="+1202")

    async def provision() -> None:
        url = load(Path("config.yaml"), os.environ).database.url.get_secret_value()
        async with open_database(url) as database:
            await ProvisionedSettings(database).save_rule(rule)

    asyncio.run(provision())
    result = call("route", "@pat:example.org", "(202) 555-0123")
    assert "outbound:sales, numbers from +1202: this one" in result.stdout.splitlines()
    assert result.stderr == ""
    Path("matrix-sip.db").write_text("no database")
    result = call("route", "@pat:example.org", "(202) 555-0123")
    assert "outbound[1], numbers from +1: this one" in result.stdout.splitlines()
    assert "Rules that were set by the API are not known: " in result.stderr


def test_a_route_that_leads_nowhere_is_explained() -> None:
    plan()
    result = call("route", "@pat:example.org", "911")
    assert result.stdout.splitlines()[-1].startswith("refused: Emergency calls")
    assert "not in service" in call("route", "100", "100", "--in", "--trunk", "first").stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("pat", "100"), "pat is not a Matrix id"),
        (("@pat:example.org", "grandma"), "neither a telephone number"),
        (("100", "701", "--in"), "--in and --trunk go together"),
        (("100", "701", "--trunk", "first"), "--in and --trunk go together"),
        (("100", "701", "--in", "--trunk", "third"), "no such trunk; there are: first, second"),
        (("grandma", "701", "--in", "--trunk", "first"), "neither a telephone number"),
    ],
)
def test_what_no_route_can_be_explained_for(words: tuple[str, ...], complaint: str) -> None:
    plan()
    result = call("route", *words)
    assert result.exit_code == 1
    assert complaint in result.output
