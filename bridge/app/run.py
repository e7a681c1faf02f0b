# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge as a process: started, told by signals, stopped."""

import asyncio
import gc
import signal
from collections.abc import Callable
from typing import Final

import structlog
import uvloop

from bridge.app.notify import notify
from bridge.app.service import Service
from bridge.config import Config
from bridge.media.workers.template import Template

log = structlog.get_logger(__name__)

_STOP: Final = (signal.SIGTERM, signal.SIGINT)


def run(config: Config, template: Template | None, read: Callable[[], Config]) -> None:
    """Run the bridge until it is told to stop (SIGTERM, SIGINT). Raises `BridgeError`.

    `read`: reads the settings anew, at SIGHUP.
    `template`: what media workers are copies of; None: there are none.
    """
    gc.freeze()
    gc.enable()  # All is loaded.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(config, template, read))


async def _run(config: Config, template: Template | None, read: Callable[[], Config]) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP:
        loop.add_signal_handler(number, _asked_to_stop, loop, number, stop, hurry)
    service = Service(config, template, read)
    loop.add_signal_handler(signal.SIGHUP, service.hang_up)
    starting = asyncio.create_task(service.start(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            notify("READY=1")
            await stopping
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        notify("STOPPING=1")
        await service.drain(hurry)
        await service.stop()


def _asked_to_stop(
    loop: asyncio.AbstractEventLoop, number: int, stop: asyncio.Event, hurry: asyncio.Event
) -> None:
    """The first signal lets calls end, the second one ends them, the third one does not ask."""
    log.info("stopping", signal=signal.Signals(number).name, at_once=stop.is_set())
    if not stop.is_set():
        stop.set()
        return
    hurry.set()
    for each in _STOP:
        loop.remove_signal_handler(each)
