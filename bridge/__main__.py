# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of `matrix-sip` and `python -m bridge`."""

from bridge.app.cli import commands


def main() -> None:
    """Run the command line."""
    commands(prog_name="matrix-sip")


if __name__ == "__main__":
    main()
