# SPDX-License-Identifier: GPL-3.0-or-later
"""Audio in processes of its own: who carries which call, and what if one dies."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bridge.call.commands import AddRemoteCandidates, CloseMedia, OfferMedia
from bridge.call.events import (
    MediaClosed,
    MediaConnected,
    MediaFailed,
    MediaFault,
    MediaLost,
    MediaVideoChanged,
)
from bridge.call.ids import CallId, OpId, Side
from bridge.config import Logging, Media
from bridge.errors import ConfigurationError, LocalError
from bridge.media.workers import engine as engine_module
from bridge.media.workers.engine import WorkerEngine, port_ranges, workers_for
from bridge.media.workers.process import PRECEDENCE
from bridge.media.workers.template import Template
from bridge.media.workers.wire import Begin
from bridge.media.workers.worker import Worker
from bridge.records import IceServer
from bridge.sdp.agreement import sip_audio
from bridge.sdp.parser import parse
from tests.media.conftest import SETTINGS
from tests.media.desk import Desk
from tests.media.fake import description
from tests.media.processes import KeptTemplate
from tests.simulators.rtp import RtpPeer, Sender
from tests.simulators.waiting import until
from tests.simulators.webrtc import WebRtcPeer

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENT = description(Side.MATRIX)
PHONE = description(Side.SIP).replace("192.0.2.1", "127.0.0.1")
ROOT = Path(__file__).parents[2]
Make = Callable[..., Desk]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def template() -> AsyncIterator[Template]:
    """What workers of all tests are copies of."""
    template = KeptTemplate()
    yield template
    await template.end()


@pytest_asyncio.fixture(loop_scope="module")
async def make(template: Template) -> AsyncIterator[Make]:
    """Engines with workers, closed after the test."""
    desks: list[Desk] = []

    def make(settings: Media = SETTINGS, workers: int = 2, **options: Any) -> Desk:
        options.setdefault("template", template)
        logging = Logging(level="info", format="json")
        desk = Desk(lambda emit: WorkerEngine(settings, logging, emit, workers=workers, **options))
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        await desk.engine.close()


def engine_of(desk: Desk) -> WorkerEngine:
    assert isinstance(desk.engine, WorkerEngine)
    return desk.engine


async def call(desk: Desk, name: str) -> int:
    """Have a call offered; returns the port that it got."""
    desk.call = CallId(name)
    offered = await desk.offer(Side.MATRIX, CLIENT)
    return sip_audio(parse(offered.sdp)).port


def worker_of(port: int) -> int:
    """Which of two workers has this port."""
    low, high = SETTINGS.rtp_ports
    return 1 if port < (low + high + 1) // 2 else 2


def parent_of(pid: int) -> int:
    """Whose child a process is."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def gone(pid: int) -> None:
    """Wait until there is no such process."""
    await until(lambda: not Path(f"/proc/{pid}").exists(), what=f"process {pid} ended")


async def test_a_call_with_audio_and_what_was_measured_of_it(make: Make) -> None:
    desk = make()
    await desk.engine.start()
    client, phone = WebRtcPeer(), RtpPeer()
    connected = await desk.client_calls(client, phone)
    assert connected.sip_codec == "PCMU/8000"
    await client.send(*client.sender("PCMU").packets([b"c" * 160] * 20))
    await phone.received.reaches(20)
    phone.send(*Sender(0).packets([b"p" * 160] * 10))
    await client.received.reaches(10)
    statistics = await desk.hang_up()
    assert statistics["matrix_packets_received"] == 20
    assert statistics["matrix_packets_sent"] == 10
    assert statistics["mode"] == "relay"
    assert isinstance(statistics["connect_s"], float)
    assert isinstance(statistics["sip_packets_lost"], int)
    phone.close()
    await client.close()


async def test_the_log_of_a_worker_names_call_and_worker(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    template = Template()  # Its standard error is what it was when it began.
    desk = make(template=template)
    failed = await desk.refused(
        lambda op: OfferMedia(call=desk.call, op=op, side=Side.SIP, sdp="nonsense")
    )
    assert failed.fault is MediaFault.BAD_SDP
    await desk.engine.close()
    line = next(each for each in capfd.readouterr().err.splitlines() if "refused" in each)
    assert f'"call": "{desk.call}"' in line
    assert '"worker": 1' in line


async def test_workers_write_no_more_than_is_wanted_now(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    template = Template()
    desk = make(template=template)
    for level, said in (("error", False), ("info", True)):
        assert isinstance(desk.engine, WorkerEngine)
        desk.engine.log_as(Logging(level=level, format="json"))
        await desk.refused(
            lambda op: OfferMedia(call=desk.call, op=op, side=Side.SIP, sdp="nonsense")
        )
        written = capfd.readouterr().err
        assert ("refused" in written) is said
    await desk.engine.close()


async def test_candidates_that_come_first_go_to_the_call_that_they_belong_to(make: Make) -> None:
    desk = make()
    desk.engine.do(AddRemoteCandidates(call=desk.call, candidates=("",)))
    assert await call(desk, desk.call)


async def test_all_workers_use_the_servers_that_are_named_later(make: Make) -> None:
    """Those that run, and those that begin after it."""
    loop = asyncio.get_running_loop()
    asked: list[bytes] = []

    class Server(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            asked.append(data)

    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    url = f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    desk = make(workers=2)
    await desk.engine.start()
    desk.engine.use_servers([IceServer(url=url)])
    op = OpId(0)
    for number in (1, 2):
        desk.call = CallId(f"call-{number}")
        desk.engine.do(OfferMedia(call=desk.call, op=op, side=Side.MATRIX, sdp=CLIENT))
        await until(lambda n=number: len(asked) >= n, what="the server is asked")  # type: ignore[misc]
        assert isinstance(desk.engine, WorkerEngine)
        os.kill(next(iter(desk.engine.pids.values())), signal.SIGKILL)
        await desk.event(MediaLost, number)
        asked.clear()
    transport.close()


async def test_another_worker_starts_when_the_first_has_enough_to_do(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FILL", 2)
    desk = make(workers=2)
    ports = [await call(desk, f"call-{number}") for number in range(3)]
    engine = engine_of(desk)
    await until(lambda: len(engine.pids) == 2, what="the second worker was ready")
    ports += [await call(desk, f"call-{number}") for number in range(3, 6)]
    assert [worker_of(port) for port in ports] == [1, 1, 1, 2, 2, 2]
    for name in ("call-4", "call-5"):
        desk.engine.do(CloseMedia(call=CallId(name)))
    await desk.event(MediaClosed, 2)
    assert worker_of(await call(desk, "call-6")) == 2
    assert len(engine.pids) == 2


async def test_calls_that_may_come_to_be_bridged_stay_near_each_other(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FILL", 1)
    desk = make(workers=2)
    ports = [await call(desk, "call-1")]
    await call(desk, "call-0")
    await until(lambda: len(engine_of(desk).pids) == 2, what="there was another worker")
    desk.call = CallId("call-2")
    near = CallId("call-1")
    second = await desk.ask(
        lambda op: OfferMedia(call=desk.call, op=op, side=Side.MATRIX, sdp=CLIENT, near=near)
    )
    ports.append(sip_audio(parse(second.sdp)).port)
    ports.append(await call(desk, "call-3"))
    assert [worker_of(port) for port in ports] == [1, 1, 2]
    for name, other in (("call-4", "call-3"), ("call-3", "call-4")):
        desk.call = CallId(name)
        desk.bridge(CallId(other))
    desk.call = CallId("call-4")
    offered = await desk.offer(Side.MATRIX, "")
    assert worker_of(sip_audio(parse(offered.sdp)).port) == 2


async def test_calls_of_different_workers_cannot_be_bridged(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FILL", 1)
    desk = make(workers=2)
    await call(desk, "call-1")
    await call(desk, "call-0")
    await until(lambda: len(engine_of(desk).pids) == 2, what="there was another worker")
    await call(desk, "call-2")
    desk.bridge(CallId("call-1"))
    lost = await desk.event(MediaLost)
    assert (lost.call, lost.side, lost.fault) == ("call-2", Side.SIP, MediaFault.NO_RESOURCES)
    desk.call = CallId("unknown")
    desk.bridge(CallId("nobody"))
    assert (await desk.event(MediaLost, 2)).call == "unknown"


async def test_transcoding_counts_for_more(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "FILL", 2)
    desk = make(workers=2)
    client, phone = WebRtcPeer(), RtpPeer()
    desk.call = CallId("transcoded")
    await desk.client_calls(client, phone, formats=(111, 110))
    assert worker_of(await call(desk, "call-1")) == 1
    await until(lambda: len(engine_of(desk).pids) == 2, what="there was another worker")
    assert [worker_of(await call(desk, f"call-{number}")) for number in range(2, 5)] == [2, 2, 2]
    phone.close()
    await client.close()


async def test_calls_end_with_the_worker_that_carried_them_and_no_others(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FILL", 1)
    desk = make()
    assert worker_of(await call(desk, "lost")) == 1
    assert worker_of(await call(desk, "lost-2")) == 1
    engine = engine_of(desk)
    await until(lambda: len(engine.pids) == 2, what="the second worker was ready")
    assert worker_of(await call(desk, "kept")) == 2
    first = engine.pids[1]
    os.kill(first, signal.SIGKILL)
    await desk.event(MediaLost, 2)
    assert {each.call for each in desk.of(MediaLost)} == {"lost", "lost-2"}
    await until(lambda: engine.pids.get(1, first) != first, what="the worker was replaced")
    assert engine.losses() == {"1": 1, "2": 0}
    assert engine.cpu()["1"] > 0
    assert await desk.answer(Side.SIP, PHONE)
    assert worker_of(await call(desk, "next")) == 1


async def test_what_waits_for_a_worker_that_dies_is_answered(make: Make) -> None:
    desk = make(workers=1)
    await call(desk, "asking")
    pid = engine_of(desk).pids[1]
    os.kill(pid, signal.SIGSTOP)
    desk.engine.do(OfferMedia(call=CallId("asking"), op=OpId(901), side=Side.SIP, sdp=PHONE))
    desk.engine.do(OfferMedia(call=CallId("closing"), op=OpId(902), side=Side.SIP, sdp=PHONE))
    desk.engine.do(CloseMedia(call=CallId("closing")))
    os.kill(pid, signal.SIGKILL)
    failed = await desk.event(MediaFailed)
    assert (failed.op, failed.fault) == (901, MediaFault.INTERNAL)
    assert (await desk.event(MediaLost)).call == "asking"
    assert (await desk.event(MediaClosed)).call == "closing"
    desk.engine.do(CloseMedia(call=CallId("asking")))
    assert (await desk.event(MediaClosed, 2)).call == "asking"
    await call(desk, "next")  # Its offer waits for the worker that comes.


async def test_a_worker_that_dies_again_and_again_is_given_a_rest(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "PAUSES", (0.0, 600.0))
    desk = make(workers=1)
    engine = engine_of(desk)
    await engine.start()
    for deaths in (1, 2):
        await until(lambda: 1 in engine.pids, what="there was a worker")
        os.kill(engine.pids[1], signal.SIGKILL)
        await until(
            lambda: engine.losses()["1"] == deaths,  # noqa: B023
            what="its death was noticed",
        )
    failed = await desk.refused(
        lambda op: OfferMedia(call=desk.call, op=op, side=Side.MATRIX, sdp=CLIENT)
    )
    assert failed.fault is MediaFault.NO_RESOURCES


async def test_a_worker_that_hangs_is_replaced(make: Make) -> None:
    desk = make(workers=1, check_every=0.2)
    await desk.engine.start()
    pid = engine_of(desk).pids[1]
    os.kill(pid, signal.SIGSTOP)
    await gone(pid)
    engine = engine_of(desk)
    await until(lambda: 1 in engine.pids, what="there was another worker")
    assert engine.pids[1] != pid


async def test_workers_come_from_a_new_template_if_it_died(make: Make) -> None:
    template = Template()
    desk = make(workers=1, template=template)
    await desk.engine.start()
    engine = engine_of(desk)
    first = engine.pids[1]
    parent = parent_of(first)
    os.kill(parent, signal.SIGKILL)
    await gone(parent)
    await call(desk, "a")  # The worker does not need it.
    os.kill(first, signal.SIGKILL)
    await until(lambda: engine.pids.get(1, first) != first, what="it was replaced")
    await call(desk, "b")


async def test_workers_end_when_the_main_process_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(MAIN)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    pids = [int(each) for each in (await process.stdout.readline()).split()]
    assert len(pids) == 2
    process.kill()
    await process.wait()
    for pid in pids:
        await gone(pid)


MAIN = """
import asyncio, os
from pathlib import Path
from ipaddress import IPv4Address
from bridge import logs
from bridge.config import Logging, Media
from bridge.media.workers.engine import WorkerEngine

async def main():
    logs.configure()
    settings = Media(listen=IPv4Address("127.0.0.1"), rtp_ports=(21000, 21999))
    engine = WorkerEngine(settings, Logging(), print, workers=1)
    await engine.start()
    worker = engine.pids[1]
    template = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]
    print(worker, template, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_settings_that_cannot_be_used_stop_the_start(make: Make) -> None:
    settings = SETTINGS.model_copy(
        update={"ice_servers": Media.model_validate({"ice_servers": [{"url": "x"}]}).ice_servers}
    )
    with pytest.raises(ConfigurationError, match="x") as caught:
        await make(settings).engine.start()
    assert "stun:" in caught.value.remedy


async def test_a_worker_that_cannot_be_made_stops_the_start(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(LocalError, match="media worker"):
        await make(template=Template()).engine.start()


async def test_nothing_is_left_behind(make: Make) -> None:
    files = len(os.listdir("/proc/self/fd"))
    desk = make()
    await desk.engine.start()
    await call(desk, "a")
    pid = engine_of(desk).pids[1]
    used = engine_of(desk).cpu()["1"]
    assert used > 0
    if os.geteuid() == 0:
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, pid) == max(-20, ours - PRECEDENCE)
    await desk.engine.close()
    await gone(pid)
    assert len(os.listdir("/proc/self/fd")) == files
    assert {each.call for each in desk.of(MediaClosed)} == {"a"}
    assert not desk.of(MediaConnected)


@pytest.mark.parametrize(
    ("ports", "workers", "expected"),
    [
        ((30000, 30999), 1, [(30000, 30999)]),
        ((30000, 30999), 2, [(30000, 30499), (30500, 30999)]),
        ((30001, 30099), 3, [(30001, 30033), (30034, 30067), (30068, 30099)]),
    ],
)
async def test_workers_share_the_range_of_ports(
    ports: tuple[int, int], workers: int, expected: list[tuple[int, int]]
) -> None:
    assert port_ranges(ports, workers) == expected


async def test_there_is_a_worker_for_each_core_but_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = {0, 1, 2, 3}
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores)
    assert workers_for(Media()) == 3
    assert workers_for(Media(rtp_ports=(30000, 30039))) == 2
    assert workers_for(Media(workers=7)) == 7
    assert workers_for(Media(workers=0)) == 0
    cores = {0}
    assert workers_for(Media()) == 0


async def test_a_worker_knows_what_its_calls_cost() -> None:
    begin = Begin(number=1, media=SETTINGS, logging=Logging(), report_every=1.0)

    def nobody(_: object) -> None:
        """Nobody is told."""

    worker = Worker(begin, emit=nobody, on_ready=nobody, on_unable=nobody, on_end=nobody)
    loads = [worker.load]
    call = CallId("call-1")
    worker.do(OfferMedia(call=call, op=OpId(1), side=Side.MATRIX, sdp=CLIENT))
    loads.append(worker.load)
    for event in (
        MediaConnected(call=call, matrix_codec="opus/48000/2", sip_codec="PCMU/8000"),
        MediaVideoChanged(call=call, codec="VP8/90000"),
        MediaVideoChanged(call=call, codec="H264/90000"),
        MediaVideoChanged(call=call, codec=""),
        MediaClosed(call=call),
    ):
        worker._take(event)
        loads.append(worker.load)
    assert loads == [0, 1, 4, 6, 6, 4, 0]
