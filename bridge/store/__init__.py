# SPDX-License-Identifier: GPL-3.0-or-later
"""The database: portals, seen events, calls and their ladders."""
