# SPDX-License-Identifier: GPL-3.0-or-later
"""The template: a process with all that a media worker needs loaded, and copied for each of them.

Loading takes a second of CPU and 50 MB; a copy takes neither. Standard input is a socket, on which
each message brings a worker's end of its pair. It is told of each worker that has ended: its
number, and `wait`'s status. When the other end is closed, there will be no more workers.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys


def main() -> None:
    """Copy this process until nobody wants it any more."""
    gc.disable()  # Nothing that is loaded is garbage, and a copy looks for what it makes itself.
    from bridge.media.workers import process  # noqa: F401

    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # The main process decides when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # No copy is to keep it open.
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno())
    gc.freeze()  # What is never looked at stays shared.
    while True:
        readable, _, _ = select.select([control, woken], [], [])
        if woken in readable:
            woken.recv(64)
            _tell_of_ended(control)
        if control in readable:
            sockets = wanted(control)
            if not sockets:
                signal.set_wakeup_fd(-1)  # Workers may end yet, and nobody is left to be woken.
                return
            if os.fork() == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (control, woken, waker):
                    each.close()
                _work(socket.socket(fileno=sockets[0]))
            os.close(sockets[0])


def wanted(control: socket.socket) -> list[int]:
    """The socket that another copy is to serve; none at the end."""
    try:
        return socket.recv_fds(control, 16, 1)[1]
    except ConnectionResetError:  # The other end was closed before it had read of everything.
        return []


def _work(sock: socket.socket) -> None:
    """Be a worker to the end."""
    from bridge.media.workers import process

    gc.enable()
    status = 1
    try:
        process.serve(sock)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def _tell_of_ended(control: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with contextlib.suppress(OSError):
                control.send(f"{pid} {status}".encode())


if __name__ == "__main__":
    main()
