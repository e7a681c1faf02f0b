# SPDX-License-Identifier: GPL-3.0-or-later
"""Audio in processes of its own, steered from the main one."""
