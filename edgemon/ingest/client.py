"""One connected application: what is known of it, what it is answered, and what of it waits in the kernel."""

from __future__ import annotations

import fcntl
import select

from edgemon.std import socket
from edgemon.std.collections.abc import Iterable
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.ingest.server import Server

_MAX_REPLY_BYTES = 64 * 1024
# Of asm-generic/ioctls.h, as on x86 and ARM: termios has it too, and terminals besides.
_FIONREAD = 0x541B


class Client:
    """One connected application. peer: its (pid, uid) when it connected."""

    __slots__ = (
        "_out",
        "_server",
        "bucket",
        "connection",
        "ended",
        "fd",
        "heard_s",
        "peer",
        "received_bytes",
        "resting",
        "sock",
        "waiting_acks",
    )

    def __init__(self, server: Server, sock: socket.socket, peer: tuple[int, int]) -> None:
        self._server = server
        self._out = bytearray()
        self.sock = sock
        self.fd = sock.fileno()
        self.peer = peer
        self.connection = server.new_connection()
        self.connection.on_complaint = self._complain
        self.received_bytes = 0
        self.waiting_acks = 0  # for the disk, counted by whoever answers them
        self.heard_s = server.loop.now()
        self.resting = False  # not read: above its rate, or its answers are not
        self.ended = False  # it has written its last, and waits for answers
        self.bucket = server.new_bucket()

    def reply(self, message: dict[str, object]) -> None:
        """Answer in the client's encoding, soon: the answers of one turn leave in one write."""
        if self.fd < 0:
            self._server.counters.add("edgemon_ingest_lost_replies_total")
            return
        self._out += self.connection.encode(message)
        self._server.flush_soon(self)

    def _complain(self, complaint: str) -> None:
        """Tell of the first bad event of a connection, before the acks that come after it."""
        self._server.tell(f"event refused: {complaint}", self.peer)
        self.reply({"error": complaint})

    def flush(self) -> None:
        """Send what the kernel takes. Who does not read is not read, and is closed where 64 KiB of answers wait."""
        if self.fd < 0:
            return
        try:
            sent = self.sock.send(self._out, socket.MSG_NOSIGNAL) if self._out else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._server.counters.add("edgemon_ingest_lost_replies_total")
            left = isinstance(error, BrokenPipeError | ConnectionResetError)
            if not left or not self._server.reading:
                self._server.close_client(self, reason="gone")
                return
            sent = len(self._out)  # what it had written before is still read, up to its end
        del self._out[:sent]
        if len(self._out) > _MAX_REPLY_BYTES:
            self._server.close_client(self, reason="replies_not_read")
            return
        if self.ended and not self.awaits:
            self._server.close_client(self, reason="gone")
            return
        self._server.loop.set_writer(self.fd, self.flush if self._out else None)
        self._server.mind(self)

    @property
    def owes(self) -> bool:
        """Whether answers wait for it to read."""
        return bool(self._out)

    @property
    def awaits(self) -> bool:
        """Whether it has answers to get, written or still to come."""
        return bool(self._out) or self.waiting_acks > 0

    def close(self) -> None:
        """Let go of the socket and of every buffer: a token may keep the client itself until its disk answers."""
        self.sock.close()
        self.fd = -1
        self._out = bytearray()
        self.connection = self._server.new_connection()


def who_yields(clients: Iterable[Client], pid: int) -> Client | None:
    """Who is closed for a connection of this process: the longest silent of the process that has most of them. None
    where that has no more than the other would have: it would only turn the injustice round.
    """
    held: dict[int, list[Client]] = {}
    for client in clients:
        held.setdefault(client.peer[0], []).append(client)
    most = max(held.values(), key=len)
    if len(most) <= len(held.get(pid, ())) + 1:
        return None
    return min(most, key=lambda client: client.heard_s)


def is_gone(sock: socket.socket) -> bool:
    """Whether the other end has closed both halves: nobody reads an answer any more."""
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


def pending_bytes(sock: socket.socket) -> int:
    """What waits in the kernel for this end to read."""
    waiting = bytearray(4)
    fcntl.ioctl(sock.fileno(), _FIONREAD, waiting)
    return int.from_bytes(waiting, "little")
