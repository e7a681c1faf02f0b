# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of what a person or a trunk may cost."""

from typing import Literal

from pydantic import Field

from bridge.config.base import Seconds, Section

NumberKind = Literal["premium_rate", "satellite", "shared_cost", "personal", "pager", "uan", "voip"]


class Bounds(Section):
    """Where a person or a trunk has other bounds than the rest; what is left out is as for them."""

    calls: int | None = Field(
        None,
        ge=1,
        description="Simultaneous calls; of a trunk, in both directions, but only outgoing ones "
        "are refused.",
    )
    calls_per_minute: int | None = Field(
        None, ge=1, description="Outgoing calls within any minute."
    )
    minutes_per_day: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Minutes of outgoing calls within 24 hours; a call counts until 24 hours after "
        "its end.",
    )
    max_duration: Seconds | None = Field(None, description="Seconds after which a call is ended.")
    allowed_prefixes: tuple[str, ...] = Field(
        (), description="E.164 prefixes that may be called; if there are any, no others."
    )
    forbidden_prefixes: tuple[str, ...] = Field(
        (), description="E.164 prefixes that may not be called. The longest prefix counts."
    )
    forbidden_kinds: tuple[NumberKind, ...] | None = Field(
        None, description="Kinds of numbers that may not be called."
    )
