"""A connected socket that counts its bytes, bounds what comes in and remembers what broke it.

paho wants five methods of a socket (its SocketLike) and turns every error into "connection lost".
It asks for the rest of a packet in one call, before it has room for it: here is where a packet
that is too large is refused.
"""

from __future__ import annotations

import errno
import time

from edgemon.ship.tls import ssl
from edgemon.std import socket
from edgemon.std.collections.abc import Callable

# Nothing that a broker has to tell us is larger: answers, and a receiver's confirmations.
MAX_INCOMING_BYTES = 16 * 1024
# Save for a desired configuration. What is larger than one may be, and below this, is refused with a reason.
MAX_DESIRED_BYTES = 64 * 1024
FIRST_BYTES = 8


class MeteredSocket:
    """sent_bytes, received_bytes: without what TLS, TCP and IP add.  error: what ended it.

    beginning: the first bytes that came, FIRST_BYTES at most.

    carried: told of each piece that went either way.  most_bytes: of one packet that comes.
    sent_at, received_at: when the last bytes went either way, monotonic seconds; before that, when it was made.
    """

    def __init__(
        self,
        sock: socket.socket,
        carried: Callable[[int], object] = lambda _: None,
        most_bytes: int = MAX_INCOMING_BYTES,
    ) -> None:
        self._sock = sock
        self._most_bytes = most_bytes
        self._carried = carried
        self.sent_bytes = 0
        self.received_bytes = 0
        self.sent_at = self.received_at = time.monotonic()
        self.beginning = b""
        self.error: OSError | None = None

    def recv(self, buffer_size: int) -> bytes:
        if buffer_size > self._most_bytes:
            self.error = OSError(errno.EMSGSIZE, f"it sent a packet of {buffer_size} bytes")
            raise self.error
        try:
            data = self._sock.recv(buffer_size)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.error = error
            raise
        if len(self.beginning) < FIRST_BYTES:
            self.beginning = (self.beginning + data)[:FIRST_BYTES]
        self.received_bytes += len(data)
        self.received_at = time.monotonic()
        if buffer_size > 1:  # packets begin with single bytes, which came with the rest
            self._carried(len(data))
        return data

    def send(self, buffer: bytes | bytearray) -> int:
        try:
            sent = self._sock.send(buffer)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.error = error
            raise
        self.sent_bytes += sent
        self.sent_at = time.monotonic()
        self._carried(sent)
        return sent

    def close(self) -> None:
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def pending(self) -> int:
        """Bytes that TLS has decrypted already: the descriptor will not say that they are there."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
