# SPDX-License-Identifier: GPL-3.0-or-later
"""Session descriptions: parsed, matched and written for both legs. Pure.

`description` holds the values and writes them, `parser` reads them, `codecs` knows encodings,
`sdes` knows keys for SRTP, `agreement` says what descriptions mean, `ends` are ours, `negotiation`
makes offers and answers.
"""
