# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of day, for people: what the core, which knows no clock, leaves open."""

from dataclasses import replace
from datetime import datetime, tzinfo

from bridge.call.commands import Command, SendNotice
from bridge.call.notices import TIME


def timed(command: Command, now: float, zone: tzinfo | None) -> Command:
    """The command, with the time in its text. `now`: seconds since the epoch."""
    if not isinstance(command, SendNotice) or TIME not in command.text:
        return command
    when = time_of_day(now - command.ago, zone)
    return replace(command, text=command.text.replace(TIME, when))


def time_of_day(at: float, zone: tzinfo | None) -> str:
    """`14:32 CET`, or `14:32 UTC+03` where the zone has no name. No zone: the machine's."""
    moment = datetime.fromtimestamp(at).astimezone(zone)
    name = moment.tzname() or ""
    if name.startswith(("+", "-")):
        name = f"UTC{name}"
    return f"{moment:%H:%M} {name}"
