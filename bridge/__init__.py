# SPDX-License-Identifier: GPL-3.0-or-later
"""Call telephones from Matrix, and be called by them."""
