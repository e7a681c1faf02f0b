# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon a call from a telephone rings: from its INVITE until the client has the invitation.

Synapse, the bridge and a client run on this machine, in a network of their own. The bridge joins
for the person. A number is new once: its ghost, the room and, with --encrypted, the ghost's device
with its keys have to be made first. What then comes to the client is `m.call.invite`, or the
encrypted event that holds it; deciphering that is the client's own affair and not in the figure.

    python -m benchmarks.ringing [--encrypted] [--numbers 20] [--again 3] [--check]

`--check` makes the exit status 1 if the slowest call took longer than 2 s, or 300 ms where the
number was known.
"""

import argparse
import asyncio
import os
import secrets
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.simulators.isolation import isolate_for_good, isolated
from tests.simulators.matrix_client import MatrixClient
from tests.simulators.stage import Line, Person, Stage, Subscriber
from tests.simulators.waiting import until

LINE: Final = Line("provider", "127.0.0.10", "+12025550100", ("PCMU",))
LIMITS: Final = {"new": 2.0, "known": 0.3}
"""Seconds."""
_EVENTS: Final = 3
"""Of a call that is cancelled: the invitation, the hangup, the notice."""
_SDP: Final = "\r\n".join(
    [
        "v=0",
        f"o=- 1 1 IN IP4 {LINE.address}",
        "s=-",
        f"c=IN IP4 {LINE.address}",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        "",
    ]
)


@dataclass(slots=True)
class Call:
    """A call that rings until it is cancelled."""

    sock: socket.socket
    caller: str
    person: Person
    port: int
    branch: str
    tag: str

    @classmethod
    def place(cls, sock: socket.socket, caller: str, person: Person, port: int) -> "Call":
        """Send the INVITE."""
        call = cls(
            sock, caller, person, port, f"z9hG4bK{secrets.token_hex(6)}", secrets.token_hex(4)
        )
        call.send("INVITE", _SDP)
        return call

    def cancel(self) -> None:
        """Send the CANCEL; the provider of a benchmark does not mind the retransmitted 487."""
        self.send("CANCEL")

    def send(self, method: str, body: str = "") -> None:
        """Send a request of this call's first transaction."""
        uri = f"sip:{self.person.number}@127.0.0.1:{self.port}"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {LINE.address}:{LINE.port};branch={self.branch}\r\n"
            f"From: <sip:{self.caller}@{LINE.address}>;tag={self.tag}\r\n"
            f"To: <{uri}>\r\nCall-ID: {self.tag}@{LINE.address}\r\nCSeq: 1 {method}\r\n"
            f"Contact: <sip:{self.caller}@{LINE.address}:{LINE.port}>\r\nMax-Forwards: 70\r\n"
            f"{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.sock.sendto(text.encode(), ("127.0.0.1", self.port))


async def ring(
    stage: Stage, sock: socket.socket, client: MatrixClient, caller: str, person: Person
) -> float:
    """Seconds from the INVITE until the client has what makes it ring."""
    ghost = f"@sip_{caller.removeprefix('+')}:{stage.synapse.name}"
    already = len(client.events)
    at = time.monotonic()
    call = Call.place(sock, caller, person, stage.sip_port)

    def said() -> list[float]:
        return [
            event.seen_at
            for event in client.events[already:]
            if event.sender == ghost and event.state_key is None
        ]

    found = await until(said, within=30, what=f"a call of {caller} rang")
    call.cancel()
    await until(lambda: len(said()) >= _EVENTS, within=30, what="the call was over")
    return found[0] - at


async def measure(encrypted: bool, numbers: int, again: int) -> dict[str, list[float]]:
    """Seconds until it rang, for numbers that were new and for those that were known."""
    found: dict[str, list[float]] = {"new": [], "known": []}
    with tempfile.TemporaryDirectory(prefix="ringing") as directory:
        stage = Stage(
            Path(directory),
            [LINE],
            [Subscriber("person", "+13035550100")],
            auto_join=True,
            encryption="default" if encrypted else "allow",
        )
        await stage.start()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((LINE.address, LINE.port))
        try:
            person = await stage.person()
            async with MatrixClient(stage.synapse.url, person.credentials) as client:
                for number in range(numbers):
                    caller = f"+1202555{number + 200:04}"
                    found["new"].append(await ring(stage, sock, client, caller, person))
                    for _ in range(again):
                        found["known"].append(await ring(stage, sock, client, caller, person))
        finally:
            sock.close()
            await stage.stop()
    return found


def table(found: dict[str, list[float]]) -> Table:
    """The figures, in milliseconds."""
    shown = Table("number", "calls", "median ms", "slowest ms", "wanted ms")
    for kind, each in found.items():
        figures = (statistics.median(each), max(each), LIMITS[kind])
        shown.add_row(kind, str(len(each)), *(f"{1000 * figure:.0f}" for figure in figures))
    return shown


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--encrypted", action="store_true")
    parser.add_argument("--numbers", type=int, default=20)
    parser.add_argument("--again", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    work = measure(options.encrypted, options.numbers, options.again)
    if os.geteuid() == 0:
        with isolated():
            found = asyncio.run(work)
    else:
        isolate_for_good()
        found = asyncio.run(work)
    Console().print(table(found))
    if options.check and any(max(each) > LIMITS[kind] for kind, each in found.items()):
        sys.exit(1)


if __name__ == "__main__":
    main()
