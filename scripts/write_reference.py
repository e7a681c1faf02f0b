# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the files that are generated from the settings' models: the examples and the reference.

python -m scripts.write_reference
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from bridge.app.registration import registration_file
from bridge.config import AppService, Config
from bridge.config.reference import reference
from bridge.config.template import configuration

ROOT = Path(__file__).resolve().parent.parent


def generated() -> Mapping[str, str]:
    """Each generated file's path, from the top of the source tree, and its content."""
    service = AppService(
        as_token=SecretStr("as_token of config.yaml"), hs_token=SecretStr("hs_token of config.yaml")
    )
    return {
        "config.yaml.example": configuration(),
        "registration.yaml.example": registration_file(Config(appservice=service)),
        "docs/reference/configuration.md": reference(),
    }


def main() -> None:
    """Write every generated file."""
    for path, content in generated().items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
