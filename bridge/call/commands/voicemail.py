# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of what callers say after the beep."""

from dataclasses import dataclass

from bridge.call.commands.records import StoreCommand
from bridge.call.ids import Address, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicemailCommand(StoreCommand):
    """Carried out by whoever keeps recordings until they are posted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepVoicemail(VoicemailCommand):
    """A caller speaks: what `file` comes to hold is for the person, also after a crash."""

    person: UserId
    address: Address
    caller_name: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostVoicemail(VoicemailCommand):
    """The file is complete; it is to be posted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropVoicemail(VoicemailCommand):
    """The file holds nothing that is worth it."""
