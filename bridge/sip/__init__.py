# SPDX-License-Identifier: GPL-3.0-or-later
"""The SIP side: pjsua2 endpoint, trunks, dialogs."""
