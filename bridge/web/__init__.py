# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin listener: health and metrics."""
