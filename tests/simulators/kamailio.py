# SPDX-License-Identifier: GPL-3.0-or-later
"""Kamailio as a registrar and proxy, or as the edge in front of one, from a generated file."""

import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.simulators.processes import Child, free_port

DOMAIN = "kamailio.test"
_MODULES = (
    *("tm", "tmx", "sl", "rr", "pv", "maxfwd", "usrloc", "registrar", "textops", "siputils"),
    *("xlog", "auth", "path", "nathelper"),
)


@dataclass(frozen=True, slots=True)
class TlsPeer:
    """Kamailio's side of TLS; files in PEM."""

    certificate: Path
    key: Path
    clients: Path | None = None
    """Authorities of clients, which have to show a certificate then."""
    client: str = ""
    """The name that it has to be for."""


class Kamailio:
    """A Kamailio process at `address`: UDP and TCP at `port`, TLS at `tls_port` if wanted.

    Whoever registers as `user@domain`, and has the password that `accounts` says, can be called by
    that name, through Record-Route. Without `accounts` everybody may. What is for another domain
    goes where its Request-URI says, as a proxy does.

    `others`: a user who is called by whatever name of the domain nobody has registered, as a
    trunk is by all of its numbers.
    """

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int | None = None,
        domain: str = DOMAIN,
        accounts: Mapping[str, str] | None = None,
        algorithm: Literal["MD5", "SHA-256"] = "MD5",
        challenge_calls: bool = False,
        next_hop: str = "",
        service_route: str = "",
        others: str = "",
        tls: TlsPeer | None = None,
    ) -> None:
        """`challenge_calls`: INVITE and MESSAGE need a password, too (407).

        `next_hop`: a SIP URI; then this is an edge: REGISTER goes on to there with a Path (RFC
        3327), as does everything else for the domain. `service_route`: what the registrar says in
        Service-Route (RFC 3608).
        """
        self.directory = directory
        self.address = address
        self.port = port or _free_on_both(address)
        self.tls_port = free_port(address=address) if tls else 0
        self.domain = domain
        self._accounts = accounts
        self._algorithm = algorithm
        self._challenge_calls = challenge_calls
        self._next_hop = next_hop
        self._service_route = service_route
        self._others = others
        self._tls = tls
        self._child: Child | None = None

    async def __aenter__(self) -> "Kamailio":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def uri(self) -> str:
        """Its own SIP URI, for UDP."""
        return f"sip:{self.address}:{self.port}"

    @property
    def log(self) -> str:
        """What it wrote: a line for each request, and every error."""
        return self._child.output() if self._child else ""

    def seen(self, method: str, **fields: str) -> list[dict[str, str]]:
        """The requests of a method so far, as the fields of the log lines about them."""
        found = []
        for line in self.log.splitlines():
            _, mark, rest = line.partition("REQUEST ")
            if mark:
                entry = dict(part.partition("=")[::2] for part in rest.split("|"))
                if entry["method"] == method and fields.items() <= entry.items():
                    found.append(entry)
        return found

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        kamailio = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin")
        if not kamailio:
            raise FileNotFoundError(
                "there is no kamailio; install it "
                "(Debian: apt-get install kamailio kamailio-tls-modules)"
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._tls:
            (self.directory / "tls.cfg").write_text(_tls_settings(self._tls))
        configuration = self.directory / "kamailio.cfg"
        configuration.write_text(self._configuration())
        self._child = await Child.start(
            "kamailio",
            [
                *(kamailio, "-f", configuration, "-DD", "-E", "-m", "32", "-M", "8"),
                *("-w", self.directory, "-Y", self.directory, "-P", self.directory / "pid"),
            ],
            log=self.directory / "kamailio.log",
            cwd=self.directory,
        )
        await self._child.listens(self.port, address=self.address)

    async def stop(self) -> None:
        """Stop it, and all of its processes."""
        if self._child:
            await self._child.stop()

    def _configuration(self) -> str:
        modules = [*_MODULES, *(["tls"] if self._tls else [])]
        listen = [f"{kind}:{self.address}:{self.port}" for kind in ("udp", "tcp")]
        if self._tls:
            listen.append(f"tls:{self.address}:{self.tls_port}")
        lines = [
            "debug=1",
            "log_stderror=yes",
            "children=1",
            "tcp_children=1",
            "auto_aliases=no",
            "dns=no",
            "rev_dns=no",
            "dns_cache_init=off",
            f'alias="{self.domain}"',
            *(f"listen={each}" for each in listen),
            *(["enable_tls=yes"] if self._tls else []),
            *(f'loadmodule "{name}.so"' for name in modules),
            *([f'modparam("tls", "config", "{self.directory}/tls.cfg")'] if self._tls else []),
            'modparam("rr", "append_fromtag", 0)',
            'modparam("path", "use_received", 1)',
            'modparam("registrar", "use_path", 1)',
            'modparam("registrar", "path_mode", 0)',
            'modparam("registrar|nathelper", "received_avp", "$avp(received)")',
            f'modparam("auth", "algorithm", "{self._algorithm}")',
            "request_route {",
            *_indented(self._route()),
            "}",
        ]
        return "\n".join(lines) + "\n"

    def _route(self) -> list[str]:
        return [
            'xlog("L_ALERT", "REQUEST method=$rm|uri=$ru|from=$fu|source=$si:$sp|protocol=$proto'
            '|agent=$ua|route=$hdr(Route)|contact=$hdr(Contact)|supported=$hdr(Supported)\\n");',
            'if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }',
            "force_rport();",
            *self._clients(),
            'if (is_method("OPTIONS") && uri==myself && $rU==$null) {',
            '  sl_send_reply("200", "OK"); exit;',
            "}",
            "if (has_totag()) {",
            "  if (loose_route()) { t_relay(); exit; }",
            '  if (is_method("ACK")) { if (t_check_trans()) { t_relay(); } exit; }',
            '  sl_send_reply("404", "Not Here"); exit;',
            "}",
            'if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }',
            "t_check_trans();",
            # What a client was told to go by (an edge, Service-Route) has brought it here.
            'if (is_method("REGISTER|INVITE|MESSAGE|OPTIONS")) { loose_route_preloaded(); }',
            'if (is_method("INVITE|SUBSCRIBE")) { record_route(); }',
            *(self._edge() if self._next_hop else self._registrar()),
            "t_relay();",
        ]

    def _edge(self) -> list[str]:
        inward = [
            'if (is_method("REGISTER")) { add_path_received(); }',
            f'$du = "{self._next_hop};transport=udp";',
        ]
        return [
            "if ($du == $null && uri==myself) {",
            *_indented(inward),
            "} else if ($du == $null && $rd == " + f'"{self.domain}") {{',
            *_indented(inward),
            "}",
        ]

    def _registrar(self) -> list[str]:
        route = f'append_to_reply("Service-Route: <{self._service_route}>\\r\\n");'
        return [
            'if (is_method("REGISTER")) {',
            *_indented(self._authenticated("www")),
            "  fix_nated_register();",
            *([f"  {route}"] if self._service_route else []),
            '  if (!save("location")) { sl_reply_error(); }',
            "  exit;",
            "}",
            *(self._authenticated("proxy") if self._challenge_calls else []),
            "if ($du == $null && uri==myself) {",
            '  if (!lookup("location")) {',
            *([f'    $rU = "{self._others}";'] if self._others else []),
            f"    if ({self._is_nobody()}) {{",
            '      sl_send_reply("404", "Not Found"); exit;',
            "    }",
            "  }",
            "}",
        ]

    def _is_nobody(self) -> str:
        return '!lookup("location")' if self._others else "true"

    def _clients(self) -> list[str]:
        """Whoever shows a certificate for another name gets no further."""
        if not self._tls or not self._tls.client:
            return []
        return [
            f'if ($proto == "tls" && $tls_peer_subject_cn != "{self._tls.client}") {{',
            '  sl_send_reply("403", "Not Your Certificate"); exit;',
            "}",
        ]

    def _authenticated(self, kind: Literal["www", "proxy"]) -> list[str]:
        """Whoever has no password, and is not an account of ours, gets no further."""
        if self._accounts is None:
            return []
        start = "is_method" if kind == "www" else "from_uri==myself && is_method"
        methods = "REGISTER" if kind == "www" else "INVITE|MESSAGE"
        lines = [f'if ({start}("{methods}")) {{', '  $var(password) = "";']
        lines += [
            f'  if ($au == "{user}") {{ $var(password) = "{password}"; }}'
            for user, password in self._accounts.items()
        ]
        check = f'pv_{kind}_authenticate("{self.domain}", "$var(password)", "0")'
        lines += [
            f'  if ($var(password) == "" || !{check}) {{',
            f'    {kind}_challenge("{self.domain}", "1"); exit;',
            "  }",
            "  consume_credentials();",
            "}",
        ]
        return lines


def _tls_settings(tls: TlsPeer) -> str:
    lines = [
        "[server:default]",
        "method = TLSv1.2+",
        f"certificate = {tls.certificate}",
        f"private_key = {tls.key}",
        f"verify_certificate = {'yes' if tls.clients else 'no'}",
        f"require_certificate = {'yes' if tls.clients else 'no'}",
        *([f"ca_list = {tls.clients}"] if tls.clients else []),
        "[client:default]",
        "method = TLSv1.2+",
        "verify_certificate = no",
        "require_certificate = no",
    ]
    return "\n".join(lines) + "\n"


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _free_on_both(address: str) -> int:
    """A port that is free for UDP and TCP."""
    while True:
        port = free_port(socket.SOCK_DGRAM, address)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
        return port
