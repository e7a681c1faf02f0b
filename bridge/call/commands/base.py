# SPDX-License-Identifier: GPL-3.0-or-later
"""What all commands have in common."""

from dataclasses import dataclass

from bridge.call.ids import CallId


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base of everything the core asks for."""

    call: CallId
