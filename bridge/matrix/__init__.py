# SPDX-License-Identifier: GPL-3.0-or-later
"""The Matrix side: application service, ghosts, portals, call events."""
