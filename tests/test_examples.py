# SPDX-License-Identifier: GPL-3.0-or-later
"""The generated files: equal to what the models give now, and good to start from."""

import re
from pathlib import Path

import pytest
import yaml

from bridge.config import Config, InvalidConfig, Section, parse
from bridge.config.describe import section_in
from bridge.config.reference import reference
from bridge.config.template import configuration, fresh_secrets, fresh_tokens
from scripts.write_reference import generated

ROOT = Path(__file__).parent.parent
DISABLED = re.compile(r"^#( {2,}|\S)", re.MULTILINE)


@pytest.mark.parametrize("path", generated())
def test_generated_files_are_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text() == generated()[path], "run: make docs"


def test_a_fresh_configuration_loads_and_means_the_defaults() -> None:
    tokens, key = fresh_tokens(), {"secret_key": "what nobody could ever guess"}
    config = parse(configuration(tokens=tokens | key), directory=ROOT)
    assert config.appservice.as_token.get_secret_value() == tokens["as_token"]
    bare = parse(yaml.safe_dump({"appservice": tokens, "database": key}), directory=ROOT)
    assert config == bare


def test_tokens_are_fresh_and_differ() -> None:
    one, other = fresh_secrets(), fresh_secrets()
    assert len({*one.values(), *other.values()}) == 2 * len(one)
    assert all(len(each) > 40 for each in one.values())


def test_disabled_examples_can_be_enabled() -> None:
    text = configuration(tokens=fresh_secrets())
    enabled = DISABLED.sub(r"\1", text)
    assert enabled != text
    config = parse(enabled, directory=ROOT)
    assert config.permissions
    assert config.trunks
    assert config.outbound
    assert config.inbound
    assert config.media.ice_servers


def test_a_file_that_is_filled_in_means_what_was_filled_in() -> None:
    text = DISABLED.sub(r"\1", configuration(tokens=fresh_secrets()))
    settings = yaml.safe_load(text)
    settings["limits"]["people"]["@ann:example.org"]["calls"] = 7
    settings["trunks"]["provider"]["tls"]["server_name"] = "sip.example.net"
    settings["trunks"]["provider"]["transport"] = "auto"
    settings["sip"]["transports"] = [{"protocol": "udp"}, {"protocol": "tls", "port": 5061}]
    filled = configuration(settings=settings)
    wanted = parse(yaml.safe_dump(settings), directory=ROOT)
    assert parse(filled, directory=ROOT) == wanted
    assert wanted.limits.people["@ann:example.org"].calls == 7
    assert filled.count("#") > len(settings)


def test_the_example_lacks_nothing_but_secrets() -> None:
    with pytest.raises(InvalidConfig) as error:
        parse(configuration(), directory=ROOT)
    paths = [problem.path for problem in error.value.problems]
    assert paths == [
        ("appservice", "as_token"),
        ("appservice", "hs_token"),
        ("database", "secret_key"),
    ]


def keys_of(model: type[Section]) -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        found.append(name)
        if inner := section_in(field.annotation):
            found += keys_of(inner)
    return found


@pytest.mark.parametrize("key", dict.fromkeys(keys_of(Config)))
def test_every_key_is_explained(key: str) -> None:
    assert re.search(rf"^#? *(?:- )?{key}:", configuration(), re.MULTILINE)
    assert re.search(rf"[.`]{key}`", reference())


def test_the_registration_is_one() -> None:
    content = yaml.safe_load((ROOT / "registration.yaml.example").read_text())
    assert content["namespaces"]["users"][0]["exclusive"] is True
    assert {"id", "url", "as_token", "hs_token", "sender_localpart"} <= set(content)
