"""An ingest server in this process, with real connections."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from edgemon.agent.loop import Loop
from edgemon.ingest.client import Client
from edgemon.ingest.protocol import Limits, Record
from edgemon.ingest.server import Server, ServerSettings
from edgemon.metrics import Counters
from edgemon.records import AckRequest

EVENT = b'{"model":"m","output":1}\n'
REFUSED = "edgemon_ingest_refused_connections_total"
CLOSED = "edgemon_ingest_closed_connections_total"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Harness:
    """A server, its loop, and all that it took in."""

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.monotonic, **changes: object
    ) -> None:
        settings = ServerSettings(
            path=str(path / "ingest.sock"), mode=0o662, group="", allow_uids=(), max_clients=4, max_rate=0.0,
            limits=Limits(),
        )  # fmt: skip
        self.loop = Loop(clock)
        self.counters = Counters()
        self.records: list[Record] = []
        self._sockets: list[socket.socket] = []
        self.server = Server(settings._replace(**changes), self.loop, self.counters, self._take)  # type: ignore[arg-type]
        self.server.start()

    def _take(self, client: Client, records: list[Record]) -> None:
        for record in records:
            if isinstance(record, AckRequest):
                client.reply({"ack": record.token, "level": record.level})
            else:
                self.records.append(record)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(30.0)
        self._sockets.append(client)
        client.connect(self.server.settings.path)
        return client

    def close(self) -> None:
        self.server.stop()
        for client in self._sockets:
            client.close()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30.0
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            self.loop.turn(0.05)

    def answer(self, client: socket.socket) -> bytes:
        """What the server writes back; b"" when it closed the connection."""
        client.setblocking(False)
        received = b""

        def arrived() -> bool:
            nonlocal received
            try:
                received = client.recv(65536)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                received = b""
            return True

        self.until(arrived)
        return received
