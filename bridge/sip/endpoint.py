# SPDX-License-Identifier: GPL-3.0-or-later
"""The pjsua2 library: made, polled and destroyed on one thread. For that thread only."""

import ctypes
import heapq
import itertools
import ssl
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

import pjsua2 as pj
import structlog

from bridge.config import Sip, SipTransport
from bridge.errors import ConfigurationError, LocalError
from bridge.sip.connections import FIRST
from bridge.sip.guard import guarded
from bridge.sip.listeners import open_anew
from bridge.sip.lookup import Target
from bridge.sip.names import LOOPBACK
from bridge.sip.pjlib import Text, endpoint, library
from bridge.sip.sieve import Judge, Sieve
from bridge.sip.tap import Tapped, read_entry, unreadable_from, without_users
from bridge.sip.trunks import Route
from bridge.sip.wires import Wires, is_over

log = structlog.get_logger(__name__)

_POLL: Final = 10
"""Milliseconds that a command may wait for while nothing comes in from the network."""
_AGAIN: Final = 5.0
"""Seconds until a listener that could not be opened anew is tried again."""
_MESSAGES: Final = 4
"""pjsip's log level at which whole messages are written."""
_TYPES: Final = {
    ("udp", 4): pj.PJSIP_TRANSPORT_UDP,
    ("udp", 6): pj.PJSIP_TRANSPORT_UDP6,
    ("tcp", 4): pj.PJSIP_TRANSPORT_TCP,
    ("tcp", 6): pj.PJSIP_TRANSPORT_TCP6,
    ("tls", 4): pj.PJSIP_TRANSPORT_TLS,
    ("tls", 6): pj.PJSIP_TRANSPORT_TLS6,
}
_TLS_VERSIONS: Final = pj.PJ_SSL_SOCK_PROTO_TLS1_2 | pj.PJ_SSL_SOCK_PROTO_TLS1_3

Select = Callable[[pj.SipRxData], int | None]
"""The account that an incoming request is for, if the application knows better than pjsua."""


class Watch(Protocol):
    """Told of connections, by the stack's numbers of them."""

    def opened(self, number: int, host: str) -> None:
        """Somebody has connected from an address."""

    def closed(self, number: int) -> None:
        """A connection is over, whoever had opened it."""


class _Library(pj.Endpoint):
    def __init__(self, select: Select, watch: Watch, wires: Wires) -> None:
        super().__init__()
        self._select: Select | None = select
        self._watch: Watch | None = watch
        self._wires = wires

    def forget(self) -> None:
        self._select = self._watch = None

    @guarded
    def onTransportState(self, prm: pj.OnTransportStateParam) -> None:
        number = int(prm.hnd)
        if self._watch is None:
            return
        if is_over(prm.state):
            self._watch.closed(number)
        elif caller := self._wires.caller(number):
            self._watch.opened(number, caller)

    @guarded
    def onSelectAccount(self, prm: pj.OnSelectAccountParam) -> None:
        account = self._select(prm.rdata) if self._select else None
        if account is not None:
            prm.accountIndex = account


class _Writer(pj.LogWriter):
    def __init__(self, tapped: Callable[[Tapped], None], malformed: Callable[[str], None]) -> None:
        super().__init__()
        self._tapped = tapped
        self._malformed = malformed

    @guarded
    def write(self, entry: pj.LogEntry) -> None:
        if entry.level == _MESSAGES:
            message = read_entry(entry.msg)
            if message:
                self._tapped(message)
        elif host := unreadable_from(entry.msg):
            self._malformed(host)
        elif line := without_users(entry.msg):
            (log.warning if entry.level < 3 else log.debug)("pjsip", message=line)


class Endpoint:
    """pjsua2's endpoint, a clock, and a grave for calls that may not die inside a callback."""

    def __init__(
        self,
        sip: Sip,
        *,
        select: Select,
        tapped: Callable[[Tapped], None],
        judge: Judge,
        malformed: Callable[[str], None],
        watch: Watch,
    ) -> None:
        self._sip = sip
        self._watch = watch
        self._wires = Wires()
        self._keep_alive = 0
        self._select = select
        self._tapped = tapped
        self._malformed = malformed
        self._sieve = Sieve(judge)
        self._library: _Library | None = None
        self._own: dict[SipTransport, int] = {}
        """Transports of trunks with TLS of their own."""
        self._listeners: list[int] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._grave: list[pj.Call] = []

    def start(self, names: int) -> None:
        """Raises ConfigurationError for a transport that cannot be opened.

        `names`: port of the name server on loopback that the stack is to ask.
        """
        library = self._library = _Library(self._select, self._watch, self._wires)
        self._wires.keep_alive(self._keep_alive)
        _silence()
        library.libCreate()
        library.libInit(self._settings())
        _ask(names)
        self._sieve.register()
        library.audDevManager().setNoDev()
        self._listeners = [
            self._open(f"sip.transports.{number}", transport)
            for number, transport in enumerate(self._sip.transports)
        ]
        library.libStart()

    def poll(self, slots_in_use: Callable[[], set[int]]) -> None:
        """Let pjsip work for up to 10 ms, then run what is due.

        `slots_in_use`: the ids of calls that live.
        """
        assert self._library
        self._library.libHandleEvents(_POLL)
        if self._grave:
            # A dead call's destructor hangs up whatever call has its id by now, so it has to wait
            # where pjsua has given the id away again.
            used = slots_in_use()
            self._grave = [call for call in self._grave if call.getId() in used]
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def call_later(self, delay: float, action: Callable[[], None]) -> None:
        """Run `action` on this thread in `delay` seconds."""
        heapq.heappush(self._timers, (time.monotonic() + delay, next(self._order), action))

    def keep_alive(self, seconds: int) -> None:
        """Keep connections open, as often as whoever wants it most often."""
        if seconds and (not self._keep_alive or seconds < self._keep_alive):
            self._keep_alive = seconds
            self._wires.keep_alive(seconds)

    def close(self, number: int) -> None:
        """Close a connection."""
        self._wires.close(number)

    def bury(self, call: pj.Call) -> None:
        """Keep a call that is over until no callback of it can be on the stack."""
        self._grave.append(call)

    def drain(self, seconds: float, done: Callable[[], bool]) -> None:
        """Let what was just sent be answered, until `done` or for that many seconds."""
        end = time.monotonic() + seconds
        while self._library and not done() and time.monotonic() < end:
            self._library.libHandleEvents(_POLL)

    def stop(self) -> None:
        """Destroy the library; every account and call of it must have been let go of."""
        self._timers.clear()
        self._grave.clear()
        library, self._library = self._library, None
        if library is None:
            return
        try:
            library.libDestroy(pj.PJSUA_DESTROY_NO_NETWORK)
        except pj.Error as error:
            log.warning("pjsip did not stop cleanly", error=error.reason)
        library.forget()
        self._wires.forget()
        self._sieve.forget()

    def _settings(self) -> pj.EpConfig:
        settings = pj.EpConfig()
        ua = settings.uaConfig
        # As many calls as it was built for: `sip.max_calls` is counted by the worker, which can
        # then still refuse in its own words.
        ua.threadCnt = 0
        ua.mainThreadOnly = False
        ua.userAgent = self._sip.user_agent
        logging = settings.logConfig
        logging.level = logging.consoleLevel = _MESSAGES
        logging.msgLogging = 1
        logging.decor = 0
        writer = _Writer(self._tapped, self._malformed)
        logging.writer = writer
        writer.__disown__()  # libDestroy deletes it.
        settings.medConfig.threadCnt = 0
        settings.medConfig.hasIoqueue = False
        return settings

    def transport_to(self, route: Route, target: Target) -> int:
        """The transport for a trunk that wants another TLS than the listener has.

        There is one for all trunks that want the same. It is told to listen on any port where the
        listener does, since what has a certificate listens. Raises ConfigurationError.
        """
        like = next(
            (
                each
                for each in self._sip.transports
                if each.protocol == "tls" and each.listen.version == target.address.version
            ),
            None,
        )
        if target.protocol != "tls" or like is None:
            return pj.INVALID_ID
        tls = route.trunk.tls
        wanted = like.model_copy(
            update={
                "certificate": tls.certificate or like.certificate,
                "private_key": tls.private_key or like.private_key,
                "ca_list": tls.ca_list or like.ca_list,
                "verify": like.verify if tls.verify is None else tls.verify,
            }
        )
        if wanted == like:
            return pj.INVALID_ID
        if wanted not in self._own:
            self._own[wanted] = self._open(f"trunks.{route.name}.tls", wanted, port=0)
        return self._own[wanted]

    @property
    def own(self) -> Collection[int]:
        """The stack's numbers of transports of trunks with TLS of their own."""
        return self._own.values()

    def shut(self, number: int) -> None:
        """Close one of those, by which nothing may come or go any more."""
        assert self._library
        self._own = {tls: own for tls, own in self._own.items() if own != number}
        self._library.transportClose(number)

    def renew(self, number: int) -> None:
        """Open a TLS listener anew, which then shows the certificate that is in its file by now.

        `number`: its place in `sip.transports`. Connections stay.
        """
        transport = self._sip.transports[number]
        if not open_anew(self._listeners[number], transport, _config_of(transport)):
            self.call_later(_AGAIN, lambda: self.renew(number))

    def _open(self, key: str, transport: SipTransport, port: int | None = None) -> int:
        assert self._library
        config = _config_of(transport, port)
        kind = _TYPES[transport.protocol, transport.listen.version]
        try:
            return self._library.transportCreate(kind, config)
        except pj.Error as error:
            raise ConfigurationError(
                f"{key}: cannot open {transport.protocol} {transport.listen} port {config.port}: "
                f"{error.reason}",
                remedy="Choose a free port, an address of this machine, and certificates that fit; "
                "and no more than eight transports, with those of trunks with TLS of their own.",
            ) from error


def _ask(port: int) -> None:
    """Have the stack ask the name server at a port of loopback, which pjsua2 can only at 53.

    Raises LocalError.
    """
    pjsip = library()
    at, resolver, server = endpoint(pjsip), ctypes.c_void_p(), Text.of(LOOPBACK)
    failed = (
        pjsip.pjsip_endpt_create_resolver(at, ctypes.byref(resolver))
        or pjsip.pj_dns_resolver_set_ns(
            resolver, 1, ctypes.byref(server), ctypes.byref(ctypes.c_uint16(port))
        )
        or pjsip.pjsip_endpt_set_resolver(at, resolver)
    )
    if failed:
        raise LocalError(f"the SIP stack takes no name server: pjlib status {failed}")


def _silence() -> None:
    """Keep pjlib from writing to standard output until it is told where to log."""
    library().pj_log_set_level(0)


def _config_of(transport: SipTransport, port: int | None = None) -> pj.TransportConfig:
    config = pj.TransportConfig()
    config.port = transport.port if port is None else port
    if not transport.listen.is_unspecified:
        # Left out, Contact has the address that faces the peer; given as 0.0.0.0, the one of
        # the default route, which a peer in another network cannot reach.
        config.boundAddress = str(transport.listen)
    config.publicAddress = transport.public_address or ""
    if transport.protocol == "tls":
        _secure(config.tlsConfig, transport)
    return config


def _secure(tls: pj.TlsConfig, transport: SipTransport) -> None:
    tls.certFile = str(transport.certificate or "")
    tls.privKeyFile = str(transport.private_key or "")
    tls.CaListFile = str(transport.ca_list or _system_authorities())
    tls.verifyServer = transport.verify
    tls.msecTimeout = int(FIRST * 1000)  # for the handshake, before which nobody is told of one
    tls.proto = _TLS_VERSIONS


def _system_authorities() -> str:
    paths: Sequence[str | None] = (
        ssl.get_default_verify_paths().cafile,
        "/etc/ssl/certs/ca-certificates.crt",
    )
    return next((path for path in paths if path), "")
