# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: the file, the environment, and secrets that are in neither."""

from pathlib import Path

import pytest

from bridge.config import Permission, load, parse, secrets_of
from bridge.errors import ConfigurationError
from tests.settings import KEY, TOKENS, TRUNK, mistakes, read


def test_the_key_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("what nobody could ever guess\n")
    environment = {"MATRIX_SIP_DATABASE__SECRET_KEY_FILE": str(tmp_path / "key")}
    config = parse(TOKENS, environment, directory=tmp_path)
    assert config.database.secret_key.get_secret_value() == "what nobody could ever guess"


# --- secrets --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "trunks: {provider: {server: a, password: 18273645}}\n",
        "trunks: {provider: {server: a, pasword: '18273645'}}\n",
        "trunks: {provider: {server: a, password: [18273645]}}\n",
        "trunks: {provider: {password: '18273645'}}\n",
        "database: {url: 'mysql://u:18273645@h/d'}\n",
    ],
)
def test_secrets_are_not_shown(text: str) -> None:
    (problem,) = mistakes(text)
    assert "18273645" not in problem


def test_secrets_are_listed_for_the_log() -> None:
    config = read(TOKENS + "trunks: {provider: {server: a, password: word}}\n")
    assert {"ours", "theirs", "word"} <= set(secrets_of(config))
    assert "ours" not in repr(config)


# --- environment ----------------------------------------------------------------------------


def test_the_environment_counts_more_than_the_file() -> None:
    config = read(
        TOKENS + TRUNK + "web: {port: 1000}\nmedia: {ice_servers: [{url: 'stun:a:1'}]}\n",
        {
            "MATRIX_SIP_WEB__PORT": "2000",
            "MATRIX_SIP_LOGGING__FULL_NUMBERS": "true",
            "MATRIX_SIP_MEDIA__RTP_PORTS": "[40000, 40100]",
            "MATRIX_SIP_MEDIA__ICE_SERVERS__0__URL": "stun:b:2",
            "MATRIX_SIP_TRUNKS__PROVIDER__USERNAME": "0042",
            "MATRIX_SIP_PERMISSIONS": '{"@alice:mx.test": call}',
            "MATRIX_SIP_LOGGING__LEVEL": "",
            "MATRIX_SIP_CONFIG": "elsewhere.yaml",
            "UNRELATED": "x",
        },
    )
    assert config.web.port == 2000
    assert config.logging.full_numbers is True
    assert config.media.rtp_ports == (40000, 40100)
    assert config.media.ice_servers[0].url == "stun:b:2"
    assert config.trunks["provider"].username == "0042"
    assert config.trunks["provider"].server == "sip.example.com"
    assert config.permissions == {"@alice:mx.test": Permission.CALL}


def test_a_trunk_can_come_from_the_environment_alone() -> None:
    config = read(
        TOKENS + "trunks: {My-PBX: {server: a}}\n",
        {"MATRIX_SIP_TRUNKS__MY_PBX__SERVER": "b", "MATRIX_SIP_TRUNKS__OTHER__SERVER": "c"},
    )
    assert {name: each.server for name, each in config.trunks.items()} == {
        "My-PBX": "b",
        "other": "c",
    }


def test_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter22\n")
    config = read(
        TOKENS + TRUNK,
        {
            "MATRIX_SIP_TRUNKS__PROVIDER__PASSWORD_FILE": "secret",
            "MATRIX_SIP_APPSERVICE__AS_TOKEN_FILE": str(tmp_path / "secret"),
        },
        directory=str(tmp_path),
    )
    assert config.trunks["provider"].password.get_secret_value() == "hunter22"
    assert config.appservice.as_token.get_secret_value() == "hunter22"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        (
            {"MATRIX_SIP_WEB__PROT": "1"},
            "environment variable MATRIX_SIP_WEB__PROT: no such setting; did you mean "
            "'MATRIX_SIP_WEB__PORT'?",
        ),
        (
            {"MATRIX_SIP_WEB__PORT": "many"},
            "environment variable MATRIX_SIP_WEB__PORT: web.port: 'many' is not accepted; wanted: "
            "whole number, 1 to 65535",
        ),
        (
            {"MATRIX_SIP_WEB__PORT_FILE": "x"},
            "environment variable MATRIX_SIP_WEB__PORT_FILE: web.port: only secrets can be read "
            "from a file",
        ),
        (
            {"MATRIX_SIP_TRUNKS__PROVIDER__PASSWORD_FILE": "nix"},
            "environment variable MATRIX_SIP_TRUNKS__PROVIDER__PASSWORD_FILE: "
            "trunks.provider.password: cannot read /etc/nix: No such file or directory",
        ),
        (
            {
                "MATRIX_SIP_TRUNKS__PROVIDER__PASSWORD_FILE": "x",
                "MATRIX_SIP_TRUNKS__PROVIDER__PASSWORD": "y",
            },
            "environment variable MATRIX_SIP_TRUNKS__PROVIDER__PASSWORD_FILE: "
            "trunks.provider.password: MATRIX_SIP_TRUNKS__PROVIDER__PASSWORD is set too; which one "
            "counts?",
        ),
        (
            {"MATRIX_SIP_MEDIA__RTP_PORTS": "[1"},
            "environment variable MATRIX_SIP_MEDIA__RTP_PORTS: media.rtp_ports: not valid YAML; "
            "wanted: list of 2: whole number, 1 to 65535",
        ),
        (
            {"MATRIX_SIP_MEDIA__RTP_PORTS": "[9, 8]"},
            "environment variable MATRIX_SIP_MEDIA__RTP_PORTS: media.rtp_ports: [9, 8] is empty; "
            "wanted: the lower port first",
        ),
    ],
)
def test_mistakes_in_the_environment(environment: dict[str, str], problem: str) -> None:
    assert mistakes(TRUNK, environment) == [problem]


def test_list_items_that_are_not_there_cannot_be_set() -> None:
    (problem,) = mistakes("", {"MATRIX_SIP_MEDIA__ICE_SERVERS__3__URL": "stun:b:2"})
    assert "no such setting" in problem


# --- files ----------------------------------------------------------------------------------


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(TOKENS)
    assert load(file, KEY).appservice.hs_token.get_secret_value() == "theirs"


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist") as error:
        load(tmp_path / "config.yaml", {})
    assert "generate-config" in error.value.remedy


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load(tmp_path, {})
    (tmp_path / "latin").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigurationError, match="utf-8"):
        load(tmp_path / "latin", {})
