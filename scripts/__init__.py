# SPDX-License-Identifier: GPL-3.0-or-later
"""What sets the project up, builds what no package index has, and runs its checks."""
