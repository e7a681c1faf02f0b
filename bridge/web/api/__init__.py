# SPDX-License-Identifier: GPL-3.0-or-later
"""The API for programs: accounts, routes, permissions, calls, and what happens."""
