# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridge on paper, to try the API on: its calls and registrars are made up, its rules not."""

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bridge.app.backend import ServiceBackend
from bridge.app.desk import NotPlaced
from bridge.app.in_force import InForce
from bridge.app.provisioning import Provisioning
from bridge.app.routing import Plan
from bridge.call.causes import Cause
from bridge.call.explain import Explanation, InboundExplanation
from bridge.call.ids import Address, CallId, Direction, TrunkName, UserId
from bridge.call.policy import Access, access_of
from bridge.call.view import CallView
from bridge.config import Config, Permission, parse
from bridge.config.provisioned import Kind, Provisioned, ProvisionedRule
from bridge.errors import NotDone, Unfit
from bridge.records import CallQuery, CallRecord, LineView, SipAccount
from bridge.sip.trunks import Registration, RegistrationState
from bridge.web.api.events import Events
from bridge.web.api.server import Api
from tests.web.office import BUSY, FAILED, START, record

Client: TypeAlias = TestClient[web.Request, web.Application]
READ, WRITE = "a token that lets read", "a token that lets write"
PAT, SAM = UserId("@pat:example.org"), UserId("@sam:example.org")
SETTINGS = f"""
appservice: {{as_token: one of two, hs_token: the other one}}
database: {{secret_key: "a key for the secrets of one test"}}
permissions: {{"example.org": call, "{SAM}": receive}}
trunks:
  provider: {{server: sip.example.com, caller_id: "+12025550100"}}
  pbx: {{server: 192.0.2.20}}
accounts: {{servers: ["*"]}}
outbound:
  - {{trunk: provider, prefix: "+1"}}
  - {{trunk: pbx, pattern: "_1XX"}}
inbound:
  - {{person: "{PAT}", number: "+12025550101"}}
"""


def settings(text: str = SETTINGS) -> Config:
    return parse(text, directory=Path("/"))


class PaperStore:
    """Keeps nothing for good. `fails` is raised instead."""

    def __init__(self, kept: Provisioned | None = None) -> None:
        self.kept = kept or Provisioned()
        self.said: list[tuple[str, ...]] = []
        self.fails: Exception | None = None

    async def every(self) -> Provisioned:
        return self.kept

    async def save_rule(self, rule: ProvisionedRule) -> None:
        self._say("rule", rule.name)

    async def forget_rule(self, kind: Kind, name: str) -> None:
        self._say("no rule", kind, name)

    async def save_permission(self, who: str, level: Permission) -> None:
        self._say("permission", who, level)

    async def forget_permission(self, who: str) -> None:
        self._say("no permission", who)

    def _say(self, *what: str) -> None:
        if self.fails is not None:
            raise self.fails
        self.said.append(what)


@dataclass
class PaperAccounts:
    """A registrar that refuses the password `wrong`."""

    accounts: dict[UserId, SipAccount] = field(default_factory=dict)
    registration: Registration = field(
        default_factory=lambda: Registration(RegistrationState.REGISTERED, 200, "OK")
    )
    logged_in: list[tuple[str, ...]] = field(default_factory=list)

    def standing(self, only: UserId | None = None) -> list[tuple[SipAccount, Registration | None]]:
        people = sorted(self.accounts) if only is None else [only]
        return [(self.accounts[one], self.registration) for one in people if one in self.accounts]

    async def login(
        self, person: UserId, server: str, username: str, password: str, auth_username: str = ""
    ) -> LineView:
        self.logged_in.append((person, server, username, password, auth_username))
        if password == "wrong":
            raise NotDone("The registrar refuses the user name or the password (403 Forbidden).")
        if "/" in server:
            raise Unfit("That is not a server.", [("server", "That is not a server.")])
        user, _, domain = username.partition("@")
        self.accounts[person] = SipAccount(
            person=person,
            server=server.partition(";")[0],
            transport="tls" if server.endswith("tls") else "udp",
            username=user,
            domain=domain,
            auth_username=auth_username,
            password=password,
        )
        return LineView(name=username, works=True, state="registered")

    async def logout(self, person: UserId) -> bool:
        return self.accounts.pop(person, None) is not None


class PaperDesk:
    """Calls that are only told of, and the dial plan as it is."""

    def __init__(self, in_force: InForce) -> None:
        self._in_force = in_force
        self._numbers = itertools.count(1)
        self.records = [FAILED, BUSY, record()]
        self.views: list[CallView] = []
        self.ended: list[tuple[str, ...]] = []
        self.loses_calls = False

    @property
    def _plan(self) -> Plan:
        return Plan(self._in_force.policy, self._in_force.config)

    def call(self, person: UserId, number: str) -> Address:
        address, _ = self._plan.read(number)
        if access_of(self._in_force.policy, person) < Access.CALL:
            raise NotPlaced(Cause.NOT_PERMITTED)
        if any((view.person, view.address) == (person, address) for view in self.views):
            raise NotPlaced(Cause.IN_CALL)
        if not self.loses_calls:
            self.views.append(
                CallView(
                    call=CallId(f"5f3c9a12-{next(self._numbers)}00"),
                    direction=Direction.TO_SIP,
                    state="preparing",
                    person=person,
                    address=address,
                    trunk=TrunkName("provider"),
                    since=100.0,
                    answered_at=None,
                )
            )
        return address

    def active(self) -> Sequence[tuple[CallView, float]]:
        return [(view, 5.0) for view in self.views]

    def hang_up(self, call: str, by: UserId, why: str = "") -> CallView:
        found = next(view for view in self.views if view.call == call)
        self.views.remove(found)
        self.ended.append((call, by, why))
        self.records.append(
            record(
                call,
                person=found.person,
                address=found.address,
                cause="ended_by_admin",
                detail=f"ended by {by}",
            )
        )
        return found

    def explain(self, person: UserId, number: str) -> Explanation:
        return self._plan.out(person, number)

    def explain_in(self, trunk: str, number: str) -> InboundExplanation:
        return self._plan.into(trunk, number)


class PaperArchive:
    """The records of a desk."""

    def __init__(self, desk: PaperDesk) -> None:
        self._desk = desk
        self.asked: list[CallQuery] = []
        self.fails: Exception | None = None

    async def search(self, query: CallQuery) -> Sequence[CallRecord]:
        self.asked.append(query)
        found = sorted(self._desk.records, key=lambda each: -each.started_at)
        names = [each.call for each in found]
        if query.after is not None:
            found = found[names.index(query.after) + 1 :] if query.after in names else []
        return found[: query.limit]

    async def unfinished(self) -> Sequence[CallRecord]:
        return [each for each in self._desk.records if each.ended_at is None]

    async def call(self, call: CallId) -> CallRecord | None:
        if self.fails is not None:
            raise self.fails
        return next((each for each in self._desk.records if each.call == call), None)


class PaperBridge:
    """All of it together, and a clock that stands still unless it `runs`."""

    def __init__(self, config: Config | None = None, *, lasts: float = 30.0) -> None:
        self.now = START + 2000
        self.runs = 0.0
        self.in_force = InForce(config or settings())
        self.store = PaperStore()
        self.provisioning = Provisioning(self.store, self.in_force)
        self.accounts = PaperAccounts()
        self.desk = PaperDesk(self.in_force)
        self.archive = PaperArchive(self.desk)
        self.events = Events("run1", kept=5)
        self.api = Api(
            READ, WRITE, self.events, wall=self._wall, lasts=lasts, heartbeat=min(0.05, lasts)
        )
        self.backend = ServiceBackend(
            in_force=self.in_force,
            provisioning=self.provisioning,
            desk=self.desk,
            people=self.accounts,
            archive=self.archive,
        )

    def _wall(self) -> float:
        self.now += self.runs
        return self.now

    def in_call(self, **more: object) -> CallView:
        """Somebody is in a call."""
        self.desk.call(PAT, "+12025550123")
        view = replace(self.desk.views[-1], **more)  # type: ignore[arg-type]
        self.desk.views[-1] = view
        return view


@asynccontextmanager
async def serving(
    bridge: PaperBridge, more: Callable[[web.Application], None] = lambda application: None
) -> AsyncIterator[TestServer]:
    """The API on a port of this machine."""
    bridge.api.open(bridge.backend)
    application = web.Application()
    more(application)
    bridge.api.serve(application)
    server = TestServer(application)
    await server.start_server()
    try:
        yield server
    finally:
        await server.close()


class Bench:
    """A program with the token that lets write, and the bridge that it asks."""

    def __init__(self, client: Client, bridge: PaperBridge) -> None:
        self.client = client
        self.bridge = bridge

    async def ask(
        self, method: str, path: str, status: int, body: Any = None, token: str = WRITE
    ) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        sent: dict[str, Any] = {} if body is None else {"json": body}
        async with self.client.request(method, f"/api/v1{path}", headers=headers, **sent) as reply:
            text = await reply.text()
            assert reply.status == status, text
            kind = "problem+json" if status >= 400 else "json"
            assert not text or reply.content_type == f"application/{kind}"
            assert reply.headers["Cache-Control"] == "no-store"
            return await reply.json(content_type=None) if text else None

    async def get(self, path: str) -> Any:
        return await self.ask("GET", path, 200)
