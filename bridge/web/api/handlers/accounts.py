# SPDX-License-Identifier: GPL-3.0-or-later
"""People's own SIP accounts."""

from bridge.call.ids import UserId
from bridge.web.api import models as m
from bridge.web.api.backend import AccountView, Backend
from bridge.web.api.handlers.reply import Reply, missing


async def list_accounts(backend: Backend) -> Reply:
    """Everybody's accounts."""
    return Reply(m.Accounts(accounts=[_account(view) for view in backend.accounts()]))


async def get_account(backend: Backend, path: m.PersonPath) -> Reply:
    """A person's own account."""
    view = backend.account(UserId(path.person))
    if view is None:
        raise missing("account")
    return Reply(_account(view))


async def put_account(backend: Backend, path: m.PersonPath, body: m.AccountSettings) -> Reply:
    """Register with an account; keep it if that works."""
    person = UserId(path.person)
    before = backend.account(person)
    transport = f";transport={body.transport}" if body.transport else ""
    await backend.log_in(
        person,
        body.server + transport,
        f"{body.username}@{body.domain}" if body.domain else body.username,
        body.password.get_secret_value(),
        body.auth_username,
    )
    view = backend.account(person)
    if view is None:
        raise missing("account")  # Somebody has logged out already.
    return Reply(_account(view), 200 if before else 201)


async def delete_account(backend: Backend, path: m.PersonPath) -> Reply:
    """Log out."""
    if not await backend.log_out(UserId(path.person)):
        raise missing("account")
    return Reply(status=204)


def _account(view: AccountView) -> m.Account:
    account = view.account
    return m.Account(
        person=account.person,
        server=account.server,
        transport=account.transport,
        username=account.username,
        domain=account.domain,
        auth_username=account.auth_username,
        state=view.state,
        status=view.status,
        reason=view.reason,
    )
