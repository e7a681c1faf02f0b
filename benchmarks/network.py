# SPDX-License-Identifier: GPL-3.0-or-later
"""Where `benchmarks.media` runs: a network of its own, with an address that is not loopback's.

Janus does not gather that one.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from tests.simulators.isolation import ExtraNetwork, isolate_for_good, isolated

HOST: Final = "198.51.100.1"


@contextlib.contextmanager
def network() -> Iterator[None]:
    """Be there. Raises OSError where the system does not let people make namespaces."""
    if os.geteuid() != 0:
        isolate_for_good()
    with (
        isolated() if os.geteuid() == 0 else contextlib.nullcontext(),
        ExtraNetwork(HOST, name="media"),
    ):
        yield
