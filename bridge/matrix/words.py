# SPDX-License-Identifier: GPL-3.0-or-later
"""What people say in rooms (`m.room.message`), as far as it is words."""

import re
from typing import Any, Final

_QUOTE: Final = re.compile(r"\A(?:>.*\n)+\n?")
_WORDS: Final = ("m.text", "m.emote")
_FILES: Final = ("m.audio", "m.file")


def text_of(content: dict[str, Any]) -> str | None:
    """The text of a message without the one that it answers to; None if it is no text."""
    body, relation = content.get("body"), content.get("m.relates_to")
    if content.get("msgtype") not in _WORDS or not isinstance(body, str):
        return None
    # Clients of before Matrix 1.13 quote what they reply to.
    if isinstance(relation, dict) and "m.in_reply_to" in relation:
        body = _QUOTE.sub("", body)
    return body.strip()


def is_file(content: dict[str, Any]) -> bool:
    """Whether it is a file, which may be audio: a voice message is, too."""
    return content.get("msgtype") in _FILES


def is_notice(content: dict[str, Any]) -> bool:
    """Whether a machine speaks: nobody may answer that by itself."""
    return content.get("msgtype") == "m.notice"


def is_correction(content: dict[str, Any]) -> bool:
    """Whether it replaces an earlier message."""
    relation = content.get("m.relates_to")
    return isinstance(relation, dict) and relation.get("rel_type") == "m.replace"
