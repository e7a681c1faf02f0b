# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls in encrypted rooms: every ghost has a device, and keys, of its own.

The rest of `bridge.matrix` knows the `Encryption` of `seam` alone; it is `NoEncryption` where the
settings or the homeserver want none.
"""
