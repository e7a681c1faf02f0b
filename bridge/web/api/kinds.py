# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of values that the API takes."""

import re
from typing import Annotated, Final

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints

_SERVER: Final = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_PERSON: Final = rf"@[!-9;-~]+:{_SERVER}"
# https://spec.matrix.org/v1.15/appendices/#user-identifiers
_LONGEST: Final = 255

Person = Annotated[
    str,
    StringConstraints(pattern=rf"^{_PERSON}$", max_length=_LONGEST),
    Field(description="A Matrix id.", examples=["@person:example.org"]),
]
Who = Annotated[
    str,
    StringConstraints(pattern=rf"^(?:\*|{_PERSON}|{_SERVER})$", max_length=_LONGEST),
    Field(description="A Matrix id, a server name, or `*`.", examples=["example.org"]),
]
RuleName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$"),
    Field(description="What the rule is called.", examples=["sales"]),
]
Call = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9A-Za-z-]{1,64}$"),
    Field(description="A call's id, as in every line of its log.", examples=["5f3c9a12-7"]),
]
# RFC 3339 section 5.6; pydantic would take a number for seconds since the epoch.
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})",
    re.IGNORECASE,
)


def _as_written(value: object) -> object:
    if isinstance(value, str) and not _TIME.fullmatch(value):
        raise ValueError("no time")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_as_written)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\u0000-\u001f\u007f]*$", max_length=_LONGEST)]
"""Text without control characters, which no database and no header can have."""
SomeLine = Annotated[
    str, StringConstraints(pattern=r"^[^\u0000-\u001f\u007f]+$", max_length=_LONGEST)
]
