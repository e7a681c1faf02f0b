# SPDX-License-Identifier: GPL-3.0-or-later
"""Session descriptions: parsed, matched and written for both legs. Pure.

`description` holds the values and writes them, `parser` reads them, `codecs` knows encodings,
`agreement` says what descriptions mean, `negotiation` makes offers and answers.
"""
