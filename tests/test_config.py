# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: what they are if nothing is said, and what fits together."""

import re
from pathlib import Path

import pytest

from bridge.config import AutoJoin, EncryptionMode, InvalidConfig, Permission, parse
from tests.settings import TOKENS, TRUNK, mistakes, read


@pytest.mark.parametrize(
    ("web", "problem"),
    [
        ("token: short", "web.token: is too short (not shown); wanted: 16 characters or more"),
        ("token: a-token-of-the-service", "web.token: is a token of appservice too"),
        ("actions: true", "web.actions: is set, but there is no page; wanted: web.token"),
    ],
)
def test_the_admin_page_is_kept_safe(web: str, problem: str) -> None:
    tokens = "appservice: {as_token: a-token-of-the-service, hs_token: theirs}\n"
    with pytest.raises(InvalidConfig, match=re.escape(problem)) as error:
        read(f"{tokens}web: {{{web}}}")
    assert "short," not in str(error.value)
    assert read(f"{tokens}web: {{token: long-enough-for-us, actions: true}}").web.actions


@pytest.mark.parametrize(
    ("api", "problem"),
    [
        ("read_token: short", "api.read_token: is too short (not shown); wanted: 16 characters"),
        ("write_token: a-token-of-the-service", "api.write_token: is appservice.as_token too"),
        ("read_token: a-token-of-the-page", "api.read_token: is web.token too; wanted: one of"),
        (
            "read_token: a-token-for-programs, write_token: a-token-for-programs",
            "api.write_token: is api.read_token too; wanted: one of its own",
        ),
    ],
)
def test_the_api_is_kept_safe(api: str, problem: str) -> None:
    tokens = (
        "appservice: {as_token: a-token-of-the-service, hs_token: theirs}\n"
        "web: {token: a-token-of-the-page}\n"
    )
    with pytest.raises(InvalidConfig, match=re.escape(problem)) as error:
        read(f"{tokens}api: {{{api}}}")
    assert str(error.value).count("api.") == str(problem).count("api.")
    assert read(f"{tokens}api: {{write_token: a-token-for-programs}}").api.write_token


@pytest.mark.parametrize("key", ["prepend", "caller_id"])
def test_what_is_dialled_and_shown_can_be_written(key: str) -> None:
    rule = f'outbound: [{{trunk: provider, {key}: "1\\n"}}]\n'
    assert mistakes(TRUNK + rule) == [
        f"config.yaml:2: outbound[0].{key}: '1\\n' cannot be shown; wanted: a number"
    ]


def test_calls_are_known_for_as_long_as_rooms_wait_for_them() -> None:
    leave = f"{TOKENS}portals: {{leave_unanswered_after: 172801}}"
    assert read(leave).records.keep_calls == 365
    with pytest.raises(
        InvalidConfig, match=r"keep_calls: 2 days are less than .*wanted: 3 or more"
    ):
        read(f"{leave}\nrecords: {{keep_calls: 2}}")
    assert read(f"{leave}\nrecords: {{keep_calls: 3}}").records.keep_calls == 3
    assert read(f"{leave}\nrecords: {{keep_calls: 0}}").records.keep_calls == 0


def test_tokens_are_enough() -> None:
    config = read(TOKENS)
    assert config.appservice.as_token.get_secret_value() == "ours"
    assert config.appservice.port == 29330
    assert config.permissions == {}


def test_everything_can_be_set() -> None:
    config = read(
        TOKENS
        + """
permissions: {example.org: call, "@bob:example.org": receive}
trunks:
  provider:
    {server: "sip.example.com:5080", register: true, username: u, password: p, codecs: [PCMA]}
outbound:
  - {prefix: "+1", trunk: provider, strip: 1, prepend: "00", format: plain}
  - {sip_domain: "*", trunk: provider}
inbound:
  - {trunk: provider, number: "+1202555*", person: "@bob:example.org"}
media:
  listen: 192.0.2.1
  rtp_ports: [40000, 40100]
  ice_servers: [{url: "turn:turn.example.org:3478?transport=udp", username: t, password: s}]
limits: {ring_time: 1.5}
"""
    )
    assert config.permissions["@bob:example.org"] is Permission.RECEIVE
    assert config.trunks["provider"].codecs == ("PCMA",)
    assert config.outbound[0].prefix == "+1"
    assert config.media.rtp_ports == (40000, 40100)
    assert config.limits.ring_time == 1.5


def test_a_key_without_a_value_has_its_default() -> None:
    config = read(TOKENS + "media:\nnumbers: {region: }\n")
    assert config.media.listen is None
    assert config.numbers.region == "US"


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    text = TOKENS + (
        "database: {url: 'sqlite:data/a.db'}\n"
        "sip: {transports: [{protocol: tls, certificate: cert.pem, private_key: key.pem}]}\n"
    )
    config = read(text, directory=str(tmp_path))
    assert config.sip.transports[0].certificate == tmp_path / "cert.pem"
    assert config.database.url.get_secret_value() == f"sqlite:{tmp_path}/data/a.db"
    default = read(TOKENS, directory=str(tmp_path))
    assert default.database.url.get_secret_value() == f"sqlite:{tmp_path}/matrix-sip.db"
    url = "postgresql://u:p@db.example.org/sip"
    other = read(TOKENS + f"database: {{url: '{url}'}}\n")
    assert other.database.url.get_secret_value() == url


def test_voicemail_is_kept_beside_the_database() -> None:
    assert read(TOKENS).voicemail.folder == Path("/etc/voicemail")
    beside = read(TOKENS + "database: {url: 'sqlite:/var/a.db'}\n")
    assert beside.voicemail.folder == Path("/var/voicemail")
    assert read(TOKENS + "voicemail: {folder: here}\n").voicemail.folder == Path("/etc/here")
    elsewhere = read(TOKENS + "database: {url: 'postgresql://u:p@db.example.org/sip'}\n")
    assert elsewhere.voicemail.folder is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "voicemail: {enabled: true}\ndatabase: {url: 'postgresql://u:p@db.example.org/sip'}\n",
            "voicemail.folder: is empty, and the database is no file",
        ),
        (
            "voicemail: {enabled: true}\nlimits: {ring_time: 20}\n",
            "voicemail.delay: 20 is not less than limits.ring_time (20)",
        ),
        ("voicemail: {delay: 4}\n", "voicemail.delay: 4 is not accepted"),
        ("voicemail: {answers: [never]}\n", "voicemail.answers[0]"),
    ],
)
def test_voicemail_that_never_answers(text: str, problem: str) -> None:
    [mistake] = mistakes(text)
    assert problem in mistake


def test_registering_needs_an_account() -> None:
    assert mistakes("trunks: {provider: {server: a, register: true}}\n") == [
        "config.yaml:1: trunks.provider.username: is empty; wanted: the account's name, as "
        "register is true",
        "config.yaml:1: trunks.provider.password: is empty; wanted: the account's, as register is "
        "true",
    ]


def test_tls_files_exist_and_belong_together(tmp_path: Path) -> None:
    text = "sip: {transports: [{protocol: tls, certificate: nix.pem}]}\n"
    assert mistakes(text, directory=str(tmp_path)) == [
        f"config.yaml:1: sip.transports[0].certificate: {tmp_path}/nix.pem is not a file",
        "config.yaml:1: sip.transports[0].private_key: is missing; wanted: a PEM file, as there is "
        "a certificate",
    ]
    (tmp_path / "key.pem").touch()
    text = "sip: {transports: [{protocol: tls, private_key: key.pem}]}\n"
    assert mistakes(text, directory=str(tmp_path)) == [
        "config.yaml:1: sip.transports[0].certificate: is missing; wanted: a PEM file, as there is "
        "a private_key",
    ]


def test_tls_for_outgoing_connections_needs_no_certificate() -> None:
    config = read(TOKENS + "sip: {transports: [{protocol: tls}]}\n")
    assert config.sip.transports[0].certificate is None


@pytest.mark.parametrize("mode", ["allow", "default", "require"])
def test_encryption_needs_a_key(mode: str) -> None:
    with pytest.raises(InvalidConfig, match=r"database\.secret_key: is empty.*generate-config"):
        parse(TOKENS + f"encryption: {{mode: {mode}}}\n", directory=Path("/etc"))
    assert read(TOKENS + f"encryption: {{mode: {mode}}}\n").encryption.mode.value == mode


@pytest.mark.parametrize("off", ["off", "false", "'off'"])
def test_without_encryption_no_key_is_needed(off: str) -> None:
    """A bare `off` is false in YAML."""
    config = parse(TOKENS + f"encryption: {{mode: {off}}}\n", directory=Path("/etc"))
    assert config.encryption.mode is EncryptionMode.OFF


def test_a_short_key_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidConfig, match="16 characters or more") as error:
        read(TOKENS, {"MATRIX_SIP_DATABASE__SECRET_KEY": "hunter22"})
    assert "hunter22" not in str(error.value)


def test_the_bot_is_no_ghost() -> None:
    with pytest.raises(InvalidConfig, match="the bot would be taken for a ghost"):
        read("appservice: {bot_localpart: sip_bot, as_token: a, hs_token: b}")


@pytest.mark.parametrize(
    ("tokens", "words"),
    [("{}", "as_token: is empty"), ("{as_token: a, hs_token: a}", "two different tokens")],
)
def test_tokens_are_needed(tokens: str, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        read(f"appservice: {tokens}")


def test_joining_for_people_takes_a_token_of_its_own() -> None:
    for off in ("off", '"off"'):
        assert read(f"{TOKENS}portals: {{auto_join: {off}}}").portals.auto_join is AutoJoin.OFF
    config = read(f"{TOKENS}portals: {{auto_join: as_token, people_token: a}}")
    assert config.portals.auto_join is AutoJoin.AS_TOKEN
    with pytest.raises(InvalidConfig, match="people_token: is empty"):
        read(f"{TOKENS}portals: {{auto_join: as_token}}")
    with pytest.raises(InvalidConfig, match="one of its own"):
        read(f"{TOKENS}portals: {{auto_join: as_token, people_token: ours}}")
