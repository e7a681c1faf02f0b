# SPDX-License-Identifier: GPL-3.0-or-later
"""Session descriptions: parsed, matched and written for both legs. Pure."""
