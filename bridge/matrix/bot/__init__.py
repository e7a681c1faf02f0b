# SPDX-License-Identifier: GPL-3.0-or-later
"""The bot: what people ask of the bridge in a chat with it."""
