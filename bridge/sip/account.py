# SPDX-License-Identifier: GPL-3.0-or-later
"""Trunks as pjsua2 accounts, registered for as long as the process lives. SIP thread only."""

from collections.abc import Callable
from typing import Final

import pjsua2 as pj
import structlog

from bridge.call.ids import TrunkName
from bridge.sip.guard import guarded
from bridge.sip.trunks import Registration, RegistrationState, Route

log = structlog.get_logger(__name__)

_RECONNECT: Final = 1
"""Seconds after which to register again when the registration's connection is lost."""
_NEVER: Final = 10**6
"""Seconds: the stack's own pause between failures, where the `Registrar` has another."""

IncomingCall = Callable[["Account", pj.OnIncomingCallParam], None]


class Account(pj.Account):
    """A trunk, or the strangers: whoever calls and is no trunk."""

    def __init__(self, incoming: IncomingCall, route: Route | None, address: str = "") -> None:
        """`address`: the trunk's server's, if it is known."""
        super().__init__()
        self.route = route
        self._address = address
        self._incoming: IncomingCall | None = incoming
        self._registrar: Registrar | None = None

    def open(self, registrar: "Registrar | None") -> None:
        """Create the account, and start to register if it has to."""
        self._registrar = registrar
        self.create(_settings(self.route, self._address))

    def move(self, address: str) -> None:
        """Follow the server to another address."""
        if address in ("", self._address):
            return
        self._address = address
        try:
            self.modify(_settings(self.route, address))
        except pj.Error as error:
            log.warning("cannot follow the trunk's server", error=error.reason)

    def close(self) -> None:
        """Forget whom to call back."""
        self._incoming = self._registrar = None

    @guarded
    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        if self._incoming:
            self._incoming(self, prm)

    @guarded
    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        if self._registrar:
            self._registrar.answered(int(prm.code), prm.reason, prm.expiration)


class Registrar:
    """Keeps one trunk registered: pjsip refreshes, this tries again after failures."""

    def __init__(
        self,
        account: Account,
        trunk: TrunkName,
        report: Callable[[TrunkName, Registration], None],
        call_later: Callable[[float, Callable[[], None]], None],
        pause: Callable[[int], float],
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

    def answered(self, status: int, reason: str, expiration: int) -> None:
        """The registrar's final response, or the stack's stand-in for none (408, 503)."""
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
        pause = self._pause(self._failures)
        log.warning(
            "registration failed", trunk=self._trunk, status=status, reason=reason, retry_in=pause
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


def _settings(route: Route | None, address: str) -> pj.AccountConfig:
    config = pj.AccountConfig()
    config.idUri = route.identity if route else "sip:stranger@anonymous.invalid"
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
    config.sipConfig.proxies.append(route.proxy(address))
    if route.trunk.username:
        config.sipConfig.authCreds.append(_credentials(route))
    if route.trunk.register:
        registration.registrarUri = route.registrar
        registration.timeoutSec = route.trunk.registration_interval
        registration.registerOnAdd = True
        if route.trunk.transport != "udp":
            # The registrar calls us over that connection, and only the stack knows which it is.
            registration.retryIntervalSec = _NEVER
            registration.firstRetryIntervalSec = _RECONNECT
            registration.randomRetryIntervalSec = 0
        config.sipConfig.contactUriParams = f";line={route.line}"
    return config


def _credentials(route: Route) -> pj.AuthCredInfo:
    name = route.trunk.auth_username or route.trunk.username
    return pj.AuthCredInfo("digest", "*", name, 0, route.trunk.password.get_secret_value())
