# SPDX-License-Identifier: GPL-3.0-or-later
"""People log in to SIP accounts of their own: what they are told, and what is left of it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge.app import accounts as module
from bridge.app.accounts import PersonalAccounts, trunk_of
from bridge.call.ids import TrunkName, UserId
from bridge.config import Accounts, Trunk
from bridge.errors import ConfigurationError, NotDone
from bridge.records import LineView, SipAccount
from bridge.sip.trunks import Registration, RegistrationState
from tests.simulators.waiting import until
from tests.sip.phone import Bridge, Sipp

ANN = UserId("@ann:mx.test")
BEN = UserId("@ben:mx.test")
SERVER = "sip.example.com"
GOOD = Registration(RegistrationState.REGISTERED, 200, "OK")
WORKS = LineView(name=f"ann@{SERVER}", works=True, state="registered")


def refused(status: int, reason: str) -> Registration:
    return Registration(RegistrationState.FAILED, status, reason)


class Kept:
    """A store in memory."""

    def __init__(self, *accounts: SipAccount) -> None:
        self.accounts = {account.person: account for account in accounts}

    async def every(self) -> Sequence[SipAccount]:
        return list(self.accounts.values())

    async def save(self, account: SipAccount) -> None:
        self.accounts[account.person] = account

    async def forget(self, person: UserId) -> None:
        self.accounts.pop(person, None)


class Exchange:
    """Trunks that answer as they are told to."""

    def __init__(self, answer: Registration | None = GOOD) -> None:
        self.answer = answer
        self.trunks: dict[TrunkName, Trunk] = {}
        self.states: dict[TrunkName, Registration] = {}
        self.unknown = False
        self.secure = False
        """Whether there is a listener by TLS."""
        self.told: Callable[[TrunkName, Registration], None] = lambda trunk, state: None

    async def add_trunk(
        self, name: TrunkName, settings: Trunk, *, personal: bool = False, mailbox: bool = False
    ) -> None:
        assert personal
        assert mailbox
        assert name not in self.trunks
        if settings.transport == "tls" and not self.secure:
            raise ConfigurationError("no such listener")
        self.trunks[name] = settings
        self.states[name] = self.answer or Registration(RegistrationState.TRYING)
        if self.answer:
            self.told(name, self.answer)

    async def change_trunk(
        self, name: TrunkName, settings: Trunk, *, mailbox: bool = False
    ) -> None:
        if settings.transport == "tls" and not self.secure:
            raise ConfigurationError("no such listener")
        self.trunks[name] = settings

    async def remove_trunk(self, name: TrunkName) -> None:
        self.trunks.pop(name, None)
        self.states.pop(name, None)

    def registrations(self) -> dict[TrunkName, Registration]:
        return self.states

    def has_address(self, name: TrunkName) -> bool:
        return not self.unknown


class Desk:
    """Accounts, a store and an exchange, and whose account changed."""

    def __init__(
        self,
        *kept: SipAccount,
        servers: tuple[str, ...] = (SERVER,),
        common: Mapping[str, object] | None = None,
    ) -> None:
        self.allowed = Accounts.model_validate({"servers": servers, **(common or {})})
        self.blocked: set[UserId] = set()
        self.store = Kept(*kept)
        self.exchange = Exchange()
        self.changed: list[tuple[UserId, TrunkName | None]] = []
        self.said: list[tuple[UserId, str]] = []
        self.accounts = PersonalAccounts(
            self.store,
            allowed=lambda: self.allowed,
            may_use=lambda person: person.endswith(":mx.test") and person not in self.blocked,
            tell=lambda person, text: self.said.append((person, text)),
        )
        self.exchange.told = self.accounts.registered

    async def start(self) -> PersonalAccounts:
        await self.accounts.load()
        self.accounts.start(
            self.exchange,
            lambda person: self.changed.append((person, self.accounts.trunk_of(person))),
        )
        return self.accounts


def account(person: UserId = ANN, server: str = SERVER) -> SipAccount:
    return SipAccount(
        person=person, server=server, transport="udp", username="ann", password="secret"
    )


async def test_login_registers_remembers_and_tells() -> None:
    desk = Desk()
    accounts = await desk.start()
    assert accounts.line_of(ANN) is None
    assert await accounts.login(ANN, SERVER, "ann", "secret") == WORKS
    assert accounts.line_of(ANN) == WORKS
    assert desk.store.accounts == {ANN: account()}
    assert desk.changed == [(ANN, "account:@ann:mx.test")]
    trunk = desk.exchange.trunks[trunk_of(ANN)]
    assert (trunk.server, trunk.register, trunk.username) == (SERVER, True, "ann")
    assert trunk.password.get_secret_value() == "secret"
    assert (accounts.total, accounts.working) == (1, 1)
    await accounts.stop()


async def test_call_right_behind_the_registration_finds_whose_account_it_is() -> None:
    desk = Desk()
    accounts = await desk.start()
    known_by_then: list[tuple[UserId, TrunkName | None]] = []

    def told(name: TrunkName, registration: Registration) -> None:
        accounts.registered(name, registration)
        known_by_then.extend(desk.changed)

    desk.exchange.told = told
    await accounts.login(ANN, SERVER, "ann", "secret")
    assert known_by_then == desk.changed == [(ANN, trunk_of(ANN))]
    await accounts.stop()


@pytest.mark.parametrize(
    ("status", "reason", "sentence"),
    [
        (401, "Unauthorized", f"{SERVER} refuses the user name or the password (401 Unauthorized)"),
        (403, "Forbidden", f"{SERVER} refuses the user name or the password (403 Forbidden)"),
        (404, "Not Found", f"{SERVER} knows no such account (404 Not Found)"),
        (408, "Request Timeout", f"{SERVER} does not answer"),
        (503, "Service Unavailable", f"{SERVER} cannot be reached, or takes no registrations"),
        (423, "Interval Too Brief", f"{SERVER} refuses the registration (423 Interval Too Brief)"),
    ],
)
async def test_failed_login_says_why_and_leaves_nothing(
    status: int, reason: str, sentence: str
) -> None:
    desk = Desk()
    accounts = await desk.start()
    desk.exchange.answer = refused(status, reason)
    with pytest.raises(NotDone) as failed:
        await accounts.login(ANN, SERVER, "ann", "wrong")
    assert str(failed.value).startswith(sentence)
    assert not desk.exchange.trunks
    assert not desk.store.accounts
    assert desk.changed == []
    assert accounts.trunk_of(ANN) is None


async def test_failed_login_keeps_the_account_there_was() -> None:
    desk = Desk()
    accounts = await desk.start()
    await accounts.login(ANN, SERVER, "ann", "secret")
    desk.exchange.answer = refused(403, "Forbidden")
    with pytest.raises(NotDone):
        await accounts.login(ANN, SERVER, "other", "wrong")
    assert desk.exchange.trunks[trunk_of(ANN)].username == "ann"
    assert desk.store.accounts == {ANN: account()}
    line = accounts.line_of(ANN)
    assert line
    assert not line.works
    assert "refuses the user name" in line.state


async def test_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    desk = Desk()
    accounts = await desk.start()
    desk.exchange.answer = None
    with pytest.raises(NotDone, match="does not answer"):
        await accounts.login(ANN, SERVER, "ann", "secret")
    assert not desk.exchange.trunks


async def test_server_that_nobody_knows() -> None:
    desk = Desk()
    accounts = await desk.start()
    desk.exchange.unknown = True
    with pytest.raises(NotDone, match=r"finds no address of sip\.example\.com"):
        await accounts.login(ANN, SERVER, "ann", "secret")
    assert not desk.exchange.trunks


@pytest.mark.parametrize(
    ("server", "username", "password", "sentence"),
    [
        ("no server", "ann", "secret", "not a server"),
        ("sip.example.com;x", "ann", "secret", "not a server"),
        (SERVER, " ", "secret", "needs a user name"),
        (SERVER, "ann", "", "needs a user name"),
        (SERVER, "ann\r\nX: y", "secret", "not printable"),
        (SERVER, "ann@no host", "secret", "not a user name"),
        ("other.example.com", "ann", "secret", "does not allow accounts there, but with sip.exam"),
        (f"sips:{SERVER}", "ann", "secret", "ask its administrator"),
    ],
)
async def test_what_cannot_be_an_account(
    server: str, username: str, password: str, sentence: str
) -> None:
    desk = Desk()
    accounts = await desk.start()
    with pytest.raises(NotDone, match=sentence):
        await accounts.login(ANN, server, username, password)
    assert not desk.exchange.trunks


async def test_accounts_have_what_the_configuration_says_of_all() -> None:
    desk = Desk(common={"srtp": "required", "dtmf": "dtmf", "early_media": "connect"})
    desk.exchange.secure = True
    accounts = await desk.start()
    with pytest.raises(NotDone, match="accounts by TLS only"):
        await accounts.login(ANN, SERVER, "ann", "secret")
    await accounts.login(ANN, f"{SERVER};transport=tls", "ann", "secret")
    (settings,) = desk.exchange.trunks.values()
    assert (settings.srtp, settings.dtmf, settings.early_media) == ("required", "dtmf", "connect")


async def test_account_by_udp_is_not_used_where_audio_has_to_be_encrypted() -> None:
    desk = Desk(account(), common={"srtp": "required"})
    with capture_logs() as lines:
        accounts = await desk.start()
    assert accounts.line_of(ANN) is None
    assert [line["event"] for line in lines] == ["a person's SIP account is not used"]


async def test_nobody_has_an_account_unless_the_configuration_says_so() -> None:
    desk = Desk(servers=())
    accounts = await desk.start()
    with pytest.raises(NotDone, match="not set up for SIP accounts"):
        await accounts.login(ANN, SERVER, "ann", "secret")
    with pytest.raises(NotDone, match="not allowed"):
        await accounts.login(UserId("@eve:elsewhere.test"), SERVER, "eve", "secret")


async def test_how_server_and_user_may_be_written() -> None:
    desk = Desk(servers=("*",))
    accounts = await desk.start()
    await accounts.login(ANN, "SIP:Sip.Example.com:5070;transport=TCP", "sip:ann@example.com", "s")
    kept = desk.store.accounts[ANN]
    assert (kept.server, kept.transport) == ("sip.example.com:5070", "tcp")
    assert (kept.username, kept.domain) == ("ann", "example.com")
    assert desk.exchange.trunks[trunk_of(ANN)].domain == "example.com"
    await accounts.login(ANN, SERVER, f"ann@{SERVER}", "s", "auth")
    kept = desk.store.accounts[ANN]
    assert (kept.domain, kept.auth_username) == ("", "auth")


async def test_logout_forgets() -> None:
    desk = Desk()
    accounts = await desk.start()
    assert not await accounts.logout(ANN)
    await accounts.login(ANN, SERVER, "ann", "secret")
    assert await accounts.logout(ANN)
    assert not desk.exchange.trunks
    assert not desk.store.accounts
    assert desk.changed[-1] == (ANN, None)
    assert accounts.line_of(ANN) is None


async def test_everybody_is_registered_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STAGGER", 0)
    stranger = UserId("@eve:elsewhere.test")
    kept = (account(), account(BEN, f"{SERVER}:5070"), account(stranger))
    desk = Desk(*kept)
    with capture_logs() as logs:
        accounts = await desk.start()
    assert [entry["person"] for entry in logs] == [stranger]
    assert desk.changed == [(ANN, trunk_of(ANN)), (BEN, trunk_of(BEN))]
    line = accounts.line_of(ANN)
    assert line
    assert line.state == "registering"
    await until(lambda: accounts.working == 2, what="both are registered")
    assert set(desk.exchange.trunks) == {trunk_of(ANN), trunk_of(BEN)}
    await accounts.stop()
    assert stranger in desk.store.accounts, "what is not allowed today may be tomorrow"


async def test_account_that_cannot_be_used_at_the_start_stops_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_STAGGER", 0)
    broken = SipAccount(person=ANN, server=SERVER, transport="tls", username="a", password="p")
    desk = Desk(broken, account(BEN))
    with capture_logs() as logs:
        accounts = await desk.start()
        await until(lambda: accounts.working == 1, what="the other is registered")
    assert [entry["person"] for entry in logs if entry["log_level"] == "error"] == [ANN]
    await accounts.stop()


async def test_login_that_is_given_up_leaves_nothing() -> None:
    desk = Desk()
    accounts = await desk.start()
    desk.exchange.answer = None
    login = asyncio.create_task(accounts.login(ANN, SERVER, "ann", "secret"))
    await until(lambda: bool(desk.exchange.trunks), what="it registers")
    login.cancel()
    with pytest.raises(asyncio.CancelledError):
        await login
    assert not desk.exchange.trunks


async def test_login_before_the_bridge_is_ready() -> None:
    desk = Desk()
    with pytest.raises(NotDone, match="not ready yet"):
        await desk.accounts.login(ANN, SERVER, "ann", "secret")


@pytest.mark.e2e
async def test_against_a_registrar(tmp_path: Path) -> None:
    for scenario, password in (("registrar", "secret"), ("registrar_for_others", "wrong")):
        (tmp_path / scenario).mkdir()
        async with Sipp(scenario, tmp_path / scenario) as registrar, Bridge({}) as bridge:
            accounts = PersonalAccounts(
                Kept(),
                allowed=lambda: Accounts(servers=("127.0.0.1",), mailboxes=False),
                may_use=lambda person: True,
            )
            bridge.observer = accounts.registered
            accounts.start(bridge.sip, lambda person: None)
            login = accounts.login(
                ANN, f"127.0.0.1:{registrar.port}", "me", password, auth_username="me-auth"
            )
            if password == "wrong":
                with pytest.raises(NotDone, match=r"refuses the user name or the password \(403"):
                    await login
            else:
                assert (await login).works
                assert await accounts.logout(ANN)
            await accounts.stop()
            await registrar.succeeds()


async def test_password_that_is_not_accepted_any_more_is_told_once() -> None:
    desk = Desk()
    accounts = await desk.start()
    await accounts.login(ANN, SERVER, "ann", "secret")
    trunk = trunk_of(ANN)
    for status in (408, 401, 403, 401):
        accounts.registered(trunk, refused(status, "No"))
    told = (
        f"{SERVER} refuses the user name or the password (401 No)."
        f" Until you `login` again, no calls go by `ann@{SERVER}`."
    )
    assert desk.said == [(ANN, told)]
    accounts.registered(trunk, GOOD)
    accounts.registered(trunk, refused(401, "No"))
    assert desk.said == [(ANN, told)] * 2
    await accounts.login(ANN, SERVER, "ann", "other")
    accounts.registered(trunk, refused(401, "No"))
    assert desk.said == [(ANN, told)] * 3
    for other in ("provider", "account:@x:mx.test"):
        accounts.registered(TrunkName(other), refused(403, "No"))
    assert desk.said == [(ANN, told)] * 3
    await accounts.stop()


async def test_account_is_used_as_the_settings_say_now() -> None:
    desk = Desk(account())
    accounts = await desk.start()
    await accounts.follow()
    assert desk.exchange.trunks[trunk_of(ANN)].dtmf == "auto"
    desk.allowed = desk.allowed.model_copy(update={"dtmf": "dtmf-relay"})
    await accounts.follow()
    assert desk.exchange.trunks[trunk_of(ANN)].dtmf == "dtmf-relay"
    desk.allowed = desk.allowed.model_copy(update={"srtp": "required"})
    await accounts.follow()
    assert desk.exchange.trunks == {}  # by UDP, anybody could read the keys
    assert (accounts.total, accounts.trunk_of(ANN)) == (0, None)
    desk.allowed = desk.allowed.model_copy(update={"srtp": "off"})
    await accounts.follow()
    assert list(desk.exchange.trunks) == [trunk_of(ANN)]
    assert [trunk for _, trunk in desk.changed] == [trunk_of(ANN), None, trunk_of(ANN)]
    await accounts.stop()


async def test_account_of_who_may_not_use_the_bridge_any_more() -> None:
    desk = Desk(account())
    accounts = await desk.start()
    await accounts.follow()
    desk.blocked.add(ANN)
    for _ in range(2):
        await accounts.follow()
        assert desk.exchange.trunks == {}
    assert desk.store.accounts == {ANN: account()}
    desk.blocked.clear()
    await accounts.follow()
    assert accounts.line_of(ANN) == WORKS
    await accounts.stop()


async def test_account_that_cannot_be_changed_stays_as_it_was() -> None:
    desk = Desk(account(), servers=("*",))
    desk.exchange.secure = True
    desk.store.accounts[ANN] = replace(account(), transport="tls")
    accounts = await desk.start()
    await accounts.follow()
    desk.exchange.secure = False
    desk.allowed = desk.allowed.model_copy(update={"dtmf": "dtmf"})
    with capture_logs() as lines:
        await accounts.follow()
    assert any("cannot be changed" in line["event"] for line in lines)
    assert desk.exchange.trunks[trunk_of(ANN)].dtmf == "auto"
    await accounts.stop()
