# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of `matrix-sip` and `python -m bridge`."""

import gc


def main() -> None:
    """Run the command line."""
    # Nothing that is loaded is garbage, and looking for some would take a sixth of the start.
    gc.disable()
    from bridge.app.cli import commands

    commands(prog_name="matrix-sip")


if __name__ == "__main__":
    main()
