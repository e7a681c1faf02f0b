# SPDX-License-Identifier: GPL-3.0-or-later
"""People's own SIP accounts: logged in to, kept registered, and logged out of.

Each is a trunk that appears while the bridge runs: calls to its registration ring its person, and
the person's calls leave by it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from bridge.app.account_terms import AccountTerms
from bridge.app.account_words import name_of, sentence
from bridge.call.ids import TrunkName, UserId
from bridge.config import Accounts, Trunk
from bridge.errors import BridgeError, NotDone
from bridge.records import LineView, SipAccount
from bridge.sip.trunks import Registration, RegistrationState

log = structlog.get_logger(__name__)

_PATIENCE: Final = 20.0
"""Seconds that a registrar may take for the first answer."""
_STAGGER: Final = 0.05
"""Seconds between the registrations at the start."""
_PREFIX: Final = "account:"
_REFUSED: Final = frozenset({401, 403, 404, 407, 604})
"""What a registrar says to who is not, or no longer, to have an account with it."""
_NOBODY: Final = Registration(RegistrationState.FAILED, 408, "Request Timeout")


class Store(Protocol):
    """Where accounts are kept."""

    async def every(self) -> Sequence[SipAccount]:
        """All of them."""

    async def save(self, account: SipAccount) -> None:
        """Remember an account, in place of the one that the person had."""

    async def forget(self, person: UserId) -> None:
        """Forget a person's account."""


class Lines(Protocol):
    """The SIP endpoint, as far as trunks come and go there."""

    async def add_trunk(
        self, name: TrunkName, settings: Trunk, *, personal: bool = False, mailbox: bool = False
    ) -> None:
        """Use one more trunk. Raises BridgeError."""

    async def change_trunk(
        self, name: TrunkName, settings: Trunk, *, mailbox: bool = False
    ) -> None:
        """Have a trunk's settings be others. Raises BridgeError."""

    async def remove_trunk(self, name: TrunkName) -> None:
        """Unregister, and use the trunk no more."""

    def registrations(self) -> dict[TrunkName, Registration]:
        """How every trunk's registration stands."""

    def has_address(self, name: TrunkName) -> bool:
        """Whether the trunk's server was found."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """A login under way."""

    account: SipAccount
    outcome: asyncio.Future[Registration]


class PersonalAccounts:
    """Everybody's account.

    `allowed`: the settings in force, which may change: `follow` then. `may_use`: whether a person
    may have calls. `tell`: tells a person something.
    """

    def __init__(
        self,
        store: Store,
        *,
        allowed: Callable[[], Accounts],
        may_use: Callable[[UserId], bool],
        tell: Callable[[UserId, str], None] = lambda person, text: None,
    ) -> None:
        self._store = store
        self._terms = AccountTerms(allowed, may_use)
        self._tell = tell
        self._refused: set[UserId] = set()
        """Have been told that their password is not accepted any more."""
        self._lines: Lines | None = None
        self._changed: Callable[[UserId], None] = lambda person: None
        self._accounts: dict[UserId, SipAccount] = {}
        self._placed: dict[UserId, tuple[Trunk, bool]] = {}
        """As what the SIP endpoint knows it, and whether the mailbox is asked for."""
        self._trials: dict[TrunkName, _Trial] = {}
        self._locks: defaultdict[UserId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._starting: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------

    async def load(self) -> None:
        """Know everybody's account, without any traffic."""
        for account in await self._store.every():
            if why := self._terms.why_not_used(account):
                log.warning("a person's SIP account is not used", person=account.person, why=why)
                continue
            self._accounts[account.person] = account

    def start(self, lines: Lines, changed: Callable[[UserId], None]) -> None:
        """Begin to register, one after the other. `changed`: told whose account is another now."""
        self._lines, self._changed = lines, changed
        for person in self._accounts:
            changed(person)
        self._starting = asyncio.create_task(self._register_all(), name="accounts")

    async def follow(self) -> None:
        """What is allowed has changed: use the accounts that may be used now, as is said now."""
        for account in await self._store.every():
            async with self._locks[account.person]:
                await self._fit(account.person)

    async def stop(self) -> None:
        """Stop registering; what is registered is for the SIP endpoint to end."""
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)

    def registered(self, trunk: TrunkName, registration: Registration) -> None:
        """A registration changed, of whichever trunk."""
        trial = self._trials.get(trunk)
        if trial is None:
            self._watch(trunk, registration)
            return
        if trial.outcome.done():
            return
        trial.outcome.set_result(registration)
        if registration.state is RegistrationState.REGISTERED:
            self._use(trial.account)  # Now: a call may come right behind.

    # --- what the bot asks ------------------------------------------------------------------

    @property
    def total(self) -> int:
        """How many people have one."""
        return len(self._accounts)

    @property
    def working(self) -> int:
        """How many of them are registered."""
        registrations = self._lines.registrations() if self._lines else {}
        known = (registrations.get(trunk_of(person)) for person in self._accounts)
        return sum(each is not None and each.usable for each in known)

    def standing(self, only: UserId | None = None) -> list[tuple[SipAccount, Registration | None]]:
        """Everybody's account, by person, or `only` theirs; and how its registration stands."""
        known = self._lines.registrations() if self._lines else {}
        people = [only] if only in self._accounts else [] if only else sorted(self._accounts)
        return [(self._accounts[person], known.get(trunk_of(person))) for person in people]

    def trunk_of(self, person: UserId) -> TrunkName | None:
        """The trunk that the person's account is."""
        return trunk_of(person) if person in self._accounts else None

    def owner_of(self, trunk: TrunkName) -> UserId | None:
        """Whose account this trunk is, if it is one."""
        person = UserId(trunk.removeprefix(_PREFIX))
        return person if is_personal(trunk) and person in self._accounts else None

    def line_of(self, person: UserId) -> LineView | None:
        """How the person's account stands."""
        account = self._accounts.get(person)
        if account is None or self._lines is None:
            return None
        registration = self._lines.registrations().get(trunk_of(person))
        if registration is None or registration.state is RegistrationState.TRYING:
            return LineView(name=name_of(account), works=False, state="registering")
        if registration.state is RegistrationState.REGISTERED:
            return LineView(name=name_of(account), works=True, state="registered")
        state = sentence(registration, account.server)
        return LineView(name=name_of(account), works=False, state=state)

    async def login(
        self,
        person: UserId,
        server: str,
        username: str,
        password: str,
        auth_username: str = "",
    ) -> LineView:
        """Register with an account, in place of the one before; how it stands then.

        `server` may begin with `sips:` and end in `;transport=tcp`. Raises NotDone, and keeps the
        account that there was.
        """
        account = self._terms.read(person, server, username, password, auth_username)
        async with self._locks[person]:
            before = self._accounts.get(person)
            await self._lines_or_none().remove_trunk(trunk_of(person))
            try:
                await self._try(account)
                await self._store.save(account)
            except BaseException:
                await self._go_back(person, before)
                raise
        log.info("a person uses a SIP account", person=person, server=account.server)
        return LineView(name=name_of(account), works=True, state="registered")

    async def logout(self, person: UserId) -> bool:
        """Unregister, and forget the account; False if there was none."""
        async with self._locks[person]:
            # Also one that is not used any more: the person wants it gone.
            await self._store.forget(person)
            if self._accounts.pop(person, None) is None:
                return False
            self._changed(person)
            await self._lines_or_none().remove_trunk(trunk_of(person))
        log.info("a person's SIP account is forgotten", person=person)
        return True

    # --- inside -----------------------------------------------------------------------------

    def _watch(self, trunk: TrunkName, registration: Registration) -> None:
        """Tell a person, once, that nothing will come of their account without them."""
        person = self.owner_of(trunk)
        if person is None:
            return
        if registration.state is RegistrationState.REGISTERED:
            self._refused.discard(person)
        elif registration.status in _REFUSED and person not in self._refused:
            self._refused.add(person)
            account = self._accounts[person]
            why = sentence(registration, account.server)
            self._tell(
                person, f"{why} Until you `login` again, no calls go by `{name_of(account)}`."
            )

    async def _register_all(self) -> None:
        for person in list(self._accounts):
            async with self._locks[person]:
                await self._add(person)
            await asyncio.sleep(_STAGGER)

    async def _fit(self, person: UserId) -> None:
        """Have a person's account used, changed or left alone, whichever is allowed."""
        account, lines = self._accounts.get(person), self._lines_or_none()
        if account is not None and self._terms.why_not_used(account):
            del self._accounts[person]
            self._changed(person)
            await lines.remove_trunk(trunk_of(person))
            log.info("a person's SIP account is not used any more", person=person)
            return
        if account is None:
            kept = {each.person: each for each in await self._store.every()}
            account = kept.get(person)
            if account is None or self._terms.why_not_used(account):
                return
            self._accounts[person] = account
            self._changed(person)
        await self._add(person)
        settings, mailbox = wanted = self._terms.trunk_of(account)
        if person not in self._placed or self._placed[person] == wanted:
            return
        try:
            await lines.change_trunk(trunk_of(person), settings, mailbox=mailbox)
            self._placed[person] = wanted
        except BridgeError as error:
            log.error("a person's SIP account cannot be changed", person=person, error=str(error))

    async def _add(self, person: UserId) -> None:
        """Register with the account that a person has."""
        account = self._accounts.get(person)
        lines = self._lines_or_none()
        if account is None or trunk_of(person) in lines.registrations():
            return
        try:
            await self._line(account)
        except BridgeError as error:
            log.error("a person's SIP account cannot be used", person=person, error=str(error))

    async def _line(self, account: SipAccount) -> None:
        settings, mailbox = self._terms.trunk_of(account)
        await self._lines_or_none().add_trunk(
            trunk_of(account.person), settings, personal=True, mailbox=mailbox
        )
        self._placed[account.person] = (settings, mailbox)

    async def _try(self, account: SipAccount) -> None:
        """Register, or raise NotDone with the reason."""
        lines, trunk = self._lines_or_none(), trunk_of(account.person)
        trial = self._trials[trunk] = _Trial(account, asyncio.get_running_loop().create_future())
        try:
            await self._line(account)
            if not lines.has_address(trunk):
                raise NotDone(f"The bridge finds no address of {account.server}.")
            answer = await asyncio.wait_for(trial.outcome, _PATIENCE)
        except TimeoutError:
            answer = _NOBODY
        except BridgeError as error:
            if isinstance(error, NotDone):
                raise
            log.warning("a SIP account cannot be used", person=account.person, error=str(error))
            raise NotDone("The bridge cannot use that account; ask its administrator.") from error
        finally:
            self._trials.pop(trunk, None)
        if answer.state is not RegistrationState.REGISTERED:
            raise NotDone(sentence(answer, account.server))

    async def _go_back(self, person: UserId, before: SipAccount | None) -> None:
        """Have things as they were before a login that failed."""
        if before is not None:
            self._use(before)
        elif self._accounts.pop(person, None):
            self._changed(person)
        await self._lines_or_none().remove_trunk(trunk_of(person))
        await self._add(person)

    def _use(self, account: SipAccount) -> None:
        """From now on this is the person's account."""
        self._refused.discard(account.person)
        if self._accounts.get(account.person) != account:
            self._accounts[account.person] = account
            self._changed(account.person)

    def _lines_or_none(self) -> Lines:
        if self._lines is None:
            raise NotDone("The bridge is not ready yet; try again in a moment.")
        return self._lines


def trunk_of(person: UserId) -> TrunkName:
    """The name of a person's account among the trunks, whose own names have no colon."""
    return TrunkName(f"{_PREFIX}{person}")


def is_personal(trunk: TrunkName) -> bool:
    """Whether a trunk is somebody's own account, or was."""
    return trunk.startswith(_PREFIX)
