# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the bridge can be relied upon: steady calls for long, and calls while things fail."""
