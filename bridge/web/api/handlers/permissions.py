# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what: by the configuration, and by what programs have set."""

from collections.abc import Iterator

from bridge.web.api import models as m
from bridge.web.api.backend import Backend
from bridge.web.api.handlers.reply import Reply, missing


async def list_permissions(backend: Backend) -> Reply:
    """All of them."""
    entries = sorted(_entries(backend), key=lambda entry: (entry.who, entry.source))
    return Reply(m.Permissions(permissions=entries))


async def get_permission(backend: Backend, path: m.WhoPath) -> Reply:
    """What is in force for somebody, by their very id or name."""
    for entry in _entries(backend):
        if entry.who == path.who and entry.in_force:
            return Reply(entry)
    raise missing("permission")


async def put_permission(backend: Backend, path: m.WhoPath, body: m.PermissionSettings) -> Reply:
    """Put one in force."""
    known = path.who in backend.provisioned.permissions
    await backend.set_permission(path.who, body.level)
    entry = m.PermissionEntry(who=path.who, level=body.level, source="api", in_force=True)
    return Reply(entry, 200 if known else 201)


async def delete_permission(backend: Backend, path: m.WhoPath) -> Reply:
    """Have it as the configuration says."""
    if path.who not in backend.provisioned.permissions:
        raise missing("permission")
    await backend.delete_permission(path.who)
    return Reply(status=204)


def _entries(backend: Backend) -> Iterator[m.PermissionEntry]:
    ours = backend.provisioned.permissions
    for who, level in ours.items():
        yield m.PermissionEntry(who=who, level=level, source="api", in_force=True)
    for who, level in backend.written.permissions.items():
        yield m.PermissionEntry(who=who, level=level, source="config", in_force=who not in ours)
