# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: every mistake is named with its place, its key and what is wanted."""

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from bridge.config import (
    AutoJoin,
    Config,
    EncryptionMode,
    InvalidConfig,
    Permission,
    load,
    parse,
    secrets_of,
)
from bridge.errors import ConfigurationError

TOKENS = "appservice: {as_token: ours, hs_token: theirs}\n"
KEY = {"MATRIX_SIP_DATABASE__SECRET_KEY": "what nobody could ever guess"}
TRUNK = "trunks: {provider: {server: sip.example.com}}\n"


def read(
    text: str, environment: Mapping[str, str] | None = None, directory: str = "/etc"
) -> Config:
    return parse(dedent(text), KEY | dict(environment or {}), directory=Path(directory))


def mistakes(
    text: str, environment: Mapping[str, str] | None = None, directory: str = "/etc"
) -> list[str]:
    """What is wrong with `text`, once good tokens are given."""
    with pytest.raises(InvalidConfig) as error:
        read(dedent(text) + TOKENS, environment, directory)
    return [str(each) for each in error.value.problems]


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


# --- one mistake at a time ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "homeserver:\n  adress: x\n",
            "2: homeserver.adress: unknown key; did you mean 'address'?",
        ),
        ("sipp: {}\n", "1: sipp: unknown key; did you mean 'sip'?"),
        (
            "web: {port: 70000}\n",
            "1: web.port: 70000 is not accepted; wanted: whole number, 1 to 65535",
        ),
        (
            "sip:\n  transports:\n    - {}\n    - protocol: sctp\n",
            "4: sip.transports[1].protocol: 'sctp' is not accepted; wanted: udp, tcp or tls",
        ),
        (
            "media: {listen: here}\n",
            "1: media.listen: 'here' is not accepted; wanted: IP address, or empty",
        ),
        (
            "outbound:\n  - {prefix: +1, trunk: provider}\n" + TRUNK,
            "2: outbound[0].prefix: 1 is not accepted; wanted: text (put it in quotes)",
        ),
        (
            "numbers: {region: NO}\n",
            "1: numbers.region: false is not accepted; wanted: text matching ^[A-Z]{2}$ "
            "(put it in quotes)",
        ),
        (
            "limits: {max_duration: 0}\n",
            "1: limits.max_duration: 0 is not accepted; wanted: number above 0",
        ),
        (
            "limits: {ring_time: .inf}\n",
            "1: limits.ring_time: inf is not accepted; wanted: number above 0",
        ),
        ("media: 5\n", "1: media: not accepted; wanted: a section of keys"),
        ("trunks:\n  provider: {}\n", "2: trunks.provider.server: is missing; wanted: text"),
        (
            "trunks: {provider: {server: a, codecs: [opus, mp3]}}\n",
            "1: trunks.provider.codecs[1]: 'mp3' is not accepted; wanted: opus, G722, PCMU or PCMA",
        ),
        (
            "permissions: {example.org: all}\n",
            "1: permissions.example.org: 'all' is not accepted; wanted: blocked, receive, call or "
            "admin",
        ),
        (
            "permissions: {alice: call}\npermissions: {}\n",
            "2: permissions: given twice; first at config.yaml:1",
        ),
        ("web: {port: 1, port: 2}\n", "1: web.port: given twice; first at config.yaml:1"),
        (
            "homeserver: {address: matrix.example.org}\n",
            "1: homeserver.address: 'matrix.example.org' is not a URL; wanted: http(s)://host:port",
        ),
        (
            "homeserver: {domain: 'https://example.org'}\n",
            "1: homeserver.domain: 'https://example.org' is not a server name; wanted: what "
            "follows the colon in Matrix ids",
        ),
        (
            "sip: {transports: []}\n",
            "1: sip.transports: is empty; wanted: at least one",
        ),
        (
            "sip: {transports: [{}, {}]}\n",
            "1: sip.transports[1]: the same address and port as sip.transports[0]",
        ),
        (
            "sip: {transports: [{certificate: a.pem}]}\n",
            "1: sip.transports[0].certificate: has no effect with protocol udp",
        ),
        (
            "trunks: {provider: {server: a, transport: tcp}}\n",
            "1: trunks.provider.transport: sip.transports has no tcp; known: udp",
        ),
        (
            "accounts: {servers: ['*', a.example.com], transport: tls}\n",
            "1: accounts.transport: sip.transports has no tls; known: udp",
        ),
        (
            "accounts: {servers: ['sip.example.com:5060']}\n",
            "1: accounts.servers[0]: 'sip.example.com:5060' is not accepted; wanted: host name or "
            "address without a port, or *",
        ),
        (
            "trunks: {'my provider': {server: a}}\n",
            "1: trunks.my provider: not accepted as a name; wanted: letters, digits, _ and -",
        ),
        (
            "outbound: [{trunk: provder}]\n" + TRUNK,
            "1: outbound[0].trunk: no trunk is named 'provder'; did you mean 'provider'?",
        ),
        (
            "outbound: [{trunk: any}]\n",
            "1: outbound[0].trunk: no trunk is named 'any'; none is defined",
        ),
        (
            "outbound: [{trunk: provider, prefix: '+1', sip_domain: '*'}]\n" + TRUNK,
            "1: outbound[0].sip_domain: cannot be combined with prefix; wanted: two rules",
        ),
        (
            "outbound: [{trunks: [provider, provder]}]\n" + TRUNK,
            "1: outbound[0].trunks[1]: no trunk is named 'provder'; did you mean 'provider'?",
        ),
        (
            "outbound: [{trunks: [provider, provider]}]\n" + TRUNK,
            "1: outbound[0].trunks[1]: provider is there twice",
        ),
        (
            "outbound: [{trunk: provider, trunks: [provider]}]\n" + TRUNK,
            "1: outbound[0].trunks: cannot be combined with trunk; wanted: one of them",
        ),
        (
            "outbound: [{prefix: '+1'}]\n" + TRUNK,
            "1: outbound[0]: leads nowhere; wanted: trunk, or trunks",
        ),
        (
            "outbound: [{trunk: provider, pattern: _1X.X}]\n" + TRUNK,
            "1: outbound[0].pattern: '_1X.X' is not accepted; wanted: digits in [ ], and . or ! "
            "only at the end",
        ),
        (
            "outbound: [{trunk: provider, pattern: _1XX, prefix: '+1'}]\n" + TRUNK,
            "1: outbound[0].pattern: cannot be combined with prefix; wanted: two rules",
        ),
        (
            "outbound: [{trunk: provider, pattern: _1XX, sip_domain: '*'}]\n" + TRUNK,
            "1: outbound[0].sip_domain: cannot be combined with pattern; wanted: two rules",
        ),
        (
            "outbound: [{trunk: provider, sip_domain: '*', strip: 1}]\n" + TRUNK,
            "1: outbound[0].strip: has no effect with sip_domain: such addresses stay as they are",
        ),
        (
            "outbound: [{trunk: provider, people: ['@a*:mx.test', mx.test, '@bob']}]\n" + TRUNK,
            "1: outbound[0].people[2]: '@bob' names nobody; wanted: a Matrix id, also with * in "
            "it, a server name, or *",
        ),
        (
            "callers: {'@bob': {}}\n",
            "1: callers.@bob: names nobody; wanted: a Matrix id, also with * in it, a server "
            "name, or *",
        ),
        (
            "callers: {'*': {numbers: ['+1 202']}}\n",
            "1: callers.*.numbers[0]: '+1 202' is no number; wanted: like '+12025550100', in "
            "quotes",
        ),
        (
            "callers: {'*': {numbers: ['+12025550100']}}\n" + TRUNK,
            "1: callers.*.numbers[0]: no trunk lets anybody show it; wanted: it in "
            "trunks.*.callers",
        ),
        (
            "trunks: {a: {server: a, callers: ['1 2']}}\n",
            "1: trunks.a.callers[0]: '1 2' is not accepted; wanted: a number, a prefix followed "
            "by *, *, or a pattern after _ (_7XX)",
        ),
        (
            "trunks: {a: {server: a, identity: []}}\n",
            "1: trunks.a.identity: is empty; wanted: at least one header",
        ),
        (
            "numbers: {withhold_codes: ['67']}\n",
            "1: numbers.withhold_codes[0]: '67' is not accepted; wanted: a code like *67 or "
            "#31#, in quotes",
        ),
        (
            "inbound: [{number: '600'}]\n",
            "1: inbound[0]: rings nobody; wanted: person, people, or localpart: true",
        ),
        (
            "inbound: [{localpart: true, people: ['@a:mx.test']}]\npermissions: {'*': receive}\n",
            "1: inbound[0].localpart: cannot be combined with people; wanted: one of person, "
            "people and localpart",
        ),
        (
            "inbound: [{people: ['@a:mx.test', bob]}]\npermissions: {'*': receive}\n",
            "1: inbound[0].people[1]: 'bob' is not a Matrix id; wanted: like '@person:example.org'",
        ),
        (
            "inbound: [{people: ['@a:mx.test', '@a:mx.test']}]\npermissions: {'*': receive}\n",
            "1: inbound[0].people[1]: @a:mx.test is there twice",
        ),
        (
            "inbound: [{person: '@a:mx.test', number: _7X.X}]\npermissions: {'*': receive}\n",
            "1: inbound[0].number: '_7X.X' is not accepted; wanted: digits in [ ], and . or ! only "
            "at the end",
        ),
        (
            "inbound: [{person: alice}]\n",
            "1: inbound[0].person: 'alice' is not a Matrix id; wanted: like '@person:example.org'",
        ),
        (
            "inbound: [{person: '@alice:mx.test'}]\npermissions: {'@alice:mx.test': blocked}\n",
            "1: inbound[0].person: permissions do not let @alice:mx.test receive calls; wanted: "
            "receive or more there",
        ),
        (
            "inbound: [{person: '@a:mx.test', number: '*12'}]\npermissions: {'*': receive}\n",
            "1: inbound[0].number: '*12' is not accepted; wanted: a number, a prefix followed by "
            "*, *, or a pattern after _ (_7XX)",
        ),
        (
            "permissions: {'@alice': call}\n",
            "1: permissions.@alice: not a Matrix id, server name or *; wanted: like "
            "'@person:example.org' or 'example.org'",
        ),
        *(
            (
                f"notices: {{timezone: {zone}}}\n",
                f"1: notices.timezone: '{zone}' is not a time zone that this machine knows; "
                "wanted: one like Europe/Berlin (where none is known, the package tzdata is "
                "missing)",
            )
            for zone in ("Mars/Olympus", "../etc")
        ),
        ("numbers: {region: XX}\n", "1: numbers.region: 'XX' is not a country (ISO 3166)"),
        (
            "numbers: {forbidden_prefixes: ['+1', 900]}\n",
            "1: numbers.forbidden_prefixes[1]: 900 is not accepted; wanted: text "
            "(put it in quotes)",
        ),
        (
            "media: {rtp_ports: [40000, 30000]}\n",
            "1: media.rtp_ports: [40000, 30000] is empty; wanted: the lower port first",
        ),
        (
            "media: {rtp_ports: [5000, 6000]}\n",
            "1: media.rtp_ports: contains port 5060 of sip.transports[0]; wanted: another range",
        ),
        (
            "media: {rtp_ports: [40000, 40030], workers: 2}\n",
            "1: media.workers: 2 have to share 31 ports (media.rtp_ports); wanted: at least "
            "16 for each",
        ),
        (
            "media: {ice_servers: [{url: 'http://turn'}]}\n",
            "1: media.ice_servers[0].url: 'http://turn' is not accepted; wanted: stun:host:port, "
            "turn:host:port?transport=udp or turns:host:port",
        ),
        (
            "trunks: {provider: {server: a, mailbox_people: [ann]}}\n",
            "1: trunks.provider.mailbox_people[0]: 'ann' is not a Matrix id; wanted: like "
            "'@person:example.org'",
        ),
        (
            "trunks: {provider: {server: a, mailbox_number: '*97'}}\n",
            "1: trunks.provider.mailbox_people: is empty; wanted: at least one Matrix id, as there "
            "is mailbox_number",
        ),
        (
            "media: {ice_servers: [{url: 'turn:turn.example.org:3478'}]}\n",
            "1: media.ice_servers[0].username: TURN needs username and password",
        ),
        (
            "trunks: {provider: {server: ''}}\n",
            "1: trunks.provider.server: is empty; wanted: host name or address",
        ),
        (
            "accounts: {servers: [a], srtp: required}\n",
            "1: accounts.srtp: required needs transport tls, not udp, by which all could read the "
            "keys; wanted: transport: tls, or srtp: optional",
        ),
        (
            "trunks: {provider: {server: a, srtp: required}}\n",
            "1: trunks.provider.srtp: required needs transport tls, not udp, by which all could "
            "read the keys; wanted: transport: tls, or srtp: optional",
        ),
        (
            "trunks: {provider: {server: a, outbound_proxy: ['b c']}}\n",
            "1: trunks.provider.outbound_proxy[0]: 'b c' is not accepted; wanted: host name or "
            "address, with :port if it is not the default",
        ),
        (
            "trunks: {provider: {server: a, outbound_proxy: [a, b, c, d, e]}}\n",
            "1: trunks.provider.outbound_proxy: has too many; wanted: at most 4",
        ),
        (
            "trunks: {provider: {server: a, tls: {server_name: b}}}\n",
            "1: trunks.provider.tls: has no effect with transport udp",
        ),
        (
            "trunks: {provider: {server: a, transport: auto, tls: {server_name: 'b:5061'}}}\n",
            "1: trunks.provider.tls.server_name: 'b:5061' is not accepted; wanted: a host name",
        ),
        (
            "trunks: {provider: {server: a, transport: auto, tls: {ca_list: nowhere.pem}}}\n",
            "1: trunks.provider.tls.ca_list: /etc/nowhere.pem is not a file",
        ),
        (
            "trunks: {provider: {server: a, probe_interval: 2}}\n",
            "1: trunks.provider.probe_interval: is too short; wanted: answer_within (4) or more",
        ),
        (
            "trunks: {provider: {server: a, probe_interval: 60, register: true, username: u, "
            "password: p}}\n",
            "1: trunks.provider.probe_interval: has no effect with register: true, which tells as "
            "much",
        ),
        (
            "sip: {nameservers: [dns.example.com]}\n",
            "1: sip.nameservers[0]: 'dns.example.com' is not accepted; wanted: address or "
            "address:port",
        ),
        (
            "trunks: {provider: {server: a, codecs: []}}\n",
            "1: trunks.provider.codecs: is empty; wanted: at least one",
        ),
        (
            "trunks: {provider: {server: a, session_interval: 90, session_interval_min: 120}}\n",
            "1: trunks.provider.session_interval: is below session_interval_min; wanted: 120 or "
            "more",
        ),
        (
            "outbound: [{trunk: provider, prefix: '0049'}]\n" + TRUNK,
            "1: outbound[0].prefix: '0049' is not accepted; wanted: + and digits, in quotes",
        ),
        (
            "numbers: {forbidden_prefixes: ['0900']}\n",
            "1: numbers.forbidden_prefixes[0]: '0900' is not accepted; wanted: + and digits, in "
            "quotes",
        ),
        (
            "database: {url: 'mysql://h/d'}\n",
            "1: database.url: not accepted (not shown); wanted: sqlite:FILE or "
            "postgresql://user:password@host/database",
        ),
        (
            "database: {url: 'postgresql://u:se/cret@h/d'}\n",
            "1: database.url: is no URL (not shown); wanted: "
            "postgresql://user:password@host/database, with / ? # @ : and % in the password "
            "written as %2F %3F %23 %40 %3A %25",
        ),
        ("web: {port: 29330}\n", "1: web.port: 29330 is appservice.port too; wanted: another port"),
    ],
)
def test_a_mistake_is_explained(text: str, problem: str) -> None:
    assert mistakes(text) == [f"config.yaml:{problem}"]


@pytest.mark.parametrize(
    "server",
    [
        "sip..example.com",
        "sip.example.com:",
        "sip.example.com:0",
        "sip.example.com:99999",
        "sip:sip.example.com",
        "https://sip.example.com",
        "user@sip.example.com",
        "[192.0.2.1]",
        "[::1",
        f"{'a' * 64}.example.com",
    ],
)
def test_what_is_no_server(server: str) -> None:
    (mistake,) = mistakes(f"trunks: {{provider: {{server: '{server}'}}}}\n")
    assert mistake.startswith(f"config.yaml:1: trunks.provider.server: {server!r} is not accepted")


@pytest.mark.parametrize(
    "server",
    [
        "pbx",
        "sip.example.com:5061",
        "sip_1.example.com.",
        "192.0.2.1",
        "::1",
        "[::1]",
        "[::1]:5080",
    ],
)
def test_what_is_a_server(server: str) -> None:
    text = f"trunks: {{provider: {{server: '{server}'}}}}\n"
    assert read(text + TOKENS, None, "/etc").trunks["provider"].server == server


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


def test_the_key_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("what nobody could ever guess\n")
    environment = {"MATRIX_SIP_DATABASE__SECRET_KEY_FILE": str(tmp_path / "key")}
    config = parse(TOKENS, environment, directory=tmp_path)
    assert config.database.secret_key.get_secret_value() == "what nobody could ever guess"


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


# --- many mistakes --------------------------------------------------------------------------


def test_all_mistakes_are_found_at_once() -> None:
    found = mistakes(
        """\
        homeserver: {adress: x}
        web: {port: 0}
        trunks:
          one: {server: a, codecs: [mp3, wav]}
          two: {}
        outbound:
          - {trunk: three}
          - {trunk: two, prefix: 1}
        inbound:
          - {person: nobody}
        """
    )
    assert [each.split(": ")[1] for each in found] == [
        "homeserver.adress",
        "trunks.one.codecs[0]",
        "trunks.one.codecs[1]",
        "trunks.two.server",
        "outbound[1].prefix",
        "web.port",
        "outbound[0].trunk",
        "inbound[0].person",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\nb: 2\n", "config.yaml:2: not valid YAML"),
        ("a: 'x\n", "not valid YAML"),
        ("- a\n", "must consist of sections"),
        ("just words\n", "must consist of sections"),
        ("a: !!python/object:os.system {}\n", "not valid YAML"),
        ("\x00", "not valid YAML"),
    ],
)
def test_what_is_not_yaml_says_so(text: str, words: str) -> None:
    with pytest.raises(InvalidConfig) as error:
        read(text)
    assert words in str(error.value)


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
