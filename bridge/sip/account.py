# SPDX-License-Identifier: GPL-3.0-or-later
"""A trunk as a pjsua2 account, registered for as long as it is wanted. SIP thread only."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pjsua2 as pj
import structlog

from bridge.sip.guard import guarded
from bridge.sip.lookup import Target
from bridge.sip.messages import parse, seconds_of
from bridge.sip.servers import Servers
from bridge.sip.trunks import Route, address_in

log = structlog.get_logger(__name__)

_RECONNECT: Final = 1
"""Seconds after which to register again when the registration's connection is lost."""
_NEVER: Final = 10**6
"""Seconds: the stack's own pause between failures, where the `Registrar` has another."""
_SUBSCRIPTION: Final = 3600
"""Seconds that a subscription to a mailbox is asked for; it is refreshed before."""
_RELIABLY: Final = {
    "if_required": pj.PJSUA_100REL_NOT_USED,
    "if_supported": pj.PJSUA_100REL_OPTIONAL,
    "required": pj.PJSUA_100REL_MANDATORY,
}
_TIMERS: Final = {
    "off": pj.PJSUA_SIP_TIMER_INACTIVE,
    "supported": pj.PJSUA_SIP_TIMER_OPTIONAL,
    "required": pj.PJSUA_SIP_TIMER_REQUIRED,
    "always": pj.PJSUA_SIP_TIMER_ALWAYS,
}
_REFRESHED: Final = 20
"""Seconds before the end of a registration at which it is refreshed: time for several servers."""
_NAT: Final = {"never": 0, "auto": 1, "always": 2}


class Watch(Protocol):
    """Told of a registration."""

    def answered(self, status: int, reason: str, expiration: int, wish: float) -> None:
        """The final response to a REGISTER, or the stack's stand-in for none (408, 503)."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Who is told what happens on an account."""

    call: Callable[["Account", pj.OnIncomingCallParam], None]
    message: Callable[["Account", pj.OnInstantMessageParam], None]
    sent: Callable[["Account", pj.OnInstantMessageStatusParam], None]
    mailbox: Callable[["Account", pj.OnMwiInfoParam], None]


@dataclass(frozen=True, slots=True)
class Ways:
    """What leads out of here."""

    versions: Collection[int]
    """Of IP, that there are listeners of."""
    transport: Callable[[Route, Target], int]
    """The stack's number of the transport to a trunk's server, if it has one of its own."""
    avoided: Callable[[float], None]
    """Told that a server is passed over for so many seconds."""


def _nobody(status: int, reason: str) -> None:
    """Nobody waits for an answer."""


_NOWHERE: Final = Ways((4,), lambda route, target: pj.INVALID_ID, lambda seconds: None)


class Account(pj.Account):
    """A trunk, or the strangers: whoever calls and is no trunk.

    May be opened again after `shut`. It must not be let go of before the library is: by its
    destructor it would delete the account that has its number by then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.route: Route | None = None
        self.servers = Servers()
        self.target: Target | None = None
        """The server in use; None while none is known."""
        self.transport: int = pj.INVALID_ID
        """The stack's number of a transport of the trunk's own."""
        self.answered: Callable[[int, str], None] = _nobody
        """Told the status and reason of the final response to a request outside of calls."""
        self._ways = _NOWHERE
        self._callbacks: Callbacks | None = None
        self._registrar: Watch | None = None

    def open(
        self,
        callbacks: Callbacks,
        route: Route | None,
        *,
        ways: Ways,
        targets: Sequence[Target] = (),
        registrar: Watch | None = None,
        at_once: bool = True,
    ) -> None:
        """Create the account, and start to register, if it has to, `at_once`. Raises pj.Error.

        `targets`: the trunk's servers. While there are none nothing is sent: the stack would look
        the name up itself.
        """
        self.route, self._ways = route, ways
        self._callbacks, self._registrar = callbacks, registrar
        self.servers = Servers(targets)
        self.target = self.servers.best(time.monotonic())
        settings = self._settings()
        settings.regConfig.registerOnAdd = settings.regConfig.registerOnAdd and at_once
        self.create(settings)
        self.transport = settings.sipConfig.transportId

    @property
    def reachable(self) -> bool:
        """Whether the server's address is known."""
        return self.target is not None

    def follow(self, targets: Sequence[Target]) -> None:
        """The trunk's servers were looked up again, or one has been avoided for long enough."""
        self.servers.are(targets)
        self.move(self.servers.best(time.monotonic()))

    def gives_up(
        self, target: Target, tried: Collection[Target], wish: float = 0.0
    ) -> Target | None:
        """A server is of no use now. Gives another one that is not among `tried`, if there is.

        `wish`: seconds for which it wants to be left alone, if it said so.
        """
        now = time.monotonic()
        self._ways.avoided(self.servers.failed(target, now, wish))
        return self.servers.best(now, tried)

    def move(self, target: Target | None) -> None:
        """Use another server, and register there if that is wanted."""
        if target is None or target == self.target:
            return
        self.target = target
        settings = self._settings()
        # The stack would unregister first: where servers share what they know, that may come last.
        settings.regConfig.disableRegOnModify = True
        try:
            self.modify(settings)
            self.transport = settings.sipConfig.transportId
            if self._registrar:
                self.setRegistration(True)
        except pj.Error as error:
            log.warning("cannot follow the trunk's server", error=error.reason)

    def change(self, route: Route, targets: Sequence[Target]) -> None:
        """Have other settings, of a trunk that is the same to its registrar; register anew.

        Raises pj.Error and ConfigurationError; then nothing has changed.
        """
        before = self.route, self.target
        self.route = route
        servers = Servers(targets) if targets else self.servers
        if self.target not in targets:
            self.target = servers.best(time.monotonic())
        try:
            settings = self._settings()
            settings.regConfig.disableRegOnModify = True
            self.modify(settings)
        except BaseException:
            self.route, self.target = before
            raise
        self.transport = settings.sipConfig.transportId
        self.servers = servers
        self.register()

    def register(self) -> None:
        """Register, now, if that is wanted."""
        if self._registrar is None or self.target is None:
            return
        try:
            self.setRegistration(True)
        except pj.Error as error:
            self._registrar.answered(503, error.reason, 0, 0.0)

    def unsubscribe(self) -> None:
        """Hear of the mailbox no more."""
        if self.route is None or not self.route.mailbox or self.target is None:
            return
        try:
            self.modify(_settings(self.route, self.target, self._ways, mailbox=False))
        except pj.Error as error:
            log.info("cannot unsubscribe", error=error.reason)

    def _settings(self) -> pj.AccountConfig:
        return _settings(self.route, self.target, self._ways)

    def silence(self) -> None:
        """Forget whom to call back: it must not be left to the garbage collector."""
        self._ways = _NOWHERE
        self.answered = _nobody
        self._callbacks = self._registrar = None

    def shut(self) -> bool:
        """Delete the account in the library; False if it has calls yet."""
        prm = pj.AccountShutdownParam()
        prm.force = False
        try:
            self.shutdown2(prm)
        except pj.Error:
            return False
        return True

    @guarded
    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        if self._callbacks:
            self._callbacks.call(self, prm)

    @guarded
    def onInstantMessage(self, prm: pj.OnInstantMessageParam) -> None:
        if self._callbacks:
            self._callbacks.message(self, prm)

    @guarded
    def onInstantMessageStatus(self, prm: pj.OnInstantMessageStatusParam) -> None:
        if self._callbacks:
            self._callbacks.sent(self, prm)

    @guarded
    def onMwiInfo(self, prm: pj.OnMwiInfoParam) -> None:
        if self._callbacks:
            self._callbacks.mailbox(self, prm)

    @guarded
    def onIncomingSubscribe(self, prm: pj.OnIncomingSubscribeParam) -> None:
        # The stack would tell whoever asks whether we are there.
        prm.code = pj.PJSIP_SC_BAD_EVENT

    @guarded
    def onSendRequest(self, prm: pj.OnSendRequestParam) -> None:
        transaction = prm.e.body.tsxState.tsx
        self.answered(int(transaction.statusCode), transaction.statusText)

    @guarded
    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        if self._registrar:
            wish = parse(prm.rdata.wholeMsg).first("retry-after") if prm.rdata.wholeMsg else ""
            self._registrar.answered(int(prm.code), prm.reason, prm.expiration, seconds_of(wish))


def _settings(
    route: Route | None, target: Target | None, ways: Ways, *, mailbox: bool = True
) -> pj.AccountConfig:
    config = pj.AccountConfig()
    config.idUri = route.identity if route else "sip:stranger@anonymous.invalid"
    # Whether a MESSAGE is taken is ours to say.
    config.sipConfig.autoRespondSipMessage = False
    config.sipConfig.ipv6Use = _ip_use(target, ways.versions)
    media = config.mediaConfig
    # The audio is elsewhere: no sockets, no codec of the stack's choosing, any keying accepted.
    media.useLoopMedTp = True
    media.lockCodecEnabled = False
    media.srtpUse = pj.PJMEDIA_SRTP_OPTIONAL
    media.srtpSecureSignaling = 0
    registration = config.regConfig
    registration.registerOnAdd = False
    registration.retryIntervalSec = 0
    if route is None:
        return config
    calls = config.callConfig
    calls.prackUse = _RELIABLY[route.trunk.reliable_provisionals]
    calls.timerUse = _TIMERS[route.trunk.session_timers]
    calls.timerSessExpiresSec = route.trunk.session_interval
    calls.timerMinSESec = route.trunk.session_interval_min
    if route.trunk.username:
        config.sipConfig.authCreds.append(_credentials(route))
    # The stack would look the name up by itself, wait for that, and connect to wherever it leads to
    # know from which port: so that is left for the registrar to say.
    by_tls = target is not None and target.protocol == "tls"
    named = by_tls and address_in(route.tls_name) is None
    nat = _NAT["always" if named and route.trunk.nat == "auto" else route.trunk.nat]
    config.natConfig.contactRewriteUse = config.natConfig.viaRewriteUse = nat
    config.natConfig.contactUseSrcPort = 0 if named else 1
    config.natConfig.udpKaIntervalSec = route.trunk.keep_alive
    if target:
        for hop in route.hops(target):
            config.sipConfig.proxies.append(hop)
        config.sipConfig.transportId = ways.transport(route, target)
    if route.trunk.register and target:
        registration.registrarUri = route.registrar
        registration.timeoutSec = route.trunk.registration_interval
        registration.delayBeforeRefreshSec = _REFRESHED
        registration.registerOnAdd = True
        registration.headers.append(_supports_path())
        if target.protocol != "udp":
            # The registrar calls us over that connection, and only the stack knows which it is.
            registration.retryIntervalSec = _NEVER
            registration.firstRetryIntervalSec = _RECONNECT
            registration.randomRetryIntervalSec = 0
    # The stack subscribes as soon as it has registered; and again then, or after five minutes, when
    # the subscription is lost.
    config.mwiConfig.enabled = mailbox and route.mailbox
    config.mwiConfig.expirationSec = _SUBSCRIPTION
    if route.trunk.register:
        config.sipConfig.contactUriParams = f";line={route.line}"
    return config


def _ip_use(target: Target | None, versions: Collection[int]) -> int:
    """Which IP the stack looks for first: what the server's address is, if that is known.

    Where there is no listener on IPv6, nothing about it is left to the stack.
    """
    if 6 not in versions:
        return pj.PJSUA_IPV6_DISABLED
    if not target:
        return pj.PJSUA_IPV6_ENABLED_NO_PREFERENCE
    six = target.address.version == 6
    return pj.PJSUA_IPV6_ENABLED_PREFER_IPV6 if six else pj.PJSUA_IPV6_ENABLED_PREFER_IPV4


def _supports_path() -> pj.SipHeader:
    """A registrar may refuse what came with a Path otherwise (RFC 3327 section 5.3)."""
    header = pj.SipHeader()
    header.hName, header.hValue = "Supported", "path"
    return header


def _credentials(route: Route) -> pj.AuthCredInfo:
    name = route.trunk.auth_username or route.trunk.username
    return pj.AuthCredInfo("digest", "*", name, 0, route.trunk.password.get_secret_value())
