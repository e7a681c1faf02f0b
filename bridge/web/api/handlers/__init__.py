# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done for each endpoint, but for the stream of events."""
