# SPDX-License-Identifier: GPL-3.0-or-later
"""pjsua2, or the reason why it cannot be used."""

import importlib
import re
from importlib import metadata
from typing import Final

from bridge.errors import LocalError

WANTED_VERSION: Final = (2, 17)
"""Session descriptions of our own for late answers, and asynchronous answers to re-INVITE."""
WANTED_CALLS: Final = 1024
"""What `scripts/build-pjsua2` allows; a pjsua2 built with its defaults stops at four."""
REMEDY: Final = "Run `make setup`, or `scripts/build-pjsua2 --install` for this Python."


def check_pjsua2() -> str:
    """The version of the pjsua2 in use. Raises LocalError if there is none that will do."""
    try:
        pj = importlib.import_module("pjsua2")
    except ImportError as error:
        raise LocalError(f"pjsua2 cannot be imported: {error}", remedy=REMEDY) from error
    try:
        # Not libVersion(): that needs an Endpoint, of which a process can have one at a time.
        version = metadata.version("pjsua2")
    except metadata.PackageNotFoundError as error:
        raise LocalError("pjsua2 does not say its version", remedy=REMEDY) from error
    if _numbers(version) < WANTED_VERSION:
        wanted = ".".join(map(str, WANTED_VERSION))
        raise LocalError(f"pjsua2 is {version}, older than {wanted}", remedy=REMEDY)
    calls = int(pj.EpConfig().uaConfig.maxCalls)
    if calls < WANTED_CALLS:
        raise LocalError(
            f"pjsua2 was built for {calls} calls at once, not {WANTED_CALLS}", remedy=REMEDY
        )
    return version


def has_ipv6() -> bool:
    """Whether the pjsua2 in use was built with IPv6: then its accounts may use it by default."""
    pj = importlib.import_module("pjsua2")
    return bool(pj.AccountConfig().sipConfig.ipv6Use != pj.PJSUA_IPV6_DISABLED)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))
