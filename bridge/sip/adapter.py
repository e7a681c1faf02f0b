# SPDX-License-Identifier: GPL-3.0-or-later
"""`SipPort` over pjsua2: commands go to the SIP thread by a queue, events come back to the loop."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import structlog

from bridge.call.commands import SipCommand
from bridge.call.events import SipEvent
from bridge.call.ids import Address, LegId, TrunkName
from bridge.config import Sip, Trunk
from bridge.errors import ConfigurationError, LocalError
from bridge.ports import CallRecord, Emit, SipMessageTap
from bridge.sip.loader import check_pjsua2
from bridge.sip.orphans import end_dialogs
from bridge.sip.pauses import registration_pause
from bridge.sip.strangers import Strangers
from bridge.sip.tap import Tapped, without_secrets
from bridge.sip.trunks import Peers, Registration, RegistrationState, Route

if TYPE_CHECKING:
    from bridge.sip.worker import Worker

log = structlog.get_logger(__name__)

_RESOLVE_EVERY: Final = 300.0
"""Seconds after which the addresses of the trunks' servers are looked up again."""
_RESOLVE_AGAIN: Final = 10.0
"""The same while one has none: at boot, names may not be known before the network is up."""
_STUCK: Final = 5.0
_REMEMBER_CALL_ID: Final = 64.0
"""Seconds that the last messages of an ended leg may still come in for."""

_ONE_AT_A_TIME: Final = threading.Lock()
"""A second pjsua2 endpoint would abort the process."""

RegistrationObserver = Callable[[TrunkName, Registration], None]


class SipAdapter:
    """The SIP endpoint.

    `emit`, `tap` and `on_registration` are called on the loop that `start` was awaited on.
    `normalise` makes the canonical address of a URI's user part (still %-escaped) and host; it must
    be callable on another thread.
    """

    def __init__(
        self,
        sip: Sip,
        trunks: Mapping[str, Trunk],
        *,
        emit: Emit,
        tap: SipMessageTap,
        normalise: Callable[[str, str], Address],
        on_registration: RegistrationObserver | None = None,
        registration_pause: Callable[[int], float] = registration_pause,
    ) -> None:
        self._sip = sip
        self._routes = {
            TrunkName(name): Route(TrunkName(name), trunk) for name, trunk in trunks.items()
        }
        self._peers = Peers(self._routes.values())
        self._emit = emit
        self._tap = tap
        self._normalise = normalise
        self._on_registration = on_registration
        self._pause = registration_pause
        self._registrations = {
            name: Registration(
                RegistrationState.TRYING if route.trunk.register else RegistrationState.NOT_USED
            )
            for name, route in self._routes.items()
        }
        self._strangers = Strangers()
        self._legs: dict[str, LegId] = {}
        self._queue: deque[SipCommand] = deque()
        self._moved = threading.Event()
        self._stopping = threading.Event()
        self._last_turn = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._unresolved: frozenset[TrunkName] = frozenset()
        self._resolver: asyncio.Task[None] | None = None

    # --- SipPort ----------------------------------------------------------------------------

    def do(self, command: SipCommand) -> None:
        """Queue a command; order is kept."""
        self._queue.append(command)

    async def end_orphan(self, record: CallRecord) -> None:
        """BYE the dialog of a call that a crash left behind. For use before `start`."""
        await self.end_orphans([record])

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen and register. Raises LocalError (no pjsua2) or ConfigurationError."""
        version = check_pjsua2()
        self._check_transports()
        if _ONE_AT_A_TIME.locked():
            raise LocalError("there is a SIP endpoint in this process already")
        self._loop = asyncio.get_running_loop()
        await self._resolve()
        started: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="sip", daemon=True)
        self._thread.start()
        await started
        self._resolver = asyncio.create_task(self._keep_resolving(), name="sip-resolver")
        log.info("SIP is up", pjsip=version, trunks=len(self._routes))

    async def stop(self) -> None:
        """Hang up what is left, unregister, and destroy the stack."""
        if self._resolver:
            self._resolver.cancel()
            await asyncio.gather(self._resolver, return_exceptions=True)
        if self._thread:
            self._stopping.set()
            await asyncio.to_thread(self._thread.join)
        self._thread = self._resolver = None

    async def end_orphans(self, records: Iterable[CallRecord]) -> None:
        """BYE every dialog that a crash left behind; never raises. For use before `start`."""
        await end_dialogs(records, self._sip, self._routes)

    # --- what others may ask ----------------------------------------------------------------

    def registrations(self) -> dict[TrunkName, Registration]:
        """How every trunk's registration stands."""
        return dict(self._registrations)

    def leg_of(self, sip_call_id: str) -> LegId | None:
        """The leg that a message given to the tap belongs to, up to a minute after its end."""
        return self._legs.get(sip_call_id)

    @property
    def responsive(self) -> bool:
        """Whether the SIP thread runs, and has not been stuck for five seconds."""
        return self._thread is not None and time.monotonic() - self._last_turn < _STUCK

    @property
    def strangers_refused(self) -> int:
        """INVITEs refused because they came from no trunk."""
        return self._strangers.count

    # --- the SIP thread ---------------------------------------------------------------------

    def _run(self, started: "asyncio.Future[None]") -> None:
        with _ONE_AT_A_TIME:
            self._live(started)

    def _live(self, started: "asyncio.Future[None]") -> None:
        assert self._loop
        # pjsua2 is imported here: everything else works, and can be checked, without it.
        from bridge.sip.worker import Worker

        worker = Worker(
            self._sip,
            self._routes,
            self._peers,
            listener=self,
            normalise=self._normalise,
            pause=self._pause,
        )
        try:
            worker.start()
        except Exception as error:
            worker.stop()
            self._loop.call_soon_threadsafe(started.set_exception, _detached(error))
            return
        self._loop.call_soon_threadsafe(started.set_result, None)
        while not self._stopping.is_set():
            self._turn(worker)
        while self._queue:
            self._carry_out(worker, self._queue.popleft())
        worker.stop()

    def _turn(self, worker: "Worker") -> None:
        self._last_turn = time.monotonic()
        if self._moved.is_set():
            self._moved.clear()
            worker.follow()
        while self._queue:
            self._carry_out(worker, self._queue.popleft())
        try:
            worker.poll()
        except Exception:
            log.exception("SIP stack failed")

    def _carry_out(self, worker: "Worker", command: SipCommand) -> None:
        try:
            worker.carry_out(command)
        except Exception:
            log.exception("SIP command failed", call=command.call, command=type(command).__name__)

    def _post(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._loop
        self._loop.call_soon_threadsafe(function, *arguments)

    # --- Listener: called on the SIP thread ---------------------------------------------------

    def happened(self, event: SipEvent) -> None:
        """Pass an event on to the core."""
        self._post(self._emit, event)

    def began(self, leg: LegId, sip_call_id: str) -> None:
        """Remember which leg a Call-ID names."""
        self._post(self._legs.__setitem__, sip_call_id, leg)

    def ended(self, sip_call_id: str) -> None:
        """Forget a Call-ID, once its last messages are through."""
        self._post(self._forget_later, sip_call_id)

    def tapped(self, sip_call_id: str, direction: str, text: str) -> None:
        """Pass a message on to the ladder."""
        self._post(self._tap, sip_call_id, direction, without_secrets(text))

    def seen(self, message: Tapped) -> None:
        """Log every message, if that is wanted."""
        if self._sip.log_messages:
            log.info(
                "SIP message",
                direction=message.direction,
                peer=message.peer,
                transport=message.transport,
                text=without_secrets(message.text),
            )

    def registration(self, trunk: TrunkName, registration: Registration) -> None:
        """Pass a registration's new state on."""
        self._post(self._register, trunk, registration)

    def refused(self, source: str) -> None:
        """Count a stranger."""
        self._post(self._strangers.refused, source)

    # --- on the loop --------------------------------------------------------------------------

    def _forget_later(self, sip_call_id: str) -> None:
        assert self._loop
        self._loop.call_later(_REMEMBER_CALL_ID, self._legs.pop, sip_call_id, None)

    def _register(self, trunk: TrunkName, registration: Registration) -> None:
        before = self._registrations.get(trunk)
        self._registrations[trunk] = registration
        if before == registration:
            return
        log.info(
            "registration", trunk=trunk, state=registration.state.value, status=registration.status
        )
        if self._on_registration:
            self._on_registration(trunk, registration)

    async def _keep_resolving(self) -> None:
        while True:
            await asyncio.sleep(_RESOLVE_AGAIN if self._unresolved else _RESOLVE_EVERY)
            await self._resolve()
            self._moved.set()

    async def _resolve(self) -> None:
        missing = frozenset(await self._peers.resolve())
        for trunk in missing - self._unresolved:
            log.warning("trunk's server has no address", trunk=trunk)
        self._unresolved = missing

    def _check_transports(self) -> None:
        for number, transport in enumerate(self._sip.transports):
            if transport.listen.version == 6:
                # It would listen, and then fail every call.
                raise ConfigurationError(
                    f"sip.transports.{number}.listen: {transport.listen} is an IPv6 address, "
                    f"which the SIP stack is built without",
                    remedy="Listen on an IPv4 address; 0.0.0.0 is all of them.",
                )
        have = {transport.protocol for transport in self._sip.transports}
        for name, route in self._routes.items():
            if route.trunk.transport not in have:
                raise ConfigurationError(
                    f"trunks.{name}.transport is {route.trunk.transport}, "
                    f"but sip.transports has no such listener",
                    remedy=f"Add a transport with protocol {route.trunk.transport}.",
                )


def _detached(error: BaseException) -> BaseException:
    """`error` without the frames that would keep pjsua2's objects alive on another thread."""
    link: BaseException | None = error
    while link:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
