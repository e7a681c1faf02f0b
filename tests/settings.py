# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings as tests write them."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from bridge.config import Config, InvalidConfig, parse

TOKENS = "appservice: {as_token: ours, hs_token: theirs}\n"
KEY = {"MATRIX_SIP_DATABASE__SECRET_KEY": "what nobody could ever guess"}
TRUNK = "trunks: {provider: {server: sip.example.com}}\n"


def read(
    text: str, environment: Mapping[str, str] | None = None, directory: str = "/etc"
) -> Config:
    return parse(dedent(text), KEY | dict(environment or {}), directory=Path(directory))


def mistakes(
    text: str, environment: Mapping[str, str] | None = None, directory: str = "/etc"
) -> list[str]:
    """What is wrong with `text`, once good tokens are given."""
    with pytest.raises(InvalidConfig) as error:
        read(dedent(text) + TOKENS, environment, directory)
    return [str(each) for each in error.value.problems]
