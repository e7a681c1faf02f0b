# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging: one way out for everything, no secrets, short numbers."""

import io
import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from bridge import logs

Lines = Callable[[], list[dict[str, Any]]]


def configured(**options: Any) -> Lines:
    stream = io.StringIO()
    logs.configure(**{"level": "debug", "form": "json", "stream": stream, **options})
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_what_it_needs() -> None:
    lines = configured()
    structlog.get_logger("bridge.x").bind(call="c1").info("sip answered", status=200)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "sip answered",
        "level": "info",
        "logger": "bridge.x",
        "call": "c1",
        "status": 200,
    }


def test_libraries_go_the_same_way_at_their_own_level() -> None:
    lines = configured()
    logging.getLogger("mau.appservice").warning("odd %s", "thing")
    logging.getLogger("aioice.ice").info("chatter")
    logging.getLogger("aiortc.x").debug("chatter")
    logging.getLogger("asyncio").error("serious")
    assert [(each["logger"], each["event"]) for each in lines()] == [
        ("mau.appservice", "odd thing"),
        ("asyncio", "serious"),
    ]


def test_warnings_are_logged() -> None:
    lines = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old way", stacklevel=1)
    (line,) = lines()
    assert "old way" in line["event"]


def test_the_level_counts() -> None:
    lines = configured(level="warning")
    structlog.get_logger("bridge.x").info("minor")
    logging.getLogger("x").info("minor")
    structlog.get_logger("bridge.x").warning("major")
    assert [each["event"] for each in lines()] == ["major"]


def test_mautrix_still_gets_its_loggers() -> None:
    configured()
    from mautrix.util.logging import TraceLogger

    assert isinstance(logging.getLogger("mau.db"), TraceLogger)
    structlog.get_logger("bridge.x").info("a line")
    assert isinstance(logging.getLogger("mau.something.new"), TraceLogger)


def test_console_lines_carry_exceptions() -> None:
    stream = io.StringIO()
    logs.configure("info", "console", stream=stream, secrets=["hunter22"])
    try:
        raise ValueError("hunter22 +12025550123")
    except ValueError:
        structlog.get_logger("bridge.x").exception("it broke", call="c1")
    text = stream.getvalue()
    assert "it broke" in text
    assert "call=c1" in text
    assert "Traceback" in text
    assert "hunter22" not in text
    assert "5550123" not in text


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("password", "word", "[hidden]"),
        ("as_token", "word", "[hidden]"),
        ("headers", {"Authorization": "Bearer abc"}, {"Authorization": "Bearer abc"}),
        ("text", "Authorization: Digest username=x\r\nTo: y", "Authorization: [hidden]\r\nTo: y"),
        ("text", "Proxy-Authorization: Digest a", "Proxy-Authorization: [hidden]"),
        ("text", "Bearer abc.def", "Bearer [hidden]"),
        ("url", "http://hs/?access_token=abc&x=1", "http://hs/?access_token=[hidden]&x=1"),
        ("text", "it is hunter22, really", "it is [hidden], really"),
        ("things", ["hunter22", {"a": ("hunter22", 1)}], ["[hidden]", {"a": ["[hidden]", 1]}]),
        ("error", ValueError("hunter22"), "ValueError: [hidden]"),
    ],
)
def test_secrets_stay_secret(key: str, value: object, shown: object) -> None:
    if key == "headers":
        shown = {"Authorization": "Bearer [hidden]"}
    lines = configured(secrets=["hunter22", "", "abc"])
    structlog.get_logger("x").info("event", **{key: value})
    assert lines()[0][key] == shown


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("address", "tel:+12025550123", "tel:…23"),
        ("address", "tel:12345", "tel:…45"),
        ("address", "tel:100", "tel:100"),
        ("text", "call +12025550123 and 12025550123 now", "call …23 and …23 now"),
        ("ghost", "@sip_12025550123:mx.test", "@sip_…23:mx.test"),
        ("uri", "sip:door@pbx.example.org:5060", "sip:…or@pbx.example.org:5060"),
        ("uri", "<sips:+12025550123@pbx.example.org>;tag=1", "<sips:…23@pbx.example.org>;tag=1"),
        (
            "ghost",
            "@sip_=2b12025550123=40pbx.example.org:mx.test",
            "@sip_=2b…23=40pbx.example.org:mx.test",
        ),
        ("path", "/users/%40sip_%2B12025550123%3Amx.test", "/users/%40sip_%2B…23%3Amx.test"),
        ("caller_name", "(202) 555-0123", "…23"),
        ("caller_name", "Door +1 202-555-0123", "Door …23"),
        ("display_name", "202.555.0123", "…23"),
        ("caller_name", "Studio 54", "Studio 54"),
        ("dialled", "1234", "…34"),
        ("target", "+12025550123", "…23"),
        ("person", "@alice:mx.test", "@alice:mx.test"),
        ("url", "http://127.0.0.1:29330/x", "http://127.0.0.1:29330/x"),
        ("text", "port 29330", "port 29330"),
        ("call", "c1234567890", "c1234567890"),
        ("room", "!1234567890:mx.test", "!1234567890:mx.test"),
        ("count", 1234567890, 1234567890),
        ("nothing", None, None),
    ],
)
def test_numbers_are_cut_short(key: str, value: object, shown: object) -> None:
    lines = configured()
    structlog.get_logger("x").info("event", **{key: value})
    assert lines()[0][key] == shown


def test_numbers_can_be_shown_in_full() -> None:
    lines = configured(full_numbers=True)
    structlog.get_logger("x").info("event", address="tel:+12025550123")
    assert lines()[0]["address"] == "tel:+12025550123"
