# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of trunks that ask them: a registration, or OPTIONS where there is none."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from bridge.app.verdicts import Doubt, NotTried
from bridge.call.ids import Address, TrunkName
from bridge.config import Config, Trunk
from bridge.errors import BridgeError, RemoteError
from bridge.sip.adapter import SipAdapter
from bridge.sip.trunks import Registration, RegistrationState

PATIENCE: Final = 10.0
"""Seconds that all trunks together get."""
_PROBE: Final = 60.0
_FINAL: Final = (
    RegistrationState.REGISTERED,
    RegistrationState.FAILED,
    RegistrationState.ANSWERS,
    RegistrationState.SILENT,
)
_PASSWORD: Final = (401, 403, 407)


class Tries:
    """Tries every trunk at once, when the first is asked about.

    `running`: what the bridge says of itself that has the ports, if one does: it has tried already.
    """

    def __init__(
        self, config: Config, running: Mapping[str, Any] | None, patience: float = PATIENCE
    ) -> None:
        self._config = config
        self._running = running
        self._patience = patience
        self._tried: asyncio.Task[Mapping[TrunkName, Registration]] | None = None

    async def of(self, name: str) -> str:
        """How a trunk answers. Raises RemoteError, Doubt, NotTried."""
        if self._running is not None:
            return _as_told(self._running.get("trunks", {}).get(name, "unknown to it"))
        if self._tried is None:
            self._tried = asyncio.create_task(self._try())
        try:
            found = (await self._tried)[TrunkName(name)]
        except BridgeError as error:
            raise NotTried(f"the SIP stack does not start: {error}") from error
        return judge(found, self._config.trunks[name])

    async def _try(self) -> Mapping[TrunkName, Registration]:
        waiting = set(map(TrunkName, self._config.trunks))
        over = asyncio.Event()

        def registered(name: TrunkName, now: Registration) -> None:
            if now.state in _FINAL:
                waiting.discard(name)
            if not waiting:
                over.set()

        sip = SipAdapter(
            self._config.sip,
            {name: _asking(trunk) for name, trunk in self._config.trunks.items()},
            emit=lambda event: None,
            tap=lambda *message: None,
            normalise=lambda user, host: Address(f"sip:{user}@{host}"),
            on_registration=registered,
        )
        try:
            await sip.start()
            await asyncio.wait([asyncio.create_task(over.wait())], timeout=self._patience)
            return sip.registrations()
        finally:
            over.set()
            await sip.stop()


def _asking(trunk: Trunk) -> Trunk:
    """The same, asked by OPTIONS where it does not register."""
    wanted = None if trunk.register else max(_PROBE, trunk.answer_within)
    return trunk.model_copy(update={"probe_interval": wanted})


def _as_told(state: str) -> str:
    if state in (RegistrationState.REGISTERED.value, RegistrationState.ANSWERS.value):
        return f"{state}, says the bridge that runs"
    if state == RegistrationState.NOT_USED.value:
        raise NotTried("the bridge that runs does not ask it: see probe_interval")
    raise RemoteError(f"{state}, says the bridge that runs", remedy="Its log says why.")


def judge(found: Registration, trunk: Trunk) -> str:
    """What an answer means. Raises RemoteError, Doubt."""
    said = f"{found.status} {found.reason}".strip("0 ")
    match found.state:
        case RegistrationState.REGISTERED:
            return f"registered, for {trunk.registration_interval} s at a time"
        case RegistrationState.ANSWERS:
            return f"answers OPTIONS ({said})"
        case RegistrationState.FAILED if found.status in _PASSWORD:
            raise RemoteError(
                f"the registration is refused: {said}",
                remedy="Look at username, password, auth_username and domain of the trunk.",
            )
        case RegistrationState.FAILED:
            raise RemoteError(
                f"the registration fails: {said}",
                remedy="Look at server, transport and domain of the trunk, and at firewalls.",
            )
        case RegistrationState.SILENT:
            raise Doubt(
                f"does not answer OPTIONS: {said}",
                remedy="Look at server and transport of the trunk; does it know this machine's "
                "address, and let its packets through?",
            )
    raise RemoteError(
        "no answer", remedy="Look at server and transport of the trunk, and at firewalls."
    )
