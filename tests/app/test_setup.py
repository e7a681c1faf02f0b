# SPDX-License-Identifier: GPL-3.0-or-later
"""`matrix-sip setup`: answers become files, mistakes are told at once, and nothing is lost."""

import io
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console
from typer.testing import CliRunner, Result

from bridge.app import asking
from bridge.app.asking import Asking
from bridge.app.cli import commands
from bridge.app.questions import BY_KEY, KEEP, Unanswered, answer_all, answer_from
from bridge.app.setup import answers_before, settings_before
from bridge.config import Config, Permission, load

PROVIDER: dict[str, Any] = {
    "homeserver": "http://127.0.0.1:8008/",
    "domain": "example.org",
    "trunk": "provider",
    "server": "sip.example.com",
    "transport": "tls",
    "username": "alice",
    "password": "from your provider",
    "number": "+49 30 23125 000",
    "admin": "alice",
    "callers": ["bob", "example.com"],
    "public_address": "203.0.113.7",
}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def setup(answers: dict[str, Any], *more: str) -> Result:
    Path("answers.yaml").write_text(yaml.safe_dump(answers))
    return CliRunner().invoke(commands, ["setup", "--answers", "answers.yaml", "--no-check", *more])


def made() -> Config:
    return load(Path("config.yaml"), {})


def copies() -> list[Path]:
    return sorted(Path().glob("*.yaml.*"))


def test_a_provider() -> None:
    result = setup(PROVIDER)
    assert result.exit_code == 0, result.output
    config = made()
    assert (config.homeserver.address, config.homeserver.domain) == (
        "http://127.0.0.1:8008",
        "example.org",
    )
    trunk = config.trunks["provider"]
    assert (trunk.server, trunk.transport, trunk.register) == ("sip.example.com", "tls", True)
    assert trunk.password.get_secret_value() == "from your provider"
    assert trunk.caller_id == "+493023125000"
    assert config.numbers.region == "DE"
    assert config.permissions == {
        "@bob:example.org": Permission.CALL,
        "example.com": Permission.CALL,
        "@alice:example.org": Permission.ADMIN,
    }
    assert [(each.prefix, each.trunk) for each in config.outbound] == [("+", "provider")]
    assert [(each.trunk, each.person) for each in config.inbound] == [
        ("provider", "@alice:example.org")
    ]
    assert [(each.protocol, each.port) for each in config.sip.transports] == [
        ("udp", 5060),
        ("tls", 5061),
    ]
    assert {str(each.public_address) for each in config.sip.transports} == {"203.0.113.7"}
    assert str(config.media.public_address) == "203.0.113.7"
    assert str(config.appservice.listen) == "127.0.0.1"


def test_every_key_is_explained_in_what_is_written() -> None:
    setup(PROVIDER)
    filled = Path("config.yaml").read_text()
    empty = CliRunner().invoke(commands, ["generate-config"]).stdout
    sentences = re.compile(r"^# [A-Z].*$", re.MULTILINE)
    assert sentences.findall(filled) == sentences.findall(empty)


def test_who_reads_the_files_and_what_the_homeserver_needs() -> None:
    result = setup(PROVIDER)
    registration = yaml.safe_load(Path("registration.yaml").read_text())
    assert registration["as_token"] == made().appservice.as_token.get_secret_value()
    for name in ("config.yaml", "registration.yaml"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    assert str(Path("registration.yaml").absolute()) in result.output.replace("\n", "")
    assert "Numbers are read as in DE: numbers.region" in result.output
    snippet = result.output[result.output.index("# homeserver.yaml") :]
    assert yaml.safe_load(snippet)["experimental_features"]["msc3202_transaction_extensions"]


def test_a_pbx() -> None:
    setup(
        {
            "homeserver": "http://127.0.0.1:8008",
            "domain": "example.org",
            "trunk": "pbx",
            "server": "192.0.2.20",
            "number": "700",
            "admin": "@alice:example.org",
        }
    )
    config = made()
    trunk = config.trunks["pbx"]
    assert (trunk.register, trunk.caller_id, trunk.probe_interval) == (False, "700", 60)
    assert config.outbound[0].prefix == ""
    assert config.media.public_address is None
    assert [each.protocol for each in config.sip.transports] == ["udp"]


def test_a_homeserver_on_another_machine_is_told_where_the_bridge_is() -> None:
    answers = {"domain": "example.org", "trunk": "none", "admin": "alice"}
    setup({"homeserver": "https://matrix.example.org", "bridge": "http://192.0.2.7:1234"} | answers)
    service = made().appservice
    assert (service.address, service.port, str(service.listen)) == (
        "http://192.0.2.7:1234",
        1234,
        "0.0.0.0",
    )
    assert made().trunks == {}


def test_a_second_run_keeps_what_was_not_asked() -> None:
    setup(PROVIDER)
    before = made()
    settings = yaml.safe_load(Path("config.yaml").read_text())
    settings["limits"]["max_duration"] = 77
    settings["permissions"]["@eve:example.org"] = "blocked"
    settings["trunks"]["provider"]["codecs"] = ["PCMA"]
    Path("config.yaml").write_text(yaml.safe_dump(settings))
    edited = Path("config.yaml").read_text()

    assert setup({"callers": "", "public_address": ""}).exit_code == 0
    after = made()
    assert after.appservice == before.appservice
    assert after.database == before.database
    assert after.limits.max_duration == 77
    assert after.trunks["provider"].codecs == ("PCMA",)
    assert after.trunks["provider"].password == before.trunks["provider"].password
    assert after.permissions == {
        "@eve:example.org": Permission.BLOCKED,
        "@alice:example.org": Permission.ADMIN,
    }
    assert after.media.public_address is None
    assert after.outbound == before.outbound
    (copy,) = copies()
    assert copy.read_text() == edited
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_another_run_can_add_a_trunk() -> None:
    setup(PROVIDER)
    setup({"trunk": "pbx", "server": "192.0.2.20"})
    config = made()
    assert [*config.trunks] == ["provider", "pbx"]
    assert [each.trunk for each in config.outbound] == ["provider", "pbx"]
    assert [each.trunk for each in config.inbound] == ["provider", "pbx"]


def test_what_is_the_same_is_not_copied() -> None:
    setup(PROVIDER)
    setup({})
    assert copies() == []


def test_every_mistake_in_the_answers_is_told_and_nothing_written() -> None:
    result = setup({"homeserver": "8008", "trunk": "fax", "admin": "@", "servr": "a"})
    assert result.exit_code == 1
    for word in ("homeserver: wanted: a URL", "trunk: wanted", "servr: no such question; did you"):
        assert word in result.output
    assert not Path("config.yaml").exists()
    with pytest.raises(Unanswered, match="server: is missing"):
        answer_from({"homeserver": "http://matrix.example.org", "username": "a"}, {})


@pytest.mark.parametrize(
    ("key", "answer", "complaint"),
    [
        ("domain", "a b", "what follows the colon"),
        ("server", "sip://a", "host name or address"),
        ("username", "", "some text"),
        ("number", "030 1234", "with + and country code"),
        ("callers", "@bob", "Matrix ids or server names"),
        ("public_address", "home", "an IP address"),
        ("transport", "quic", "udp, tcp, tls or auto"),
    ],
)
def test_what_an_answer_has_to_look_like(key: str, answer: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="wanted") as error:
        BY_KEY[key].check(answer, {"domain": "example.org"})
    assert complaint in str(error.value)


def test_a_configuration_that_cannot_be_read_is_left_alone() -> None:
    Path("config.yaml").write_text("homeserver: [\n")
    result = setup(PROVIDER)
    assert result.exit_code == 1
    assert "not valid YAML" in result.output
    assert Path("config.yaml").read_text() == "homeserver: [\n"


def test_before_anything_is_asked_it_is_clear_that_it_can_be_written() -> None:
    result = CliRunner().invoke(commands, ["setup", "--config", "missing/config.yaml"])
    assert result.exit_code == 1
    assert "missing/config.yaml cannot be written" in result.output
    assert "Where does the bridge reach" not in result.output


def test_the_database_is_where_the_unit_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.app.setup.ETC", Path().absolute())
    setup(PROVIDER)
    assert made().database.url.get_secret_value() == "sqlite:/var/lib/matrix-sip/matrix-sip.db"


def test_answers_from_standard_input() -> None:
    result = CliRunner().invoke(
        commands, ["setup", "--answers", "-", "--no-check"], input=yaml.safe_dump(PROVIDER)
    )
    assert result.exit_code == 0, result.output
    assert made().trunks


def test_the_checks_come_last() -> None:
    Path("answers.yaml").write_text(
        yaml.safe_dump(PROVIDER | {"homeserver": "http://127.0.0.1:1", "server": "127.0.0.1:1"})
    )
    result = CliRunner().invoke(commands, ["setup", "--answers", "answers.yaml"])
    assert result.exit_code == 1
    assert "failed   homeserver: http://127.0.0.1:1 does not answer" in result.output


def test_the_answers_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/install.md").read_text()
    found = re.search(r"^```\n(homeserver: .*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found
    assert setup(yaml.safe_load(found[1])).exit_code == 0
    assert made().permissions == {
        "example.org": Permission.CALL,
        "@you:example.org": Permission.ADMIN,
    }


def test_what_comes_next_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.app.cli.run_checks", lambda *_: None)
    assert "matrix-sip check, then matrix-sip run" in setup(PROVIDER).output
    Path("answers.yaml").write_text("{}")
    result = CliRunner().invoke(commands, ["setup", "--answers", "answers.yaml"])
    assert "Nothing failed. Now: matrix-sip run" in result.output


# --- at a terminal --------------------------------------------------------------------------------


class Terminal:
    """What is typed, line by line, and what is shown."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
        self.console = Console(record=True, width=300, file=io.StringIO())
        self._typed = iter(typed)
        monkeypatch.setattr(self.console, "input", self._input)

    def _input(self, prompt: object = "", **_: object) -> str:
        self.console.print(prompt, end="")
        return next(self._typed)

    @property
    def shown(self) -> str:
        return self.console.export_text(clear=False)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> str:
        return ""

    monkeypatch.setattr(asking, "_doubt", nothing)
    monkeypatch.setattr(asking, "_name_of", nothing)


def test_each_answer_is_looked_at_at_once(
    no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(
        monkeypatch,
        *("", "no name", "example.org", "provider", "sip.example.com", "", "alice", "secret"),
        *("1234", "", "alice", "", ""),
    )
    answers = answer_all(Asking(terminal.console), {})
    assert answers["homeserver"] == "http://127.0.0.1:8008"
    assert answers["domain"] == "example.org"
    assert answers["admin"] == "@alice:example.org"
    assert terminal.shown.count("The homeserver's name") == 2
    assert "wanted: with + and country code" in terminal.shown
    assert "secret" not in terminal.shown


def test_what_another_run_said_is_offered(
    no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup(PROVIDER)
    before = answers_before(settings_before(Path("config.yaml")))
    terminal = Terminal(monkeypatch, *[""] * 6)
    answers = answer_all(Asking(terminal.console), before)
    assert answers["trunk"] == KEEP
    assert answers["callers"] == "@bob:example.org, example.com"
    assert answers["public_address"] == "203.0.113.7"


async def test_a_homeserver_says_what_it_is_called() -> None:
    async def keys(_: web.Request) -> web.Response:
        return web.json_response({"server_name": "example.org"})

    application = web.Application()
    application.router.add_get("/_matrix/key/v2/server", keys)
    application.router.add_get("/_matrix/client/versions", keys)
    async with TestServer(application) as server:
        address = str(server.make_url("/")).rstrip("/")
        assert await asking._name_of(address) == "example.org"
        assert await asking._doubt("homeserver", address) == ""
        assert "HTTP 404" in await asking._doubt("homeserver", f"{address}/x")
    assert await asking._name_of("http://127.0.0.1:1") is None
    assert "Connection refused" in await asking._doubt("homeserver", "http://127.0.0.1:1")
    assert "no address" in await asking._doubt("server", "nowhere.invalid:5060")
    assert await asking._doubt("server", "192.0.2.20") == ""


def test_a_doubtful_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, "http://127.0.0.1:1", "n", "http://127.0.0.1:1", "y")
    answer = Asking(terminal.console)(BY_KEY["homeserver"], None, {})
    assert answer == "http://127.0.0.1:1"
    assert terminal.shown.count("does not answer as a homeserver") == 2
