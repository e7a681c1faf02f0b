# SPDX-License-Identifier: GPL-3.0-or-later
"""A call each way, on this machine only: `python -m demo`, or `make demo`."""
