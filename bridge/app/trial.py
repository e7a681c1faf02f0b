# SPDX-License-Identifier: GPL-3.0-or-later
"""`matrix-sip check --call`: a call by the dial plan, without Matrix, beside a bridge that runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from bridge.app.health import ask
from bridge.app.media import media_settings
from bridge.app.routing import Plan
from bridge.app.verdicts import Finding, Verdict
from bridge.call.commands import ByeSip, CancelSip, RejectSipReinvite, SendSipInvite
from bridge.call.dialplan import OutboundRoute
from bridge.call.events import (
    Event,
    SipAnswered,
    SipEnded,
    SipProgressed,
    SipReinviteReceived,
)
from bridge.call.ids import CallId, LegId, TrunkName, UserId
from bridge.config import Config, Permission
from bridge.config.checks_routing import USER_ID
from bridge.errors import BridgeError, NotDone, RemoteError
from bridge.media.embedded.trial import TONE, Heard, TrialAudio
from bridge.numbers import from_sip
from bridge.sip.adapter import SipAdapter
from bridge.sip.trunks import Registration, RegistrationState

_CALL: Final = CallId("trial")
_LEG: Final = LegId("trial")
_REGISTRATION: Final = 10.0
_GOODBYE: Final = 5.0
_NAT: Final = "See docs/how-to/nat-and-firewall.md, under: audio in one direction only."


def caller_of(config: Config, who: str) -> UserId:
    """As whom the call is placed: as `who`, or the first who may. Raises NotDone."""
    if who:
        if not USER_ID.fullmatch(who):
            raise NotDone(f"{who} is not a Matrix id; wanted: like @person:example.org.")
        return UserId(who)
    for level in (Permission.ADMIN, Permission.CALL):
        for key, each in config.permissions.items():
            if each is level and key.startswith("@"):
                return UserId(key)
    raise NotDone("permissions name nobody who may call; say as whom: --as @person:example.org")


async def trial(config: Config, number: str, who: str, talk: float) -> AsyncIterator[Finding]:
    """Place a call, send a tone for `talk` seconds, and tell what came of it. Raises NotDone."""
    person = caller_of(config, who)
    found = Plan.of(config).out(person, number)
    if not isinstance(found.result, OutboundRoute):
        remedy = f"matrix-sip route {person} {number} shows every rule."
        yield Finding(Verdict.FAILED, "dial plan", f"{person}: {found.verdict}", remedy)
        return
    yield Finding(Verdict.OK, "dial plan", f"{person}: {found.verdict}")
    way = replace(found.result, others=())
    if str(way.trunk) not in config.trunks:
        raise NotDone(f"{way.trunk} is no trunk of the configuration.")
    attempt = _Attempt(config, way, registers=not await _runs(config))
    try:
        async for finding in attempt.findings(talk):
            yield finding
    except BridgeError as error:
        yield Finding(Verdict.FAILED, attempt.at, str(error), error.remedy)
    finally:
        await attempt.close()


async def _runs(config: Config) -> bool:
    with suppress(RemoteError):
        await ask(config.web)
        return True
    return False


class _Attempt:
    """One call. `registers`: whether to, as no bridge has done so."""

    def __init__(self, config: Config, way: OutboundRoute, *, registers: bool) -> None:
        self.at = "call"
        """What is under way."""
        self._way = way
        self._ring_time = config.limits.ring_time
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._registered: asyncio.Queue[Registration] = asyncio.Queue()
        self._trunk = config.trunks[str(way.trunk)]
        self._registers = registers and self._trunk.register
        self._audio: TrialAudio | None = None
        self._media = media_settings(config)
        self._over, self._up = True, False
        # Any ports: those of the settings are the bridge's.
        listeners = tuple(each.model_copy(update={"port": 0}) for each in config.sip.transports)
        quiet = {"register": self._registers, "probe_interval": None, "mailbox_people": ()}
        self._sip = SipAdapter(
            config.sip.model_copy(update={"transports": listeners}),
            {str(way.trunk): self._trunk.model_copy(update=quiet)},
            emit=self._events.put_nowait,
            tap=lambda *message: None,
            normalise=lambda user, host: from_sip(user, host, config.numbers.region),
            on_registration=self._told,
        )

    def _told(self, _: TrunkName, now: Registration) -> None:
        self._registered.put_nowait(now)

    async def findings(self, talk: float) -> AsyncIterator[Finding]:
        """What happens, in order."""
        await self._sip.start()
        if self._registers:
            self.at = "registration"
            yield await self._register()
        self.at = "audio"
        audio = self._audio = TrialAudio(self._media)
        self.at = "call"
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._invite(audio.offer(self._way.terms))
        answer, rang = await self._answered(begun)
        took = f"answered after {loop.time() - begun:.1f} s"
        ringing = f", rang after {rang:.1f} s" if rang else ""
        yield Finding(Verdict.OK, self.at, f"200, {took}{ringing}")
        self.at = "codec"
        audio.agree(answer)
        ended = await self._talk(audio, talk)
        heard = audio.heard()
        encryption = heard.encryption or "not encrypted"
        yield Finding(Verdict.OK, self.at, f"{heard.codec}, {encryption}")
        for finding in judge(heard):
            yield finding
        self.at = "end"
        yield await self._hang_up(ended)

    async def _register(self) -> Finding:
        now = Registration(RegistrationState.TRYING)
        with suppress(TimeoutError):
            async with asyncio.timeout(_REGISTRATION):
                while now.state is RegistrationState.TRYING:
                    now = await self._registered.get()
        if now.state is not RegistrationState.REGISTERED:
            said = f"{now.status} {now.reason}" if now.status else "no answer"
            raise RemoteError(f"{said}", remedy="matrix-sip check tells more.")
        return Finding(Verdict.OK, self.at, "registered")

    def _invite(self, sdp: str) -> None:
        way = self._way
        self._over = False
        self._sip.do(
            SendSipInvite(
                call=_CALL,
                leg=_LEG,
                trunk=way.trunk,
                target=way.target,
                caller=way.caller,
                caller_name=way.caller_name,
                sdp=sdp,
                withheld=way.withheld,
            )
        )

    async def _answered(self, begun: float) -> tuple[str, float]:
        """The answer, and after how many seconds it rang; 0: it did not. Raises RemoteError."""
        rang = 0.0
        try:
            async with asyncio.timeout(self._ring_time):
                while True:
                    event = await self._events.get()
                    if isinstance(event, SipProgressed) and not rang:
                        rang = asyncio.get_running_loop().time() - begun
                    elif isinstance(event, SipAnswered):
                        self._up = True
                        return event.sdp, rang
                    elif isinstance(event, SipEnded):
                        self._over = True
                        raise _refused(event)
        except TimeoutError:
            raise RemoteError(
                f"not answered within {self._ring_time:g} s (limits.ring_time)",
                remedy="Answer it, or call a number that answers by itself.",
            ) from None

    async def _talk(self, audio: TrialAudio, seconds: float) -> SipEnded | None:
        """Send the tone; the end of the call, if it ended meanwhile."""
        talking = asyncio.create_task(audio.talk())
        try:
            async with asyncio.timeout(seconds):
                while True:
                    event = await self._events.get()
                    if isinstance(event, SipReinviteReceived):
                        # Nothing is to change in a few seconds.
                        self._sip.do(
                            RejectSipReinvite(call=_CALL, leg=_LEG, op=event.op, status=488)
                        )
                    elif isinstance(event, SipEnded):
                        self._over = True
                        return event
        except TimeoutError:
            return None
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)

    async def _hang_up(self, ended: SipEnded | None) -> Finding:
        if ended is not None:
            return Finding(Verdict.WARNING, self.at, "the far end hung up before we did")
        self._sip.do(ByeSip(call=_CALL, leg=_LEG))
        end = await self._ended()
        if end is None:
            return Finding(Verdict.WARNING, self.at, "BYE was not answered")
        return Finding(Verdict.OK, self.at, "BYE, answered")

    async def _ended(self) -> SipEnded | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                while True:
                    event = await self._events.get()
                    if isinstance(event, SipEnded):
                        self._over = True
                        return event
        return None

    async def close(self) -> None:
        """End whatever goes on."""
        if not self._over:
            end = ByeSip if self._up else CancelSip
            self._sip.do(end(call=_CALL, leg=_LEG))
            await self._ended()
        if self._audio:
            self._audio.close()
        await self._sip.stop()


def _refused(event: SipEnded) -> RemoteError:
    said = f"{event.status} {event.reason}".strip()
    if not event.remote:
        return RemoteError(
            f"not placed: {said}", remedy="matrix-sip check tells whether the trunk answers."
        )
    elsewhere = ", ".join(map(str, event.contacts))
    return RemoteError(
        f"refused: {said}" + (f", call {elsewhere} instead" if elsewhere else ""),
        remedy="These are the far end's words; docs/how-to/provider.md says what may be wanted.",
    )


def judge(heard: Heard) -> list[Finding]:
    """What was measured, in words."""
    far = heard.far_end
    told = f"the far end reports {far.lost} lost" if far.reports else "the far end reports nothing"
    out = Finding(Verdict.OK, "audio out", f"{heard.sent} packets; {told}")
    if not heard.received:
        missing = Finding(Verdict.FAILED, "audio in", "not one packet came", _NAT)
        return [out, missing]
    came = f"{heard.received} packets, {heard.lost} lost, jitter {heard.jitter_ms:.1f} ms"
    return [out, Finding(Verdict.OK, "audio in", came), _sound(heard)]


def _sound(heard: Heard) -> Finding:
    if not heard.audible:
        return Finding(Verdict.WARNING, "sound", "packets came, but they are silent")
    echo = f"; our tone of {TONE} Hz comes back" if heard.echo else ""
    return Finding(Verdict.OK, "sound", f"heard, at {heard.level:.0f} dB{echo}")
