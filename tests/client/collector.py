"""The other end of the ingest socket, for tests that must say when it reads, answers and goes away."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import msgpack


def frames(data: bytes) -> tuple[list[Any], bytes]:
    """The whole msgpack objects at the front of `data`, and what is left."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(data)
    found, end = [], 0
    while True:
        try:
            found.append(unpacker.unpack())
        except msgpack.OutOfData:
            return found, data[end:]
        end = unpacker.tell()


def is_ack(frame: Any) -> bool:
    return isinstance(frame, dict) and "ack" in frame


def events(found: list[Any]) -> list[Any]:
    """Without the client's own requests and reports."""
    return [frame for frame in found if not is_ack(frame) and not is_report(frame)]


def is_report(frame: Any) -> bool:
    return isinstance(frame, dict) and str(frame.get("metric", "")).startswith("edgemon/")


class Listener:
    """A socket that a client may connect to, and nothing else happens."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "ingest.sock")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(8)
        self.socket.settimeout(20.0)
        self._clients: list[socket.socket] = []

    def accept(self) -> socket.socket:
        """The next client, and nothing is said."""
        client, _ = self.socket.accept()
        client.settimeout(20.0)
        self._clients.append(client)
        return client

    def welcome(self) -> socket.socket:
        """The next client; its first question is answered."""
        client = self.accept()
        assert client.recv(6) == msgpack.packb({"ack": 0})
        client.sendall(msgpack.packb({"ack": 0, "level": "memory"}))
        return client

    def close(self) -> None:
        self.socket.close()
        for client in self._clients:
            client.close()


class Collector:
    """Takes everything, confirms what it is asked for; a thread a client."""

    def __init__(self, folder: Path) -> None:
        self._listener = Listener(folder)
        self.path = self._listener.path
        self.frames: list[Any] = []
        self.left_over: list[bytes] = []
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._listener.socket.settimeout(0.05)
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                client = self._listener.accept()
                thread = threading.Thread(target=self._read, args=(client,))
                thread.start()
                self._threads.append(thread)

    def _read(self, client: socket.socket) -> None:
        rest = b""
        with client:
            while True:
                try:
                    data = client.recv(65536)
                except ConnectionResetError:  # it left without reading our last answer
                    data = b""
                if not data:
                    break
                found, rest = frames(rest + data)
                self.frames += found
                for frame in found:
                    if is_ack(frame):
                        with contextlib.suppress(BrokenPipeError):
                            client.sendall(msgpack.packb({"level": "memory"} | frame))
        if rest:
            self.left_over.append(rest)

    @property
    def events(self) -> list[Any]:
        return events(self.frames)

    @property
    def reports(self) -> list[Any]:
        return [frame for frame in self.frames if is_report(frame)]

    def stop(self) -> None:
        """After all clients have gone."""
        self._stopping = True
        self._accepting.join()
        for thread in self._threads:
            thread.join(20)
        self._listener.close()
