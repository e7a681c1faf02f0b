# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells systemd how the service stands; sd_notify(3) in the few lines that it takes."""

import os
import socket

import structlog

log = structlog.get_logger(__name__)


def notify(message: str) -> None:
    """Send `READY=1` or the like, if anybody listens; never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(message.encode(), address)
    except OSError as error:
        log.warning("systemd cannot be told", message=message, error=str(error))
