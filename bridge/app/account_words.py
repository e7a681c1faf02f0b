# SPDX-License-Identifier: GPL-3.0-or-later
"""People's SIP accounts, and what their servers say, in words."""

from bridge.records import SipAccount
from bridge.sip.trunks import Registration


def name_of(account: SipAccount) -> str:
    """An account as people write it."""
    return f"{account.username}@{account.domain or account.server}"


def sentence(registration: Registration, server: str) -> str:
    """Why a registration failed, for the person whose it is."""
    told = f"{registration.status} {registration.reason}".strip()
    match registration.status:
        case 401 | 403 | 407:
            return f"{server} refuses the user name or the password ({told})."
        case 404 | 604:
            return f"{server} knows no such account ({told})."
        case 408 | 0:
            return f"{server} does not answer."
        case 502 | 503:
            return f"{server} cannot be reached, or takes no registrations now ({told})."
    return f"{server} refuses the registration ({told})."
