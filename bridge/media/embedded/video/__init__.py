# SPDX-License-Identifier: GPL-3.0-or-later
"""Video of a call: relayed packet by packet, what its receivers say passed on to its senders."""
