"""A broker that misbehaves to order: it speaks just enough MQTT to say what a test wants said."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from tests.servers import HOST

CONNECT, PUBLISH, PINGREQ, DISCONNECT = 1, 3, 12, 14

PubackFor = Callable[[int], "bytes | None"]


def connack(reason: int = 0, properties: bytes = b"") -> bytes:
    """MQTT 5."""
    body = bytes([0, reason, len(properties)]) + properties
    return bytes([0x20, len(body)]) + body


def puback(mid: int, reason: int = 0) -> bytes:
    """MQTT 5."""
    return struct.pack("!BBHB", 0x40, 3, mid, reason)


def disconnect(reason: int) -> bytes:
    """MQTT 5."""
    return bytes([0xE0, 1, reason])


class ScriptedBroker:
    """Answers each connection in turn, in a thread.

    connack: what it answers to CONNECT, None for nothing.
    on_publish: number of the message in this connection, from 0, and its packet identifier -> answer.
    published: (topic, payload) of all that came.  pings: answered when `answer_pings`.
    """

    def __init__(
        self,
        *,
        connack: bytes | None = connack(),
        on_publish: Callable[[int, int], bytes | None] = lambda _number, mid: puback(mid),
        answer_pings: bool = True,
        close_after: int | None = None,
    ) -> None:
        self.connack = connack
        self.on_publish = on_publish
        self.answer_pings = answer_pings
        self.close_after = close_after
        self.published: list[tuple[str, bytes]] = []
        self.connections = 0
        self.pings = 0
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._current: socket.socket | None = None
        self._greeted: socket.socket | None = None  # has its answer to CONNECT
        self._sending = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Out of turn, to the client that has its answer to CONNECT; OSError when there is none."""
        with self._sending:
            if self._greeted is None:
                raise ConnectionError("nobody is connected")
            self._greeted.sendall(data)

    def close(self) -> None:
        self._closing = True
        for sock in (self._current, self._listener):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)
        self._listener.close()

    def _serve(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._current = sock
            self.connections += 1
            with sock, contextlib.suppress(OSError, EOFError):
                self._talk(sock)
            self._current = self._greeted = None

    def _talk(self, sock: socket.socket) -> None:
        number = 0
        while True:
            kind, body = self._read_packet(sock)
            answer: bytes | None = None
            if kind == CONNECT:
                answer = self.connack
            elif kind == PINGREQ:
                self.pings += 1
                answer = b"\xd0\x00" if self.answer_pings else None
            elif kind == DISCONNECT:
                return
            elif kind == PUBLISH:
                size = struct.unpack_from("!H", body)[0]
                topic = body[2 : 2 + size].decode()
                mid = struct.unpack_from("!H", body, 2 + size)[0]
                rest = body[4 + size :]
                self.published.append((topic, rest[1 + rest[0] :]))
                answer = self.on_publish(number, mid)
                number += 1
                if self.close_after is not None and number >= self.close_after:
                    return
            if answer:
                with self._sending:
                    sock.sendall(answer)
                    self._greeted = sock

    def _read_packet(self, sock: socket.socket) -> tuple[int, bytes]:
        first = self._read(sock, 1)[0]
        length = shift = 0
        while True:
            byte = self._read(sock, 1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first >> 4, self._read(sock, length)

    def _read(self, sock: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = sock.recv(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data
