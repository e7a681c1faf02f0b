# SPDX-License-Identifier: GPL-3.0-or-later
"""`SipPort` over pjsua2: commands go to the SIP thread by a queue, events come back to the loop."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from bridge.call.commands import SipCommand
from bridge.call.events import SipEvent
from bridge.call.ids import Address, LegId, TrunkName
from bridge.config import Sip, Trunk
from bridge.errors import LocalError
from bridge.ports import Emit, SipMessageTap
from bridge.records import CallRecord, Mailbox, RefusedCalls, SipText
from bridge.sip.callers import origin_of
from bridge.sip.certificates import Certificates, Renewed
from bridge.sip.checks import check_listeners, check_transport
from bridge.sip.errands import Errands, detached
from bridge.sip.loader import check_pjsua2
from bridge.sip.lookup import Lookup
from bridge.sip.names import Names
from bridge.sip.orphans import end_dialogs
from bridge.sip.pauses import registration_pause
from bridge.sip.roster import RegistrationObserver, Roster
from bridge.sip.strangers import Strangers
from bridge.sip.tap import Tapped, without_secrets
from bridge.sip.texts import parts
from bridge.sip.trunks import Registration

if TYPE_CHECKING:
    from bridge.sip.worker import Worker

log = structlog.get_logger(__name__)

_UNAVAILABLE: Final = 503
_TOO_LARGE: Final = 513
_ACCEPTED: Final = 202
_STUCK: Final = 5.0
_ERRANDS_PER_TURN: Final = 32
_LOOK: Final = 60.0
"""Seconds between two looks at the files of certificates."""
_REMEMBER_CALL_ID: Final = 64.0
"""Seconds that the last messages of an ended leg may still come in for."""

_ONE_AT_A_TIME: Final = threading.Lock()
"""A second pjsua2 endpoint would abort the process."""

TextObserver = Callable[[SipText], None]
MailboxObserver = Callable[[Mailbox], None]
RefusalObserver = Callable[[Sequence[RefusedCalls]], None]


class SipAdapter:
    """The SIP endpoint.

    `emit`, `tap` and the `on_…` are called on the loop that `start` was awaited on. `on_message` is
    told of texts (SIP MESSAGE) from trunks that `admits` gave a 2xx for: what to answer with.
    `on_mailbox` is told what servers say of mailboxes, as often as they say it; `on_refused`, of
    calls that were refused before the core heard of them. `normalise` makes
    the canonical address of a URI's user part (still %-escaped) and host. It and `admits` must be
    callable on another thread.
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
        admits: Callable[[SipText], int] = lambda text: _ACCEPTED,
        on_message: TextObserver | None = None,
        on_mailbox: MailboxObserver | None = None,
        on_refused: RefusalObserver = lambda calls: None,
        registration_pause: Callable[[int, int], float] = registration_pause,
    ) -> None:
        self._sip = sip
        lookup = Lookup(sip.nameservers)
        self._names = Names(lookup)
        self._errands = Errands()
        self._roster = Roster(sip, trunks, self._errands, lookup, on_registration)
        self._emit = emit
        self._tap = tap
        self._normalise = normalise
        self._admits = admits
        self._on_message = on_message
        self._on_mailbox = on_mailbox
        self._on_refused = on_refused
        self._pause = registration_pause
        self._strangers = Strangers()
        self._certificates = Certificates(sip.transports)
        self._unfit: Sequence[str] = ()
        self._legs: dict[str, LegId] = {}
        self._stopping = threading.Event()
        self._last_turn = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._resolver: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None

    # --- SipPort ----------------------------------------------------------------------------

    def do(self, command: SipCommand) -> None:
        """Queue a command; order is kept."""
        self._errands.send(lambda worker: _carry_out(worker, command))

    async def end_orphan(self, record: CallRecord) -> None:
        """BYE the dialog of a call that a crash left behind. For use before `start`."""
        await self.end_orphans([record])

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen and register. Raises LocalError (no pjsua2) or ConfigurationError."""
        version = check_pjsua2()
        check_listeners(self._sip)
        for route in self._roster.routes.values():
            check_transport(self._sip, f"trunks.{route.name}", route.trunk)
        if _ONE_AT_A_TIME.locked():
            raise LocalError("there is a SIP endpoint in this process already")
        self._loop = asyncio.get_running_loop()
        self._errands.open()
        await self._roster.resolve()
        port = await self._names.open()
        started: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(started, port), name="sip", daemon=True
        )
        self._thread.start()
        try:
            await started
        except BaseException:
            self._names.close()
            raise
        self._resolver = asyncio.create_task(self._roster.keep_resolving(), name="sip-resolver")
        self._renewal = asyncio.create_task(self._keep_renewing(), name="sip-certificates")
        log.info("SIP is up", pjsip=version, trunks=len(self._roster.routes))

    def use(self, sip: Sip) -> None:
        """Have other settings count, of which listeners, user agent and name servers stay."""
        self._sip = sip
        self._errands.send(lambda worker: worker.use(sip))

    def renew_certificates(self) -> Renewed:
        """Have listeners show certificates that were renewed; connections and calls go on."""
        found = self._certificates.look()
        if found.problems != self._unfit:
            self._unfit = found.problems
            for problem in found.problems:
                log.warning("a certificate cannot be renewed", problem=problem)
        if found.listeners:
            log.info("certificates were renewed", listeners=found.listeners)
            self._errands.send(lambda worker: worker.renew(found.listeners))
        return found

    def drain(self, seconds: float) -> None:
        """Tell trunks that ask (OPTIONS) that no call is taken: in so many seconds it stops.

        Registrations stay, by which what belongs to calls comes in.
        """
        self._errands.send(lambda worker: worker.drain(seconds))

    async def stop(self) -> None:
        """Hang up what is left, unregister, and destroy the stack."""
        tasks = [task for task in (self._resolver, self._renewal) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._roster.close()
        if self._thread:
            self._errands.refuse()
            self._stopping.set()
            await asyncio.to_thread(self._thread.join)
            self._errands.cancel()
        self._names.close()
        self._thread = self._resolver = self._renewal = None

    async def end_orphans(self, records: Iterable[CallRecord]) -> None:
        """BYE every dialog that a crash left behind; never raises. For use before `start`."""
        await end_dialogs(records, self._sip, self._roster.routes)

    # --- trunks that come and go --------------------------------------------------------------

    async def add_trunk(
        self, name: TrunkName, settings: Trunk, *, personal: bool = False, mailbox: bool = False
    ) -> None:
        """Use one more trunk, and begin to register with it if its settings say so.

        `personal`: it is somebody's own account, which only calls to its registration belong to.
        `mailbox`: whether to ask what waits in its mailbox.
        Raises ConfigurationError for settings that do not fit, and LocalError.
        """
        await self._roster.add(name, settings, personal=personal, mailbox=mailbox)

    async def change_trunk(
        self, name: TrunkName, settings: Trunk, *, mailbox: bool = False
    ) -> None:
        """Have a trunk's settings be others: it registers anew, and its calls go on.

        Raises ConfigurationError and LocalError; then nothing has changed.
        """
        await self._roster.change(name, settings, mailbox=mailbox)

    def retire_trunk(self, name: TrunkName) -> None:
        """Use the trunk no more, and unregister when its calls have ended."""
        self._roster.retire(name)

    async def remove_trunk(self, name: TrunkName) -> None:
        """Unregister, and use the trunk no more; calls by it go on. Harmless if it is none."""
        await self._roster.remove(name)

    # --- texts --------------------------------------------------------------------------------

    async def send_message(
        self,
        trunk: TrunkName,
        target: str,
        text: str,
        caller: str = "",
        *,
        withheld: bool = False,
    ) -> int:
        """Send a text (SIP MESSAGE) to a number, as the trunk wants it, or to a whole SIP URI.

        `caller` and `withheld` as in `SendSipInvite`. Gives the final status: 200 or 202 when
        it was taken, 408 without an answer, 503 without the trunk, 513 if the text is too long.
        One that does not fit into a message is sent in several, up to the first that is not taken.
        """
        route = self._roster.routes.get(trunk)
        if route is None or not self._roster.is_present(trunk):
            return _UNAVAILABLE
        parties = (route.target(target), origin_of(route, caller, withheld=withheld).origin)
        targets = self._roster.peers.targets_of(trunk)
        status = _TOO_LARGE
        for part in parts(text, targets[0].protocol if targets else "udp", *parties):
            status = await self._send_text(trunk, target, part, caller, withheld=withheld)
            if status // 100 != 2:
                break
        return status

    async def _send_text(
        self, trunk: TrunkName, target: str, text: str, caller: str, *, withheld: bool
    ) -> int:
        return await self._errands.wait(
            lambda worker, told: worker.send_text(
                trunk, target, text, caller, told, withheld=withheld
            )
        )

    # --- what others may ask ----------------------------------------------------------------

    def registrations(self) -> dict[TrunkName, Registration]:
        """How every trunk's registration stands."""
        return dict(self._roster.registrations)

    def has_address(self, trunk: TrunkName) -> bool:
        """Whether the trunk's server has an address that a listener of ours can reach."""
        return self._roster.has_address(trunk)

    def leg_of(self, sip_call_id: str) -> LegId | None:
        """The leg that a message given to the tap belongs to, up to a minute after its end."""
        return self._legs.get(sip_call_id)

    @property
    def responsive(self) -> bool:
        """Whether the SIP thread runs, and has not been stuck for five seconds."""
        return self._thread is not None and time.monotonic() - self._last_turn < _STUCK

    @property
    def waiting(self) -> int:
        """How much waits for the SIP thread."""
        return self._errands.waiting

    @property
    def refused(self) -> Mapping[str, int]:
        """How many messages were turned away, by reason."""
        return self._strangers.counts

    @property
    def refused_calls(self) -> Mapping[str, int]:
        """How many calls were refused of which the core heard nothing, by cause."""
        return self._strangers.calls

    # --- the SIP thread ---------------------------------------------------------------------

    def _run(self, started: "asyncio.Future[None]", names: int) -> None:
        with _ONE_AT_A_TIME:
            self._live(started, names)

    def _live(self, started: "asyncio.Future[None]", names: int) -> None:
        assert self._loop
        # pjsua2 is imported here: everything else works, and can be checked, without it.
        from bridge.sip.worker import Worker

        routes = tuple(self._roster.routes.values())
        worker = Worker(
            self._sip,
            self._roster.peers,
            listener=self,
            strangers=self._strangers,
            normalise=self._normalise,
            admits=self._admits,
            pause=self._pause,
            names=self._names,
        )
        try:
            worker.start(routes, names)
        except Exception as error:
            worker.stop()
            self._loop.call_soon_threadsafe(started.set_exception, detached(error))
            return
        self._loop.call_soon_threadsafe(started.set_result, None)
        while not self._stopping.is_set():
            self._turn(worker)
        self._errands.finish(worker)
        worker.stop()

    def _turn(self, worker: "Worker") -> None:
        self._last_turn = time.monotonic()
        try:
            if self._roster.moved.is_set():
                self._roster.moved.clear()
                worker.follow()
            self._errands.run(worker, _ERRANDS_PER_TURN)
            worker.poll()
        except Exception:
            log.exception("SIP stack failed")

    # --- Listener: called on the SIP thread ---------------------------------------------------

    def happened(self, event: SipEvent) -> None:
        """Pass an event on to the core."""
        self._errands.post(self._emit, event)

    def began(self, leg: LegId, sip_call_id: str) -> None:
        """Remember which leg a Call-ID names."""
        self._errands.post(self._legs.__setitem__, sip_call_id, leg)

    def ended(self, sip_call_id: str) -> None:
        """Forget a Call-ID, once its last messages are through."""
        self._errands.post(self._forget_later, sip_call_id)

    def tapped(self, sip_call_id: str, direction: str, text: str) -> None:
        """Pass a message on to the ladder."""
        self._errands.post(self._tap, sip_call_id, direction, without_secrets(text))

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

    def refused_at_once(self, calls: Sequence[RefusedCalls]) -> None:
        """Pass refused calls on."""
        self._errands.post(self._on_refused, calls)

    def registration(self, trunk: TrunkName, registration: Registration) -> None:
        """Pass a registration's new state on."""
        self._errands.post(self._roster.registered, trunk, registration)

    def text(self, text: SipText) -> None:
        """Pass a text on."""
        if self._on_message:
            self._errands.post(self._on_message, text)

    def mailbox(self, mailbox: Mailbox) -> None:
        """Pass on what waits in a mailbox."""
        if self._on_mailbox:
            self._errands.post(self._on_mailbox, mailbox)

    # --- on the loop --------------------------------------------------------------------------

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            self.renew_certificates()

    def _forget_later(self, sip_call_id: str) -> None:
        assert self._loop
        self._loop.call_later(_REMEMBER_CALL_ID, self._legs.pop, sip_call_id, None)


def _carry_out(worker: "Worker", command: SipCommand) -> None:
    try:
        worker.carry_out(command)
    except Exception:
        log.exception("SIP command failed", call=command.call, command=type(command).__name__)
