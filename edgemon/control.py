"""The local control socket of a process: one JSON line in, one JSON line out.

    >>> request("/run/edgemon/agent.sock", {"cmd": "status"}, timeout_s=2.0)   # doctest: +SKIP
    {'ok': True, 'uptime_s': 12.5, ...}

A request is an object with a `cmd`; the reply is what the handler of that name returned, or
`{"error": "one line"}`. A connection may carry several requests, one after the other.

Bounds, and the policy at each: a request line of MAX_REQUEST_BYTES (longer: an error, and the
connection is closed), MAX_CLIENTS connections (one more: the one that was silent longest is
closed), a reply of MAX_REPLY_BYTES at the client (longer: an error). The server never blocks: a
client that does not read its reply holds its own connection and nothing else.

Access is the file's mode, 0600: who may open the socket may ask anything.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from edgemon import log
from edgemon.errors import EdgemonError, LockedError, UnreachableError, UsageError
from edgemon.std import json, socket
from edgemon.std.collections.abc import Callable
from edgemon.std.contextlib import suppress

# How long the shipper waits for the agent's answer: the one thing that holds its loop, and only while an agent hangs.
PATIENCE_S = 1.0
MAX_REQUEST_BYTES = 64 * 1024
MAX_REPLY_BYTES = 4 * 1024 * 1024
MAX_CLIENTS = 8
MAX_PATH_BYTES = 107  # sun_path without its final zero
# Names in agent.run_dir.
AGENT_SOCKET = "agent.sock"
SHIP_SOCKET = "ship.sock"
# Environment variable of a supervised process: read end of a pipe that ends when the supervisor is gone.
PARENT_FD = "EDGEMON_PARENT_FD"

Message = dict[str, object]
Handler = Callable[[Message], Message]

_READ = select.EPOLLIN
_WRITE = select.EPOLLOUT


class _Client:
    __slots__ = ("closing", "received", "sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.unsent = memoryview(b"")
        self.closing = False  # close once `unsent` is out


class ControlServer:
    """Answers on a Unix socket from inside the caller's loop.

    Watch `fileno()` for reading and call `on_readable()` when it is ready: one descriptor stands
    for the listener and all clients (it is an epoll instance).

    path: at most 107 bytes. A socket file that nobody answers on is replaced; one that a live
    process answers on raises LockedError.
    handlers: cmd -> function of the request. An EdgemonError becomes the error line of the reply.
    Any other exception is our own mistake: it is logged and answered too, since no question may
    stop a monitor.
    """

    def __init__(self, path: str, handlers: dict[str, Handler]) -> None:
        self.path = path
        self._handlers = handlers
        self._clients: dict[int, _Client] = {}  # by descriptor, the longest silent first
        self._listener = listen(path)
        self._identity = identity(path)
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), _READ)

    def fileno(self) -> int:
        """The one descriptor to watch for reading."""
        return self._epoll.fileno()

    def on_readable(self) -> None:
        """Do what can be done now; return at once."""
        for fd, _ in self._epoll.poll(0, MAX_CLIENTS + 1):
            if fd == self._listener.fileno():
                self._accept()
                continue
            client = self._clients.get(fd)
            if client is None:
                continue  # closed while this round was handled
            try:
                alive = self._serve(client)
            except BlockingIOError:
                continue
            except OSError:
                alive = False  # reset or broken pipe: a client that did not wait for its answer
            if not alive:
                self._drop(client)

    def close(self) -> None:
        """Stop answering and remove the socket file, unless another process has replaced it."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._epoll.close()
        self._listener.close()
        if self._identity == identity(self.path):
            os.unlink(self.path)

    def forget(self) -> None:
        """In a child that was forked: close what it inherited. The file and the connections are the parent's."""
        self._listener.close()
        for client in self._clients.values():
            client.sock.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # the client went away, or descriptors ran out: it may try again
        sock.setblocking(False)
        if len(self._clients) >= MAX_CLIENTS:
            self._drop(next(iter(self._clients.values())))
        self._clients[sock.fileno()] = _Client(sock)
        self._epoll.register(sock.fileno(), _READ)

    def _drop(self, client: _Client) -> None:
        fd = client.sock.fileno()
        self._clients.pop(fd, None)
        self._epoll.unregister(fd)
        client.sock.close()

    def _serve(self, client: _Client) -> bool:
        """Read, answer one request and write, as far as it goes; False when the connection is over.

        One request a round, so that a client that sends thousands at once cannot hold the loop.
        """
        if not client.unsent and not _has_request(client):
            chunk = client.sock.recv(MAX_REQUEST_BYTES + 1)
            if not chunk:
                return False
            self._clients[client.sock.fileno()] = self._clients.pop(client.sock.fileno())
            client.received += chunk
        if not client.unsent and _has_request(client):
            reply = self._answer(client)
            line = json.dumps(reply, separators=(",", ":"), default=str) + "\n"
            client.unsent = memoryview(line.encode())
        if client.unsent:
            client.unsent = client.unsent[client.sock.send(client.unsent, socket.MSG_NOSIGNAL) :]
        if client.closing and not client.unsent:
            return False
        waiting = client.unsent or _has_request(client)
        self._epoll.modify(client.sock.fileno(), _WRITE if waiting else _READ)
        return True

    def _answer(self, client: _Client) -> Message:
        end = client.received.find(b"\n")
        if end < 0 or end > MAX_REQUEST_BYTES:
            client.closing = True
            return {"error": f"the request is longer than {MAX_REQUEST_BYTES} bytes"}
        line = bytes(client.received[:end])
        del client.received[: end + 1]
        return self._handle(line)

    def _handle(self, line: bytes) -> Message:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {"error": f"the request is not JSON: {error}"}
        name = message.get("cmd") if isinstance(message, dict) else None
        handler = self._handlers.get(name) if isinstance(name, str) else None
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return {"error": f"unknown command {name!r}; known are {known}"}
        try:
            return handler(message)
        except EdgemonError as error:
            return {"error": str(error)}
        except Exception as error:
            log.error("a control command failed", cmd=name, error=repr(error))
            return {"error": f"{name} failed: {error!r}"}


def request(
    path: str, message: Message, timeout_s: float = 2.0, *, who: str = "agent"
) -> dict[str, object]:
    """Ask the process behind `path` and wait for its answer, `timeout_s` in all.

    who: "agent" | "shipper", for the error lines.  Raises UnreachableError when nobody answers and
    EdgemonError when the answer is an error.
    """
    deadline = time.monotonic() + timeout_s
    _check_path(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(path)
            sock.sendall(json.dumps(message).encode() + b"\n")
            line = _read_line(sock, deadline)
        except PermissionError as error:
            raise UnreachableError(
                f"no permission to talk to the {who} on {path}; run this as the {who}'s user"
            ) from error
        except TimeoutError as error:
            raise UnreachableError(
                f"the {who} on {path} did not answer within {timeout_s:g} s"
            ) from error
        except OSError as error:
            raise UnreachableError(
                f"no {who} answers on {path}; is `edgemon run` running?"
            ) from error
    try:
        reply = json.loads(line)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise UnreachableError(f"what answers on {path} is not an edgemon {who}")
    if "error" in reply:
        raise EdgemonError(str(reply["error"]))
    return reply


def nudge(path: str, *, alarm: bool = False) -> bool:
    """Tell the process behind `path` that there is work. See `tell`.

    alarm: that the work is an alarm, which may start a burst.
    """
    return tell(path, {"cmd": "nudge"} | ({"alarm": True} if alarm else {}))


def tell(path: str, message: Message) -> bool:
    """Send a command and do not wait for its answer. Never blocks; False when nobody took it.

    It may be lost: who waits for one must look for work from time to time by itself.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
            sock.send(json.dumps(message).encode() + b"\n", socket.MSG_NOSIGNAL)
        except OSError:
            return False
    return True


def _has_request(client: _Client) -> bool:
    return b"\n" in client.received or len(client.received) > MAX_REQUEST_BYTES


def make_run_dir(path: str) -> None:
    """Make the folder of the sockets, where it is not there yet.

    Open to all, as /run is: who may connect is decided by each socket's own mode and group, which a folder
    that only its owner can enter would take away.
    """
    os.makedirs(path, mode=0o755, exist_ok=True)


def listen(
    path: str,
    mode: int = 0o600,
    backlog: int = MAX_CLIENTS,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> socket.socket:
    """A non-blocking Unix socket that listens on `path`, with that file mode from its first instant. A stream, or
    with kind SOCK_DGRAM one of datagrams, which has no backlog.

    A socket file that nobody answers on is replaced. LockedError when a live process answers there,
    UnreachableError when it cannot be made.
    """
    _check_path(path)
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.setblocking(False)
        # Before bind, so that the file never has a wider mode: Linux takes it from this inode, less the umask.
        os.fchmod(sock.fileno(), mode)
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_stale(path, kind)
            sock.bind(path)
        os.chmod(path, mode)  # bind took the umask off
        if kind == socket.SOCK_STREAM:
            sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise UnreachableError(f"cannot listen on {path}: {error.strerror or error}") from error
    except EdgemonError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str, kind: socket.SocketKind) -> None:
    """Remove a socket file that nobody answers on; anything else stays where it is."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise UnreachableError(f"cannot listen on {path}: a file that is no socket is there")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            pass
        except OSError:
            # Its queue is full, or it is a socket of another kind.
            raise LockedError(f"another process holds {path}") from None
        else:
            raise LockedError(f"another process answers on {path}")
    with suppress(FileNotFoundError):
        os.unlink(path)


def _read_line(sock: socket.socket, deadline: float) -> bytes:
    """One line without its end. Raises TimeoutError at the deadline, OSError when it ends early."""
    received = bytearray()
    while b"\n" not in received:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        sock.settimeout(left_s)
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "closed without an answer")
        received += chunk
        if len(received) > MAX_REPLY_BYTES:
            raise UnreachableError(f"the answer is longer than {MAX_REPLY_BYTES} bytes")
    return bytes(received.partition(b"\n")[0])


def _check_path(path: str) -> None:
    size = len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise UsageError(f"{path}: {size} bytes, a socket's path may have {MAX_PATH_BYTES}")


def identity(path: str) -> tuple[int, int] | None:
    """Which file is there now, None for none: another one in its place is another identity."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def parent_fd() -> int | None:
    """The pipe's read end to watch, None when nobody supervises this process."""
    value = os.environ.get(PARENT_FD, "")
    return int(value) if value.isdecimal() else None
