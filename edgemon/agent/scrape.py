"""The page at /metrics, served by the agent's own loop: the least of HTTP that a scraper needs.

GET alone, one request a connection, no body, nothing of a request is used but its path and Accept.
Bounds, and the policy at each: MAX_CLIENTS connections (one more: the oldest is closed), a head of
MAX_HEAD_BYTES (longer: 431), DEADLINE_S from accept to the last byte (then closed), one page made in
PAGE_S seconds (others get the same). The shipper's figures are asked for at its control socket without
waiting for them longer than SHIP_S; where they do not come, the page says `edgemon_ship_up 0`.
"""

from __future__ import annotations

import errno
import os
import time

from edgemon import log
from edgemon.agent.exposition import OPENMETRICS, TEXT, page
from edgemon.agent.loop import Loop, Timer
from edgemon.agent.status import report
from edgemon.config.settings import MetricsSettings
from edgemon.control import MAX_REPLY_BYTES, identity, listen
from edgemon.errors import LockedError, UnreachableError
from edgemon.metrics import Counters
from edgemon.std import json, socket
from edgemon.std.collections.abc import Callable
from edgemon.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgemon.agent.agent import Agent

MAX_CLIENTS = 8
BACKLOG = 64
MAX_HEAD_BYTES = 8192
DEADLINE_S = 10.0
PAGE_S = 1.0
SHIP_S = 1.0

Status = dict[str, Any]

_CLOSED = "edgemon_metrics_closed_connections_total"
_UNIX_ONLY = (errno.EAFNOSUPPORT, errno.EPERM, errno.EACCES)


class MetricsPort:
    """Listens until `stop`.

    make(ship, openmetrics): one page from the shipper's status, None where it does not answer.
    inherited: a socket that listens already (activation); then settings.listen is not looked at.
    """

    def __init__(
        self,
        settings: MetricsSettings,
        loop: Loop,
        counters: Counters,
        make: Callable[[Status | None, bool], bytes],
        ship_socket: str,
        inherited: socket.socket | None = None,
    ) -> None:
        self._loop = loop
        self._counters = counters
        self._make = make
        self._ship_socket = ship_socket
        self._path = ""
        self._file: tuple[int, int] | None = None
        self._clients: dict[int, _Client] = {}  # the oldest first
        self._waiting: list[_Client] = []
        self._question: _Question | None = None
        self._pages: dict[bool, bytes] = {}
        self._made_s = -PAGE_S
        if inherited is not None:
            self._listener = inherited
        elif settings.listen.startswith("/"):
            self._path = settings.listen
            self._listener = listen(settings.listen, settings.mode, BACKLOG)
            self._file = identity(settings.listen)
        else:
            self._listener = _tcp(settings.listen)
        loop.add_reader(self._listener.fileno(), self._accept)

    def stop(self) -> None:
        """Close everything; a socket file that is ours goes."""
        self._loop.remove(self._listener.fileno())
        self._listener.close()
        if self._question is not None:
            self._question.close()
        for client in list(self._clients.values()):
            self._close(client)
        if self._path and self._file == identity(self._path):
            os.unlink(self._path)

    def forget(self) -> None:
        """In a child that was forked: close what it inherited. The file and the connections are the parent's."""
        self._listener.close()
        for client in self._clients.values():
            client.sock.close()

    # -- connections

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # it went away, or descriptors ran out: it may try again
        sock.setblocking(False)
        if len(self._clients) >= MAX_CLIENTS:
            self._counters.add(_CLOSED, reason="too_many")
            self._close(next(iter(self._clients.values())))
        client = _Client(sock)
        self._clients[client.fd] = client
        self._loop.add_reader(client.fd, lambda: self._read(client))
        client.timer = self._loop.call_at(self._loop.now() + DEADLINE_S, lambda: self._late(client))

    def _late(self, client: _Client) -> None:
        self._counters.add(_CLOSED, reason="too_slow")
        self._close(client)

    def _close(self, client: _Client) -> None:
        if self._clients.pop(client.fd, None) is None:
            return
        if client.timer is not None:
            client.timer.cancel()
        if client in self._waiting:
            self._waiting.remove(client)
        self._loop.remove(client.fd)
        client.sock.close()

    def _read(self, client: _Client) -> None:
        try:
            chunk = client.sock.recv(MAX_HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._close(client)
            return
        if client.asked:
            return  # what comes after a request is not looked at
        client.head += chunk
        end = client.head.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(client.head) > MAX_HEAD_BYTES):
            self._refuse(client, "431 Request Header Fields Too Large", "the head is too long")
        elif end >= 0:
            self._answer(client, bytes(client.head[:end]))

    def _answer(self, client: _Client, head: bytes) -> None:
        line, _, fields = head.partition(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            self._refuse(client, "400 Bad Request", "this is not HTTP/1")
        elif words[0] != b"GET":
            self._refuse(client, "405 Method Not Allowed", "GET alone", "Allow: GET\r\n")
        elif words[1].partition(b"?")[0] != b"/metrics":
            self._refuse(client, "404 Not Found", "the figures are at /metrics")
        else:
            client.asked = True
            client.openmetrics = b"application/openmetrics-text" in fields.lower()
            client.head.clear()
            self._waiting.append(client)
            self._ask()

    # -- the page

    def _ask(self) -> None:
        if self._loop.now() - self._made_s < PAGE_S:
            self._give()
        elif self._question is None:
            self._question = _Question(self._loop, self._ship_socket, self._answered)

    def _answered(self, ship: Status | None) -> None:
        self._question = None
        try:
            self._pages = {kind: self._make(ship, kind) for kind in (False, True)}
        except (
            Exception
        ) as error:  # our own mistake, or a stranger's answer: no question may stop a monitor
            log.error("the page of metrics could not be made", error=repr(error))
            waiting, self._waiting = self._waiting, []
            for client in waiting:
                self._refuse(client, "500 Internal Server Error", "see the agent's log")
            return
        self._made_s = self._loop.now()
        self._give()

    def _give(self) -> None:
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            kind = OPENMETRICS if client.openmetrics else TEXT
            self._send(client, "200 OK", kind, self._pages[client.openmetrics])

    # -- the answer

    def _refuse(self, client: _Client, status: str, problem: str, more: str = "") -> None:
        client.asked = True
        self._counters.add("edgemon_metrics_refused_requests_total", reason=status[:3])
        self._send(client, status, "text/plain; charset=utf-8", f"{problem}\n".encode(), more)

    def _send(self, client: _Client, status: str, kind: str, body: bytes, more: str = "") -> None:
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{more}Connection: close\r\n\r\n"
        )
        client.unsent = memoryview(head.encode() + body)
        self._write(client)

    def _write(self, client: _Client) -> None:
        if client.fd not in self._clients or self._clients[client.fd] is not client:
            return  # closed while this round was handled
        try:
            client.unsent = client.unsent[client.sock.send(client.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._close(client)
            return
        if client.unsent:
            self._loop.set_writer(client.fd, lambda: self._write(client))
        else:
            self._close(client)


def port_of(agent: Agent, ship_socket: str, inherited: socket.socket | None = None) -> MetricsPort:
    """The agent's page, on its own loop."""

    def make(ship: Status | None, openmetrics: bool) -> bytes:
        return page(report(agent), ship, time.time(), openmetrics=openmetrics)

    return MetricsPort(
        agent.config.metrics, agent.loop, agent.counters, make, ship_socket, inherited
    )


class _Client:
    __slots__ = ("asked", "fd", "head", "openmetrics", "sock", "timer", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.head = bytearray()
        self.asked = False
        self.openmetrics = False
        self.unsent = memoryview(b"")
        self.timer: Timer | None = None


class _Question:
    """Asks a control socket for its status without waiting; `answered` is called once, at the latest
    after SHIP_S, and not before this constructor has returned."""

    def __init__(self, loop: Loop, path: str, answered: Callable[[Status | None], None]) -> None:
        self._loop = loop
        self._answered = answered
        self._received = bytearray()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._over = False
        wait_s = SHIP_S
        try:
            self._sock.connect(path)
            self._sock.send(b'{"cmd":"status"}\n', socket.MSG_NOSIGNAL)
            loop.add_reader(self._sock.fileno(), self._read)
        except OSError:
            wait_s = 0.0
        self._timer = loop.call_at(loop.now() + wait_s, lambda: self._end(None))

    def close(self) -> None:
        """Ask no more; nobody is called."""
        if not self._over:
            self._over = True
            self._timer.cancel()
            self._loop.remove(self._sock.fileno())
            self._sock.close()

    def _read(self) -> None:
        try:
            chunk = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._received += chunk
        if self._received.endswith(b"\n"):
            self._end(_status(self._received))
        elif not chunk or len(self._received) > MAX_REPLY_BYTES:
            self._end(None)

    def _end(self, status: Status | None) -> None:
        self.close()
        self._answered(status)


def _status(line: bytes | bytearray) -> Status | None:
    try:
        status = json.loads(line)
    except ValueError:
        return None
    return status if isinstance(status, dict) and "error" not in status else None


def _tcp(listen_on: str) -> socket.socket:
    """A loopback port, as the configuration has checked it."""
    host, _, port = listen_on.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot(listen_on, error) from error
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host.strip("[]"), int(port)))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise LockedError(
                f"metrics.listen: another process listens on {listen_on}; choose another port"
            ) from error
        raise _cannot(listen_on, error) from error
    return sock


def _cannot(listen_on: str, error: OSError) -> UnreachableError:
    problem = f"metrics.listen: cannot listen on {listen_on}: {error.strerror or error}"
    if error.errno in _UNIX_ONLY:
        problem += (
            "; the agent's unit allows Unix sockets alone: give a path, or let systemd hand the port over "
            "(docs/looking.md)"
        )
    return UnreachableError(problem)
