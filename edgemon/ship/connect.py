"""A TCP or TLS connection, made without ever blocking the loop.

    connector = Connector("broker.example", 8883, timeout_s=10.0, tls=context)
    connector.start(now)
    … watch() / handle(fd, now) / tick(now) / deadline() …
    connector.socket, or connector.failure in one line

The name is resolved in a forked child that writes the addresses into a pipe: getaddrinfo() blocks
for as long as the resolver likes, and a shipper has no threads. A numeric address and "localhost"
need no child. All steps together have `timeout_s`; with several addresses each gets its share.
"""

from __future__ import annotations

import errno
import os
import selectors

from edgemon.ship.sink import NEVER
from edgemon.ship.tls import ssl
from edgemon.std import json, signal, socket

MAX_ADDRESSES = 8
_MAX_ANSWER_BYTES = 4096
# What the kernel may hold of our data. Small, so that on a slow link a keep-alive is not stuck
# behind minutes of batches, and what is in flight is really in flight.
_SEND_BUFFER_BYTES = 64 * 1024

Address = tuple[int, str]  # family, numeric host


class Connector:
    """One attempt. Exactly one of `socket` and `failure` is set at the end.

    tls: a context to wrap the connection with, None for none.
    """

    def __init__(
        self, host: str, port: int, timeout_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.timeout_s = timeout_s
        self.socket: socket.socket | None = None
        self.failure = ""
        self._tls = tls
        self._addresses: list[Address] = []
        self._pending: socket.socket | None = None
        self._handshake: ssl.SSLSocket | None = None
        self._handshake_wants = 0
        self._child = 0
        self._pipe = -1
        self._answer = b""
        self._deadline = NEVER
        self._step_deadline = NEVER
        self._first_failure = ""

    # -- driven by the loop

    def start(self, now: float) -> None:
        self._deadline = now + self.timeout_s
        known = _known_addresses(self.host, self.port)
        if known:
            self._addresses = known
            self._next_address(now)
        else:
            self._begin_resolve()

    @property
    def finished(self) -> bool:
        return self.socket is not None or bool(self.failure)

    def watch(self) -> dict[int, int]:
        if self.finished:
            return {}
        if self._pipe >= 0:
            return {self._pipe: selectors.EVENT_READ}
        if self._handshake is not None:
            return {self._handshake.fileno(): self._handshake_wants}
        if self._pending is not None:
            return {self._pending.fileno(): selectors.EVENT_WRITE}
        return {}

    def handle(self, fd: int, now: float) -> None:
        if self._pipe >= 0:
            self._read_answer(now)
        elif self._handshake is not None:
            self._advance_handshake(now)
        elif self._pending is not None:
            self._finish_connect(now)

    def tick(self, now: float) -> None:
        if self.finished:
            return
        if self._pipe >= 0 and now >= self._deadline:
            self._end_resolve()
            self._fail(f"cannot resolve {self.host!r} within {self.timeout_s:g} s")
        elif now >= min(self._deadline, self._step_deadline):
            step = "finish the TLS handshake" if self._handshake is not None else "answer"
            self._address_failed(f"{self._where} does not {step} in time", now)

    def deadline(self) -> float:
        return NEVER if self.finished else min(self._deadline, self._step_deadline)

    def close(self) -> None:
        """Give up what is under way. `socket`, once made, belongs to the caller."""
        self._end_resolve()
        for sock in (self._pending, self._handshake):
            if sock is not None:
                sock.close()
        self._pending = self._handshake = None

    # -- the name

    def _begin_resolve(self) -> None:
        self._pipe, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._child = os.fork()
        if self._child == 0:
            _resolve_and_exit(self.host, self.port, write_end)
        os.close(write_end)

    def _read_answer(self, now: float) -> None:
        try:
            chunk = os.read(self._pipe, _MAX_ANSWER_BYTES)
        except BlockingIOError:
            return
        self._answer += chunk
        if chunk and len(self._answer) < _MAX_ANSWER_BYTES:
            return
        self._end_resolve()
        try:
            answer = json.loads(self._answer)
        except ValueError:
            answer = "the resolver process ended without an answer"
        if isinstance(answer, str):
            self._fail(f"cannot resolve {self.host!r}: {answer}")
            return
        self._addresses = [(family, host) for family, host in answer]
        self._next_address(now)

    def _end_resolve(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if self._child:
            os.kill(self._child, signal.SIGKILL)  # no-op for one that has ended and is not reaped
            os.waitpid(self._child, 0)
            self._child = 0

    # -- the connection

    def _next_address(self, now: float) -> None:
        while self._addresses:
            share = (self._deadline - now) / len(self._addresses)
            family, host = self._addresses.pop(0)
            self._step_deadline = now + share
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex((host, self.port))
            if code in (0, errno.EINPROGRESS):
                self._pending = sock
                return
            sock.close()
            self._first_failure = self._first_failure or self._explain(code)
        self._fail(self._first_failure or f"{self.host} has no address")

    def _finish_connect(self, now: float) -> None:
        sock = self._pending
        assert sock is not None
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._address_failed(self._explain(code), now)
            return
        self._pending = None
        if self._tls is None:
            self.socket = sock
            return
        self._step_deadline = NEVER  # this address answers: the handshake has all the time left
        self._handshake = self._tls.wrap_socket(
            sock, server_hostname=self.host, do_handshake_on_connect=False
        )
        self._advance_handshake(now)

    def _advance_handshake(self, now: float) -> None:
        sock = self._handshake
        assert sock is not None
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self._handshake_wants = selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            self._handshake_wants = selectors.EVENT_WRITE
        except OSError as error:
            # A server that answers is the one that was meant: no other address is tried.
            self._fail(f"TLS with {self._where}: {explain_tls(error, self.host)}")
        else:
            self.socket, self._handshake = sock, None

    def _address_failed(self, reason: str, now: float) -> None:
        """The next address, unless all time is used up."""
        self.close()
        self._first_failure = self._first_failure or reason
        if now < self._deadline:
            self._next_address(now)
        else:
            self._fail(self._first_failure)

    def _fail(self, reason: str) -> None:
        self.close()
        self.failure = reason

    @property
    def _where(self) -> str:
        return f"{self.host}:{self.port}"

    def _explain(self, code: int) -> str:
        if code == errno.ECONNREFUSED:
            return f"{self._where} refuses connections; is the broker running there?"
        return f"{self._where} cannot be reached: {os.strerror(code)}"


def explain_tls(error: OSError, host: str) -> str:
    """What a TLS failure means to the person who wrote the configuration, without a full stop."""
    if isinstance(error, ssl.SSLCertVerificationError):
        message = error.verify_message.rstrip(".")
        if "Hostname mismatch" in message or "IP address mismatch" in message:
            return f"the server's certificate is not valid for the name {host!r} (mqtt.host)"
        if "expired" in message:
            return "the server's certificate has expired (or this device's clock is wrong)"
        if "not yet valid" in message:
            return "the server's certificate is not yet valid (or this device's clock is wrong)"
        return f"the server's certificate is not trusted: {message} (mqtt.ca_file)"
    if isinstance(error, ssl.SSLEOFError | ConnectionResetError):
        return "the server closed the connection; does this port speak TLS?"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        if "wrong version number" in reason or "record layer failure" in reason:
            return "this port does not speak TLS (mqtt.tls, mqtt.port)"
        if "alert" in reason:
            return f"the server refuses us: {reason} (mqtt.cert_file, mqtt.key_file)"
        return reason
    return error.strerror or str(error)


def _known_addresses(host: str, port: int) -> list[Address]:
    """Addresses that need no resolver; empty when the host is a name."""
    if host == "localhost":  # RFC 6761, section 6.3
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    if not host.isascii():
        return []
    try:
        found = socket.getaddrinfo(
            host.encode(),  # text would load the tables of international names
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_NUMERICHOST,
        )
    except OSError:
        return []
    return [(family, str(address[0])) for family, _, _, _, address in found]


def _resolve_and_exit(host: str, port: int, write_end: int) -> None:
    """In the child. Never returns, runs none of the parent's clean-up, heeds signals."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        answer: str | list[Address]
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer = [(family, str(address[0])) for family, _, _, _, address in found]
            answer = answer[:MAX_ADDRESSES]
        except OSError as error:
            answer = error.strerror or str(error)
        os.write(write_end, json.dumps(answer).encode())
    finally:
        os._exit(0)
