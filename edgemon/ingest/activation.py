"""Sockets that somebody else opened for us: systemd (sd_listen_fds(3)), or the supervisor that it gave them to.

Descriptors from 3 on, with names that the units give them (FileDescriptorName=). systemd says in LISTEN_PID which
process they are for; the supervisor cannot know a child's pid before it starts it, and gives its agent alone their
names in EDGEMON_LISTEN_FDS.
"""

from __future__ import annotations

import os

from edgemon.errors import UsageError
from edgemon.std import socket
from edgemon.std.collections.abc import MutableMapping
from edgemon.typed import NamedTuple

FIRST_FD = 3
PASSED_ON = "EDGEMON_LISTEN_FDS"
_MOST = 64
# Names of sockets that are not for events.
METRICS = "metrics"


class Inherited(NamedTuple):
    """For events, a listening stream socket and one of datagrams, both of the Unix family.  metrics: the listening
    stream socket of that name, of any family.  None: there is none. All are non-blocking.
    """

    stream: socket.socket | None = None
    dgram: socket.socket | None = None
    metrics: socket.socket | None = None


NOTHING = Inherited()


def listen_fds(environ: MutableMapping[str, str]) -> dict[int, str]:
    """The descriptors that are for this process, and their names.

    They are closed in its children from now on, and the variables are gone, so that no child takes them for its own.
    """
    names = [name for name in environ.pop(PASSED_ON, "").split(":") if name]
    pid, count, given = (environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if not names and pid == str(os.getpid()) and count.isdecimal() and len(count) < 4:
        names = [*given.split(":"), *["unknown"] * int(count)][: int(count)]
    found = dict(enumerate(names[:_MOST], FIRST_FD))
    for fd, name in found.items():
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            raise UsageError(
                f"socket activation: descriptor {fd} ({name}) is not open: {error.strerror}"
            ) from None
    return found


def inherited(environ: MutableMapping[str, str]) -> Inherited:
    """Those descriptors as sockets. UsageError for one that nobody here can use, or for two of a kind."""
    found = NOTHING
    for fd, name in listen_fds(environ).items():
        try:
            sock = socket.socket(fileno=fd)
        except OSError:
            raise UsageError(
                f"socket activation: descriptor {fd} ({name}) is not a socket"
            ) from None
        is_unix = sock.family == socket.AF_UNIX
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        role = ""
        if sock.type == socket.SOCK_STREAM and listens:
            role = "metrics" if name == METRICS else "stream" if is_unix else ""
        elif sock.type == socket.SOCK_DGRAM and is_unix:
            role = "dgram"
        if not role or getattr(found, role) is not None:
            sock.detach()
            raise UsageError(
                f"socket activation: descriptor {fd} ({name}) must be a Unix socket, one of ListenStream= and one of "
                'ListenDatagram=, or have FileDescriptorName="metrics"'
            )
        sock.setblocking(False)
        found = found._replace(**{role: sock})
    return found


def pass_on(sockets: dict[int, str]) -> dict[str, str]:
    """What to add to the environment of a child that has those descriptors at the same numbers."""
    return {PASSED_ON: ":".join(name or "unknown" for name in sockets.values())} if sockets else {}
