# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure core: what a call is and what may happen to it. No I/O, no clock, no randomness."""
