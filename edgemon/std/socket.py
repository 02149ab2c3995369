"""socket, whose constants are plain numbers here and whose sockets have no files and no copies."""

from __future__ import annotations

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import *  # noqa: F403
    from socket import SocketKind as SocketKind
else:
    from _socket import *  # noqa: F403
    from _socket import socket as _Socket

    class socket(_Socket):
        __slots__ = ("__weakref__",)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.close()

        def accept(self):
            fd, address = self._accept()
            return socket(fileno=fd), address
