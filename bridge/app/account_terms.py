# SPDX-License-Identifier: GPL-3.0-or-later
"""What people's own SIP accounts may be, by the settings, and how they are read and used."""

import re
from collections.abc import Callable
from typing import Final, cast

from pydantic import SecretStr

from bridge.call.ids import UserId
from bridge.config import Accounts, Transport, Trunk
from bridge.config.checks_sip import is_server
from bridge.errors import Unfit
from bridge.records import SipAccount
from bridge.sip.lookup import split_host_port

_WRITTEN: Final = re.compile(
    r"(?:(?P<scheme>sips?):)?(?P<server>[^;@\s]+)(?:;transport=(?P<transport>udp|tcp|tls))?", re.I
)
_UNPRINTABLE: Final = "User name and password cannot have characters that are not printable."
_NO_USER: Final = "That is not a user name; wanted is one like alice or alice@example.com."


class AccountTerms:
    """`allowed`: the settings in force. `may_use`: whether a person may have calls."""

    def __init__(self, allowed: Callable[[], Accounts], may_use: Callable[[UserId], bool]) -> None:
        self._allowed = allowed
        self._may_use = may_use

    def read(
        self, person: UserId, server: str, username: str, password: str, auth_username: str
    ) -> SipAccount:
        """The account that a person asks for. Raises Unfit.

        `server` may begin with `sips:` and end in `;transport=tcp`.
        """
        written = _WRITTEN.fullmatch(server.strip())
        if written is None or not is_server(written["server"]):
            raise _unfit("server", "That is not a server; wanted is a name like sip.example.com.")
        if not username.strip() or not password:
            raise _unfit("username", "An account needs a user name and a password.")
        if any(not character.isprintable() for character in username + auth_username + password):
            raise _unfit("username", _UNPRINTABLE)
        if why := self._why_not(person, written["server"]):
            raise _unfit("server" if self._may_use(person) else "person", why)
        user, _, domain = username.strip().removeprefix("sip:").partition("@")
        if domain and not is_server(domain):
            raise _unfit("username", _NO_USER)
        domain = domain.lower()
        secure = (written["scheme"] or "").lower() == "sips"
        transport = (
            written["transport"] or ("tls" if secure else self._allowed().transport)
        ).lower()
        if why := self._is_open(transport):
            raise _unfit("transport", why)
        return SipAccount(
            person=person,
            server=written["server"].lower(),
            transport=cast(Transport, transport),
            username=user,
            domain="" if domain in ("", written["server"].lower()) else domain,
            auth_username=auth_username.strip(),
            password=password,
        )

    def why_not_used(self, account: SipAccount) -> str:
        """Why an account must not be used, for the person; empty if it may."""
        return self._why_not(account.person, account.server) or self._is_open(account.transport)

    def _why_not(self, person: UserId, server: str) -> str:
        if not self._may_use(person):
            return "You are not allowed to use this bridge."
        servers = {each.lower() for each in self._allowed().servers}
        if not servers:
            return "This bridge is not set up for SIP accounts of its users."
        if not {"*", server.lower(), split_host_port(server)[0].lower()} & servers:
            wanted = ", ".join(sorted(servers))
            return f"This bridge does not allow accounts there, but with {wanted}."
        return ""

    def _is_open(self, transport: str) -> str:
        """Why nobody is to have an account by a transport: keys could be read there."""
        if self._allowed().srtp != "required" or transport == "tls":
            return ""
        return "This bridge allows accounts by TLS only: alice@sip.example.com;transport=tls."

    def trunk_of(self, account: SipAccount) -> tuple[Trunk, bool]:
        """An account as a trunk, and whether its mailbox is to be asked for."""
        allowed = self._allowed()
        trunk = Trunk(
            server=account.server,
            transport=account.transport,
            register=True,
            username=account.username,
            domain=account.domain,
            auth_username=account.auth_username,
            password=SecretStr(account.password),
        )
        common = allowed.model_dump(include={"early_media", "srtp", "dtmf"})
        return trunk.model_copy(update=common), allowed.mailboxes


def _unfit(field: str, sentence: str) -> Unfit:
    return Unfit(sentence, [(field, sentence)])
