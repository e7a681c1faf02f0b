# SPDX-License-Identifier: GPL-3.0-or-later
"""Input that is made to reach what it did not reach before (atheris, libFuzzer)."""
