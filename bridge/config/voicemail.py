# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of voicemail."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bridge.config.base import Section

LEAST_DELAY = 5.0
"""Seconds: nobody reaches a telephone sooner."""


class Voicemail(Section):
    """Voice messages of callers who were not answered, posted to whom they called."""

    enabled: bool = Field(
        False,
        description="Whether people may have voicemail. Each switches it on by themselves, with "
        "the bot's command voicemail.",
    )
    folder: Path | None = Field(
        None,
        description="Folder for greetings, and for messages until they are posted; empty: "
        "voicemail beside the SQLite database (with PostgreSQL, it has to be set).",
    )
    delay: float = Field(
        20.0,
        ge=LEAST_DELAY,
        le=300.0,
        description="Seconds that a call rings before voicemail answers, unless a person chose "
        "otherwise: less than limits.ring_time, and than the trunk waits for an answer.",
    )
    answers: tuple[Literal["no_answer", "do_not_disturb", "busy", "declined"], ...] = Field(
        ("no_answer", "do_not_disturb", "busy", "declined"),
        description="When it answers: nobody did in time, or nothing could ring; do not disturb "
        "was on; the person is in another call with that caller, or in too many; they declined.",
    )
    max_length: Annotated[float, Field(ge=5.0, le=600.0)] = Field(
        120.0, description="Seconds of a message at most."
    )
    silence: Annotated[float, Field(ge=2.0, le=60.0)] = Field(
        8.0, description="Seconds of silence after which a message is over."
    )
    max_waiting: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Messages that may wait to be posted, while the homeserver is away; then "
        "voicemail takes no more.",
    )
