# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging: structured lines for people or machines, with no secret in them, and numbers cut short.

Everything goes one way: the bridge's own lines by structlog, those of the libraries by `logging`,
and Python's warnings.
"""

import logging
import re
import sys
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TextIO

import mautrix.util.logging  # noqa: F401  (its loggers must be of its class, so it comes first)
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN: Final = "[hidden]"
_MARK: Final = "…"

_SECRET_KEY: Final = re.compile(r"token|password|secret|authorization|cookie|pickle", re.IGNORECASE)
_CREDENTIALS: Final = re.compile(
    r"(?P<what>\bBearer\s+|\b(?:Proxy-)?Authorization:\s*|\baccess_token=)[^\r\n&\"'<>]+",
    re.IGNORECASE,
)
_LONG_NUMBER: Final = re.compile(
    r"(?:(?<=tel:)\+?[0-9]{3,}|(?<![0-9A-Za-z])\+[0-9]{3,}|(?<![0-9A-Za-z:.+-])[0-9]{5,})"
    r"(?=[0-9]{2}(?![0-9]))"
)
"""After `tel:` or a plus from five digits on; a bare one from seven, as ports have five."""
_NUMBER: Final = re.compile(r"(?<![0-9])\+?[0-9]{2,}(?=[0-9]{2}$)")
_AFTER_PREFIX: Final = re.compile(
    r"(?<=[_=.])[0-9]{5,}(?=[0-9]{2}:)|(?<=[=%]2[bB])[0-9]{3,}(?=[0-9]{2}(?![0-9]))"
)
"""A number within a ghost's Matrix id: `@sip_12025550123:example.org`, or after an escaped plus."""
_WRITTEN_OUT: Final = re.compile(r"\+?\(?([0-9][0-9()\s./-]*+)")
"""A number as people write it, which in other places could be a date: `(202) 555-0123`."""
_LAST_TWO: Final = re.compile(r"[0-9]{2}(?![0-9])")
_URI_USER: Final = re.compile(r"\b(sips?:)(?:[^@\s<>\";:]*?)([^@\s<>\";:]{1,2})@", re.IGNORECASE)

_NUMBER_KEYS: Final = frozenset({"caller", "dialled", "number", "target"})
"""Hold a number, short as it may be."""
_NAME_KEYS: Final = frozenset({"caller_name", "display_name"})
"""Hold what a caller is called, which often is a number written out."""
_PLAIN_KEYS: Final = frozenset({"call", "level", "timestamp", "logger", "leg", "room", "op"})
"""Never hold a number, but digits all the same."""

_QUIET: Final = {
    "aioice": logging.WARNING,
    "aiortc": logging.WARNING,
    "libav": logging.ERROR,
    "asyncio": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "aiosqlite": logging.INFO,
    "mau": logging.INFO,
    "mau.crypto": logging.ERROR,  # warns of every device that its user has not signed
    "mau.db": logging.WARNING,
}
"""Levels below which libraries are not heard, whatever the bridge's own level is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A warning or an error of the log, as it was written there."""

    at: float
    """Seconds since the epoch."""
    level: str
    text: str
    call: str
    """The call that it is about, if it is about one."""


class _Troubles:
    """Keeps the latest; the last of the processors before the line is made into text."""

    def __init__(self, most: int = 50) -> None:
        self.kept: deque[Trouble] = deque(maxlen=most)

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        """The processor."""
        if line.get("level") in _TROUBLES:
            more = {key: each for key, each in line.items() if key not in _NOT_TOLD}
            told = " ".join(f"{key}={each}" for key, each in more.items())
            self.kept.append(
                Trouble(
                    at=datetime.fromisoformat(line["timestamp"]).timestamp(),
                    level=line["level"],
                    text=f"{line.get('event', '')} {told}".strip(),
                    call=str(line.get("call", "")),
                )
            )
        return line


_TROUBLES: Final = ("warning", "error", "critical")
_NOT_TOLD: Final = ("event", "level", "timestamp", "logger", "call", "exception", "stack")
_troubles: Final = _Troubles()


def troubles() -> Sequence[Trouble]:
    """The latest warnings and errors of this process, newest first."""
    return list(reversed(_troubles.kept))


class HideSecrets:
    """Takes secrets out: known ones wherever they are, and what a key or header says is one."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        longest_first = sorted({each for each in secrets if len(each) > 3}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        """The processor."""
        for key, value in line.items():
            secret = _SECRET_KEY.search(key) and isinstance(value, str | bytes)
            line[key] = HIDDEN if secret else _deep(value, self.text)
        return line

    def text(self, text: str) -> str:
        """A text without secrets."""
        if self._known:
            text = self._known.sub(HIDDEN, text)
        return _CREDENTIALS.sub(rf"\g<what>{HIDDEN}", text)


def shorten_numbers(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """Leave the last two digits of telephone numbers, the last two letters of SIP users."""
    for key, value in line.items():
        if key in _NUMBER_KEYS and isinstance(value, str):
            value = _NUMBER.sub(_MARK, value)
        if key in _NAME_KEYS and isinstance(value, str):
            value = _WRITTEN_OUT.sub(_without_middle, value)
        if key not in _PLAIN_KEYS:
            line[key] = _deep(value, _short)
    return line


def _without_middle(number: re.Match[str]) -> str:
    """The last two digits that stand together, and what follows, if more than two come before."""
    *_, last = (0, *(pair.start() for pair in _LAST_TWO.finditer(number[1])))
    return _MARK + number[1][last:] if last > 2 else number[0]


def _short(text: str) -> str:
    text = _URI_USER.sub(rf"\1{_MARK}\2@", text)
    text = _AFTER_PREFIX.sub(_MARK, text)
    return _LONG_NUMBER.sub(_MARK, text)


def _deep(value: Any, change: Any) -> Any:
    """`value` with `change` applied to every text in it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_deep(key, change): _deep(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_deep(each, change) for each in value]
    if isinstance(value, BaseException):
        return change(f"{type(value).__name__}: {value}")
    return value if value is None or isinstance(value, int | float) else change(str(value))


def configure(
    level: str = "info",
    form: str = "console",
    *,
    full_numbers: bool = False,
    secrets: Collection[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send every log line to `stream` (standard error). `form` is `console` or `json`."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        HideSecrets(secrets),
        *([] if full_numbers else [shorten_numbers]),
        _troubles,
        _renderer(form, stream),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        # Not structlog's own factory: it changes the class that mautrix wants loggers to be of.
        logger_factory=_logger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(True)


def _logger(*names: str) -> logging.Logger:
    return logging.getLogger(*names)


def _renderer(form: str, stream: TextIO) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
