# SPDX-License-Identifier: GPL-3.0-or-later
"""Media engines: what carries the audio of a call between its two legs."""
