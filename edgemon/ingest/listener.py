"""Where applications connect: the sockets of the configuration, and accepting from the one that has connections."""

from __future__ import annotations

import errno
import os
import struct

from edgemon.control import identity, listen
from edgemon.errors import StorageError
from edgemon.metrics import Counters
from edgemon.std import socket
from edgemon.std.collections.abc import Callable
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.ingest.server import Loop, ServerSettings

REFUSED = "edgemon_ingest_refused_connections_total"
# struct ucred of unix(7): pid, uid, gid.
CREDENTIALS = struct.Struct("3i")
_ACCEPTED_A_TURN = 16
# Descriptors or memory ran out; how long to wait before the next connection is tried.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ACCEPT_AGAIN_S = 1.0


class Listener:
    """Accepts from `sock`, some a turn of the loop.

    admit(sock, pid, uid): takes over each connection, and knows who wrote to it.
    path: of its file, which is ours to remove; "" where the socket was handed over.
    """

    def __init__(
        self,
        sock: socket.socket,
        path: str,
        loop: Loop,
        counters: Counters,
        admit: Callable[[socket.socket, int, int], None],
    ) -> None:
        self.sock = sock
        self._path = path
        self._file = identity(path) if path else None
        self._loop = loop
        self._counters = counters
        self._admit = admit
        self._stopped = False
        loop.add_reader(sock.fileno(), self.accept)

    def stop(self, *, take_in: bool) -> None:
        """Listen no more. take_in: accept all who are in the queue, unless it outlives us."""
        self._stopped = True
        self._loop.remove(self.sock.fileno())
        if self._path:
            while take_in and self._take_in():
                pass
            if self._file == identity(self._path):
                os.unlink(self._path)
        self.sock.close()

    def forget(self) -> None:
        """In a child that was forked: close what it inherited. The file is the parent's."""
        self.sock.close()

    def accept(self) -> None:
        """Take in who waits, some at once."""
        for _ in range(_ACCEPTED_A_TURN):
            if self._stopped or not self._take_in():
                return

    def _take_in(self) -> bool:
        """Accept one connection; False when there is none."""
        try:
            sock, _ = self.sock.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            self._counters.add(REFUSED, reason="accept_failed")
            if error.errno in _EXHAUSTED and not self._stopped:
                # The listener stays readable, and to ask again at once would spin.
                self._loop.remove(self.sock.fileno())
                self._loop.call_at(self._loop.now() + _ACCEPT_AGAIN_S, self._again)
            return False
        pid, uid, _gid = CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        )
        self._admit(sock, pid, uid)
        return True

    def _again(self) -> None:
        if not self._stopped:
            self._loop.add_reader(self.sock.fileno(), self.accept)


def bind(path: str, kind: socket.SocketKind, settings: ServerSettings) -> socket.socket:
    """A socket of that kind at `path`, with the mode and the group of the settings.

    A stale file is replaced; LockedError where a live process answers on it.
    """
    sock = listen(path, settings.mode, min(settings.max_clients, 128), kind)
    if settings.group:
        try:
            os.chown(path, -1, _group_id(settings.group))
        except (OSError, StorageError) as error:
            sock.close()
            os.unlink(path)
            if isinstance(error, StorageError):
                raise
            problem = f"cannot give {path} to group {settings.group}"
            raise StorageError(f"{problem}: {error.strerror}") from None
    return sock


def _group_id(name: str) -> int:
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise StorageError(f"ingest.group: no group {name!r} on this machine") from None
