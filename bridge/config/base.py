# SPDX-License-Identifier: GPL-3.0-or-later
"""What all sections of the settings are made of."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Transport = Literal["udp", "tcp", "tls"]
NumberStyle = Literal["e164", "plain", "international", "national"]
Port = Annotated[int, Field(ge=1, le=65535)]
Days = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _off(value: Any) -> Any:
    return "off" if value is False else value


Off = BeforeValidator(_off)
"""Of settings that can be off: YAML takes a bare `off` for false."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
