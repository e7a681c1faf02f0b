# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a request says that it is from, in the headers that its trunk wants."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from bridge.sip.messages import quoted
from bridge.sip.trunks import DEFAULT_USER, USER_SAFE, Route

ANONYMOUS: Final = '"Anonymous" <sip:anonymous@anonymous.invalid>'
"""RFC 3323 section 4.1.1.3."""
_NAMES: Final = {
    "p_asserted_identity": "P-Asserted-Identity",
    "p_preferred_identity": "P-Preferred-Identity",
    "remote_party_id": "Remote-Party-ID",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """From, and the headers that say more about who calls."""

    origin: str
    headers: dict[str, str] = field(default_factory=dict)


def origin_of(route: Route, number: str, name: str = "", *, withheld: bool = False) -> Origin:
    """How a call of `number` begins by a trunk; empty: of the trunk's own account.

    `withheld`: the network learns who calls, whom it calls does not (RFC 3323, RFC 3325).
    """
    trunk = route.trunk
    number = number or trunk.caller_id
    party = _party(route, number or trunk.username, name)
    shown = {_NAMES[each] for each in trunk.identity if each in _NAMES}
    headers = {}
    # Whom From names already, nothing else has to name.
    if number or withheld:
        headers = {header: party + _marks(header, withheld) for header in sorted(shown)}
    if withheld:
        headers["Privacy"] = "id"
    return Origin(_from(route, number, name, withheld=withheld), headers)


def _from(route: Route, number: str, name: str, *, withheld: bool) -> str:
    if withheld:
        return ANONYMOUS if route.trunk.anonymous_from else _party(route, route.trunk.username, "")
    named = "from" in route.trunk.identity
    return _party(route, number if named and number else route.trunk.username, name)


def _party(route: Route, user: str, name: str) -> str:
    domain = route.trunk.from_domain or route.domain
    return f"{quoted(name)}<sip:{quote(user or DEFAULT_USER, safe=USER_SAFE)}@{domain}>"


def _marks(header: str, withheld: bool) -> str:
    if header != _NAMES["remote_party_id"]:
        return ""
    return f";party=calling;screen=no;privacy={'full' if withheld else 'off'}"
