# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls through the whole bridge, with software that this project did not write."""
