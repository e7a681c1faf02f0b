# SPDX-License-Identifier: GPL-3.0-or-later
"""The composition root: the only part that names concrete adapters, and the command line."""
