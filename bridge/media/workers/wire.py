# SPDX-License-Identifier: GPL-3.0-or-later
"""What the main process and a media worker say to each other, over a pair of connected sockets.

A message is four octets of length (big-endian), its kind, a space, and its fields as JSON:

    main -> worker   Begin                      once, first: the settings
                     OfferMedia, AnswerMedia …  every `MediaCommand`
                     end of file                end every call, then yourself; also when main died
                     Servers                    any time: other STUN and TURN servers
                     Logs                       any time: what to write to the log
    worker -> main   Ready                      once, after Begin
                     Unable                      instead: the settings cannot be used
                     MediaOfferReady …          every `MediaEvent`
                     Report                     every few seconds: a silent worker hangs
                     end of file                it has ended, or died
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, cast

from pydantic import SecretStr, TypeAdapter

from bridge.call.commands import MediaCommand
from bridge.call.commands import media as commands
from bridge.call.events import MediaEvent, MediaMeasured
from bridge.call.events import media as events
from bridge.config import Logging, Media
from bridge.records import IceServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """What a worker works with. The port range in `media` is its own part."""

    number: int
    """Of the worker, in its log lines."""
    media: Media
    logging: Logging
    report_every: float
    """Seconds."""
    servers: tuple[IceServer, ...] = ()
    """Beside those of the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """STUN and TURN servers beside those of the settings, in place of those before."""

    servers: tuple[IceServer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """What is written to the log from now on, and how."""

    logging: Logging


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The worker takes calls."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unable:
    """The worker cannot do anything with these settings: a ConfigurationError."""

    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The worker is alive."""

    longest_pause: float
    """Seconds that a garbage collection has held packets up, at most."""


Message = MediaCommand | MediaEvent | Begin | Servers | Logs | Ready | Unable | Report

_LENGTH: Final = struct.Struct("!I")


def _kinds() -> dict[str, TypeAdapter[Any]]:
    found = [
        each
        for module, base in ((commands, MediaCommand), (events, MediaEvent))
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, base) and each is not base
    ]
    own = (Begin, Servers, Logs, Ready, Unable, Report)
    return {each.__name__: TypeAdapter(each) for each in (*found, *own)}


_KINDS: Final = _kinds()
_NUMBERS: Final = {MediaMeasured.__name__, Report.__name__}
"""Kinds without any text of peers, nor secrets: what is told most often costs least."""


def packed(message: Message) -> bytes:
    """A message as it is sent."""
    kind = type(message).__name__
    if kind in _NUMBERS:
        body = kind.encode() + b" " + _KINDS[kind].dump_json(message)
        return _LENGTH.pack(len(body)) + body
    fields = _KINDS[kind].dump_python(message)
    text = json.dumps(fields, default=_plain, ensure_ascii=False)
    body = f"{kind} {text}".encode(errors="replace")  # Peers may send what is no text.
    return _LENGTH.pack(len(body)) + body


def _plain(value: object) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value.value if isinstance(value, Enum) else str(value)


def unpacked(body: bytes) -> Message:
    """A message from what follows its length."""
    kind, _, fields = body.partition(b" ")
    message: Message = _KINDS[kind.decode()].validate_json(fields)
    return message


class Channel(asyncio.Protocol):
    """One end of the pair. `on_message` and `on_end` are called on the loop; `on_end` once."""

    def __init__(self, on_message: Callable[[Any], None], on_end: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._ended = False
        self._received = bytearray()
        self._waiting: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()
        """Everything was sent, and the socket is closed."""

    async def open(self, sock: socket.socket) -> None:
        """Use this socket. What was sent before waits until now."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    def send(self, message: Message) -> None:
        """Send a message; into the void if the other end is gone."""
        if self._transport is not None and not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(packed(message))

    def _flush(self) -> None:
        """Write what was sent in this turn of the loop: the other end wakes up once for all."""
        waiting, self._waiting = self._waiting, []
        if waiting and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(waiting))

    def finish(self) -> None:
        """Say that nothing more will be sent; what the other end sends still comes."""
        self._flush()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Close the socket once everything is sent."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
            if len(received) < end:
                return
            body = bytes(received[_LENGTH.size : end])
            del received[:end]
            self._on_message(unpacked(body))

    def eof_received(self) -> bool:
        self._end()
        return True  # We may have more to say.

    def connection_lost(self, error: Exception | None) -> None:
        self._end()
        self.closed.set()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()
