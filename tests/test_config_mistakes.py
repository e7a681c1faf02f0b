# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: every mistake is named with its place, its key and what is wanted."""

import pytest

from bridge.config import InvalidConfig
from tests.settings import TOKENS, TRUNK, mistakes, read

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
