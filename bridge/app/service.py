# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole bridge: its parts made, joined, started and stopped in order."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog
from aiohttp.web import Application
from mautrix.util.async_db import Database

from bridge.app.accounts import trunk_of
from bridge.app.after_crash import clear_away
from bridge.app.alerts import Alerts
from bridge.app.desk import ServiceDesk
from bridge.app.dialling import dial
from bridge.app.drain import Drain
from bridge.app.following import Following, join_time_of, zone_of
from bridge.app.fraud import FraudAlerts
from bridge.app.health import Homeserver, database_answers, trunks_work
from bridge.app.in_force import InForce
from bridge.app.load import Load
from bridge.app.mailboxes import Mailboxes
from bridge.app.media import open_media
from bridge.app.page import AdminPage
from bridge.app.programs import Programs
from bridge.app.provisioning import Provisioning
from bridge.app.refused import RefusedAttempts, RefusedRequests
from bridge.app.reload import Reload
from bridge.app.sealed import open_accounts, open_keys
from bridge.app.texts import Texts
from bridge.app.turn import follow_homeserver
from bridge.app.upgrade import prepare_database
from bridge.app.upkeep import keep_up, sweeps_of
from bridge.app.voicemails import Voicemails
from bridge.app.watched import (
    busy,
    trunks_of,
    watch_life,
    watch_lines,
    watch_queues,
    watch_voicemail,
)
from bridge.call.events import Event, TalksRecalled
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.policy import Access, access_of
from bridge.call.switchboard import Switchboard
from bridge.config import Config
from bridge.driver import Driver, Ports
from bridge.matrix.adapter import MatrixAdapter
from bridge.media import garbage
from bridge.media.workers.template import Template
from bridge.numbers import from_sip, is_canonical
from bridge.sip.adapter import SipAdapter
from bridge.sip.trunks import Registration
from bridge.store.calls import Calls
from bridge.store.database import open_database
from bridge.store.late import LatePortals
from bridge.store.people import People
from bridge.store.provisioned import ProvisionedSettings
from bridge.store.voicemail import Recordings
from bridge.store.writer import Writer
from bridge.web.metrics import Metrics
from bridge.web.reloading import Reloaded, ReloadPoint, key_of
from bridge.web.server import Health, WebServer

log = structlog.get_logger(__name__)

FAREWELL: Final = 5.0
"""Seconds that calls get to end on both sides when the bridge stops."""
_UP: Final = ("running", "draining")


class Service:
    """The bridge. `start` raises `BridgeError` with a remedy; `stop` is safe at any point."""

    def __init__(
        self,
        config: Config,
        template: Template | None,
        read: Callable[[], Config] | None = None,
    ) -> None:
        """`read`: reads the settings anew; raises BridgeError. None: they stay as they are."""
        self._read = read or (lambda: config)
        self._config = config
        self._in_force = InForce(config)
        self._template = template
        self._stack = AsyncExitStack()
        self._state = "starting"
        self._metrics = Metrics()
        self._load = Load(
            self._metrics.late, partial(self._metrics.total, "media_cpu_seconds_total")
        )
        self._page = AdminPage(config.web, self.health)
        self._programs = Programs(config.api)
        self._homeserver = Homeserver(config.homeserver.address)
        self._database: Database | None = None
        self._driver: Driver | None = None
        self._drain: Drain | None = None
        self._reload: Reload | None = None
        self._up = asyncio.Event()
        self._errands: set[asyncio.Task[Any]] = set()
        self._sip: SipAdapter | None = None
        self._matrix: MatrixAdapter | None = None

    async def start(self) -> None:
        """Bring both sides up, after what a crash left behind is cleared away."""
        config, in_force = self._config, self._in_force
        await self._serve_web()
        if copy := await prepare_database(config, datetime.now()):
            log.warning("the database was migrated; as it was before", file=str(copy))
        database = self._database = await self._stack.enter_async_context(
            open_database(config.database.url.get_secret_value())
        )
        writer = Writer(database, written=self._page.changes.note)
        writer.start()
        self._stack.push_async_callback(writer.close)
        provisioning = Provisioning(ProvisionedSettings(database), in_force)
        await provisioning.load()
        calls = Calls(database, writer)
        loop = asyncio.get_running_loop()
        nonce = secrets.token_hex(4)
        switchboard = Switchboard(in_force.policy, nonce=nonce)
        driver = self._driver = Driver(
            switchboard,
            loop,
            clock=time.monotonic,  # The loop's is the same, but knows no less than milliseconds.
            zone=zone_of(config),
            observers=[
                self._metrics.observe,
                self._programs.record,
                lambda command, at: fraud.observe(command),
                lambda command, at: voicemails.observe(command, at),
            ],
        )
        self._stack.callback(driver.close)

        def emit(event: Event) -> None:
            self._metrics.count(event)
            driver.emit(event)

        def may_use(person: UserId) -> bool:
            return access_of(in_force.policy, person) >= Access.RECEIVE

        def tell(person: UserId, text: str) -> None:
            matrix.notify(person, text)

        accounts = await open_accounts(in_force, database, may_use, tell)
        self._programs.know(accounts.owner_of)
        media = open_media(config, self._template, emit, self._metrics)
        self._stack.push_async_callback(media.close)
        media_up = asyncio.create_task(media.start(), name="media")
        self._stack.callback(media_up.cancel)
        matrix = self._matrix = MatrixAdapter(
            config.homeserver,
            config.appservice,
            store=LatePortals(database, writer),
            keys=await open_keys(config, database),
            emit=emit,
            may_use=may_use,
            is_address=partial(is_canonical, region=config.numbers.region),
            dial=partial(dial, in_force),
            portals=config.portals,
            join_time=join_time_of(config),
        )

        def registered(trunk: TrunkName, now: Registration) -> None:
            alerts.registration(trunk, now)
            accounts.registered(trunk, now)
            self._programs.registration(trunk, now)

        sip = self._sip = SipAdapter(
            config.sip,
            in_force.config.trunks,
            emit=emit,
            tap=driver.sip_message,
            normalise=partial(_normalise, config.numbers.region),
            on_registration=registered,
            admits=lambda text: texts.admits(text),
            on_message=lambda text: texts.received(text),
            on_mailbox=lambda mailbox: mailboxes.changed(mailbox),
            on_refused=RefusedAttempts(calls.add, nonce=nonce).add,
        )
        mailboxes = Mailboxes(in_force, owner_of=accounts.owner_of, tell=matrix.notify)
        texts = Texts(
            switchboard,
            matrix,
            sip,
            supports=partial(_takes_texts, in_force),
            per_minute=lambda: in_force.config.limits.texts_per_minute,
        )
        alerts = Alerts(
            lambda trunk: trunk in in_force.config.trunks, matrix.notify_admins, loop.call_later
        )
        self._stack.callback(alerts.close)
        fraud = FraudAlerts(matrix.notify_admins, loop.time)
        voicemails = Voicemails(in_force, Recordings(database, writer), matrix.voice, emit)
        await voicemails.open()
        people = People(database)
        refused = RefusedRequests(driver.record, nonce=nonce)
        desk = ServiceDesk(
            in_force=in_force,
            core=switchboard,
            emit=emit,
            calls=calls,
            people=people,
            accounts=accounts,
            registrations=sip.registrations,
            clock=loop.time,
            refused=refused.add,
        )
        self._drain = Drain(driver, announce=sip.drain, tell=matrix.notify_admins)
        self._reload = Reload(in_force, sip, read=self._read, tell=matrix.notify_admins)
        matrix.serve(desk, people, texts.typed)
        driver.connect(Ports(matrix=matrix, sip=sip, media=media, store=calls, leg_of=sip.leg_of))
        watch_lines(self._metrics, sip, in_force, accounts)
        watch_queues(self._metrics, matrix, sip, writer)
        watch_life(self._metrics, lambda: self._state == "draining", self._reload)
        watch_voicemail(self._metrics, voicemails)

        await desk.open()
        self._page.open(calls, desk, partial(busy, driver, self._load, self._metrics, writer))
        await matrix.listen()
        self._stack.push_async_callback(matrix.stop)
        self._stack.push_async_callback(texts.close)
        self._stack.push_async_callback(voicemails.close)
        now = time.time()
        talks, placed = await calls.talks(now), await calls.placed(now)
        driver.emit(TalksRecalled(talks=tuple(talks), placed=tuple(placed)))
        await clear_away(calls, matrix, sip)
        await voicemails.start()
        self._stack.push_async_callback(sip.stop)
        await sip.start()

        def account_changed(person: UserId) -> None:
            mailboxes.forget(trunk_of(person))
            desk.changed(person)
            self._programs.account(person, trunk_of(person))

        accounts.start(sip, account_changed)
        self._programs.open(
            in_force=in_force,
            provisioning=provisioning,
            desk=desk,
            people=accounts,
            archive=calls,
        )
        self._stack.push_async_callback(accounts.stop)
        upkeep = keep_up(sweeps_of(in_force, calls, matrix))
        self._stack.callback(asyncio.create_task(upkeep, name="upkeep").cancel)
        self._stack.callback(asyncio.create_task(self._load.run(), name="load").cancel)
        await media_up
        if config.media.homeserver_turn:
            turn = follow_homeserver(matrix.turn_servers, media)
            self._stack.callback(asyncio.create_task(turn, name="turn").cancel)
        following = Following(
            in_force,
            switchboard=switchboard,
            driver=driver,
            matrix=matrix,
            sip=sip,
            media=media,
            accounts=accounts,
        )
        following.begin()
        self._stack.push_async_callback(following.close)
        garbage.freeze()
        self._state = "running"
        self._up.set()
        log.info("ready")

    async def reload(self) -> Reloaded | None:
        """Read the settings anew, and apply what can be; None: not while starting or stopping."""
        if self._state != "running" or self._reload is None:
            return None
        return await self._reload.run()

    def hang_up(self) -> None:
        """SIGHUP: the same, as soon as the bridge runs."""
        log.info("asked to read the settings anew", signal="SIGHUP")
        task = asyncio.create_task(self._reload_when_up(), name="reload")
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _reload_when_up(self) -> None:
        await self._up.wait()
        await self.reload()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Let calls end by themselves for a while, unless there is a hurry; none begins."""
        if self._state == "running" and self._drain:
            self._state = "draining"
            await self._drain.run(self._in_force.config.shutdown.drain, hurry)

    async def stop(self) -> None:
        """End every call on both sides, say goodbye, and close everything in order."""
        self._state = "stopping"
        for task in self._errands:
            task.cancel()
        if self._driver and self._driver.active:
            log.info("ending calls", calls=self._driver.active)
        if self._driver and self._sip:
            await self._driver.shut_down(FAREWELL)
        await self._stack.aclose()
        log.info("stopped")

    async def health(self) -> Health:
        """Whether calls can be made, in both directions."""
        if self._state not in _UP or not self._database or not self._sip or not self._driver:
            return Health(False, {"state": self._state})
        registrations = trunks_of(self._sip, self._in_force)
        homeserver, database = await asyncio.gather(
            self._homeserver.answers(), database_answers(self._database)
        )
        details: dict[str, Any] = {
            "state": self._state,
            "homeserver": homeserver,
            "database": database,
            "encryption": bool(self._matrix and self._matrix.encrypts),
            "sip": self._sip.responsive,
            "trunks": {name: each.state.value for name, each in registrations.items()},
            "calls": self._driver.active,
        }
        left = self._drain.left if self._drain else None
        if left is not None:
            details["closes_in"] = left
        works = homeserver and database and self._sip.responsive and trunks_work(registrations)
        return Health(works and self._state == "running", details)

    async def _serve_web(self) -> None:
        point = ReloadPoint(
            key_of(self._config.appservice.as_token.get_secret_value()), self.reload
        )

        def more(application: Application) -> None:
            self._page.serve(application)
            self._programs.serve(application)
            point.serve(application)

        web = WebServer(self.health, self._metrics, more)
        await web.start(str(self._config.web.listen), self._config.web.port)
        self._stack.push_async_callback(web.stop)


def _takes_texts(in_force: InForce, trunk: TrunkName) -> bool:
    """Whether SIP MESSAGE is worth trying; an account of a person's own just refuses it."""
    trunks = in_force.config.trunks
    return trunk not in trunks or trunks[trunk].messages


def _normalise(region: str, user: str, host: str) -> Address:
    return from_sip(user, host, region)
