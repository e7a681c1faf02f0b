# SPDX-License-Identifier: GPL-3.0-or-later
"""A trunk as a pjsua2 account, registered for as long as it is wanted. SIP thread only."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.ids import TrunkName
from bridge.sip.guard import guarded
from bridge.sip.messages import parse, seconds_of
from bridge.sip.trunks import Registration, RegistrationState, Route

log = structlog.get_logger(__name__)

_RECONNECT: Final = 1
"""Seconds after which to register again when the registration's connection is lost."""
_NEVER: Final = 10**6
"""Seconds: the stack's own pause between failures, where the `Registrar` has another."""
_SUBSCRIPTION: Final = 3600
"""Seconds that a subscription to a mailbox is asked for; it is refreshed before."""
_LONGEST_WISH: Final = 3600.0
"""Seconds: a registrar may ask for a longer pause in vain."""

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

Pause = Callable[[int, int], float]
"""Seconds until the next try, after so many failures in a row, the last one with this status."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Who is told what happens on an account."""

    call: Callable[["Account", pj.OnIncomingCallParam], None]
    message: Callable[["Account", pj.OnInstantMessageParam], None]
    sent: Callable[["Account", pj.OnInstantMessageStatusParam], None]
    mailbox: Callable[["Account", pj.OnMwiInfoParam], None]


class Account(pj.Account):
    """A trunk, or the strangers: whoever calls and is no trunk.

    May be opened again after `shut`. It must not be let go of before the library is: by its
    destructor it would delete the account that has its number by then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.route: Route | None = None
        self._address = ""
        self._versions: Collection[int] = (4,)
        self._callbacks: Callbacks | None = None
        self._registrar: Registrar | None = None

    def open(
        self,
        callbacks: Callbacks,
        route: Route | None,
        *,
        address: str = "",
        versions: Collection[int] = (4,),
        registrar: "Registrar | None" = None,
    ) -> None:
        """Create the account, and start to register if it has to. Raises pj.Error.

        `address`: the trunk's server's. While it is empty nothing is sent: the stack would look the
        name up itself, and do nothing else until that has failed.
        `versions`: of IP, that there are listeners of.
        """
        self.route, self._address, self._versions = route, address, versions
        self._callbacks, self._registrar = callbacks, registrar
        self.create(_settings(route, address, versions))

    @property
    def reachable(self) -> bool:
        """Whether the server's address is known."""
        return self._address != ""

    def move(self, address: str) -> None:
        """Follow the server to another address."""
        if address in ("", self._address):
            return
        self._address = address
        try:
            self.modify(_settings(self.route, address, self._versions))
        except pj.Error as error:
            log.warning("cannot follow the trunk's server", error=error.reason)

    def unsubscribe(self) -> None:
        """Hear of the mailbox no more."""
        if self.route is None or not self.route.mailbox or not self._address:
            return
        try:
            self.modify(_settings(self.route, self._address, self._versions, mailbox=False))
        except pj.Error as error:
            log.info("cannot unsubscribe", error=error.reason)

    def silence(self) -> None:
        """Forget whom to call back."""
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
    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        if self._registrar:
            wish = parse(prm.rdata.wholeMsg).first("retry-after") if prm.rdata.wholeMsg else ""
            self._registrar.answered(int(prm.code), prm.reason, prm.expiration, seconds_of(wish))


class Registrar:
    """Keeps one trunk registered: pjsip refreshes, this tries again after failures."""

    def __init__(
        self,
        account: Account,
        trunk: TrunkName,
        report: Callable[[TrunkName, Registration], None],
        call_later: Callable[[float, Callable[[], None]], None],
        pause: Pause,
    ) -> None:
        self._account = account
        self._trunk = trunk
        self._report = report
        self._call_later = call_later
        self._pause = pause
        self._failures = 0
        self._waiting = False
        self._leaving = False
        self.registered = False

    def leave(self) -> None:
        """Unregister, and try no more."""
        self._leaving = True
        if not self.registered:
            return
        try:
            self._account.setRegistration(False)
        except pj.Error as error:
            self.registered = False
            log.info("cannot unregister", trunk=self._trunk, error=error.reason)

    def answered(self, status: int, reason: str, expiration: int, wish: float = 0.0) -> None:
        """The registrar's final response, or the stack's stand-in for none (408, 503).

        `wish`: seconds in its Retry-After header (RFC 3261 section 20.33), 0 if there is none.
        """
        self.registered = status // 100 == 2 and expiration > 0
        if self._leaving:
            return
        if self.registered:
            self._failures = 0
            self._report(self._trunk, Registration(RegistrationState.REGISTERED, status, reason))
            return
        if self._waiting:
            return
        self._failures += 1
        pause = max(self._pause(self._failures, status), min(wish, _LONGEST_WISH))
        log.warning(
            "registration failed",
            trunk=self._trunk,
            status=status,
            reason=reason,
            retry_in=round(pause, 1),
        )
        self._report(self._trunk, Registration(RegistrationState.FAILED, status, reason))
        self._waiting = True
        self._call_later(pause, self._retry)

    def _retry(self) -> None:
        self._waiting = False
        if self._leaving:
            return
        try:
            self._account.setRegistration(True)
        except pj.Error as error:
            self.answered(503, error.reason, 0)


def _settings(
    route: Route | None, address: str, versions: Collection[int], *, mailbox: bool = True
) -> pj.AccountConfig:
    config = pj.AccountConfig()
    config.idUri = route.identity if route else "sip:stranger@anonymous.invalid"
    # Whether a MESSAGE is taken is ours to say.
    config.sipConfig.autoRespondSipMessage = False
    config.sipConfig.ipv6Use = _ip_use(address, versions)
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
    config.sipConfig.proxies.append(route.proxy(address))
    if route.trunk.username:
        config.sipConfig.authCreds.append(_credentials(route))
    if route.trunk.register and address:
        registration.registrarUri = route.registrar
        registration.timeoutSec = route.trunk.registration_interval
        registration.registerOnAdd = True
        if route.trunk.transport != "udp":
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


def _ip_use(address: str, versions: Collection[int]) -> int:
    """Which IP the stack looks for first: what the server's address is, if that is known.

    Where there is no listener on IPv6, nothing about it is left to the stack.
    """
    if 6 not in versions:
        return pj.PJSUA_IPV6_DISABLED
    if not address:
        return pj.PJSUA_IPV6_ENABLED_NO_PREFERENCE
    six = ":" in address
    return pj.PJSUA_IPV6_ENABLED_PREFER_IPV6 if six else pj.PJSUA_IPV6_ENABLED_PREFER_IPV4


def _credentials(route: Route) -> pj.AuthCredInfo:
    name = route.trunk.auth_username or route.trunk.username
    return pj.AuthCredInfo("digest", "*", name, 0, route.trunk.password.get_secret_value())
