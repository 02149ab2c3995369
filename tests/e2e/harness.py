"""Real processes of one edgemon on this machine: `edgemon run`, a receiver, and a client that remembers its acks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from edgemon import wire
from edgemon.control import request
from edgemon.errors import EdgemonError
from edgemon.records import Batch, Row
from tests.receive.processes import query
from tests.servers import wait_for

EDGEMON = [sys.executable, "-m", "edgemon"]


# Rows of all kinds leave at once, for a broker on this machine.
EVERYTHING_SHIPPED = """
[models."*"]
capture = "all"
window = "2s"
[system]
interval = "1s"
[batch]
max_age = "2s"
[ship]
sink = "mqtt"
max_interval = "1s"
[mqtt]
host = "127.0.0.1"
port = {port}
"""


class Part:
    """A process that a test starts and stops; the end of a `with` stops it where the test did not."""

    process: subprocess.Popen[bytes] | None = None

    def stop(self) -> int:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()


class Device(Part):
    """`edgemon run` in a folder of its own.  program: this edgemon, or another build of it.

    environment: added to this process's when it is started.
    """

    def __init__(self, folder: Path, toml: str, program: Sequence[str] = EDGEMON) -> None:
        self.folder = folder
        self._program = program
        self.environment: dict[str, str] = {}
        self.run_dir = folder / "run"
        self.outbox = folder / "state" / "outbox"
        (folder / "edgemon.toml").write_text(
            f'[agent]\nstate_dir = "state"\nrun_dir = "run"\n{toml}'
        )

    def start(self) -> None:
        with (self.folder / "run.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._program, "run"], cwd=self.folder, stderr=log, stdin=subprocess.DEVNULL,
                env=os.environ | self.environment,
            )  # fmt: skip
        wait_for(lambda: self.status() is not None, what="the agent answers")

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def log(self) -> str:
        return (self.folder / "run.log").read_text()

    def status(self, who: str = "agent") -> dict[str, Any] | None:
        """The agent's or the shipper's ("ship") status, None while it does not answer."""
        try:
            return request(str(self.run_dir / f"{who}.sock"), {"cmd": "status"}, 20.0)
        except EdgemonError:
            return None

    def kill_agent(self) -> None:
        """kill -9 of the agent alone; the supervisor starts another, which this waits for."""
        before = self.status()
        assert before is not None
        os.kill(before["pid"], signal.SIGKILL)

        def back() -> bool:
            now = self.status()
            return now is not None and now["pid"] != before["pid"]

        wait_for(back, what="the supervisor restarted the agent")

    def durable(self) -> dict[str, int]:
        """Kind -> the highest number that a batch on this device's disk ever had."""
        status = self.status()
        assert status is not None
        return {kind: usage["durable_seq"] for kind, usage in status["spool"]["kinds"].items()}

    def left(self, kind: str = "*") -> list[Batch]:
        """Batches of a kind ("*": of all) in the folder of its sink, kind by kind, oldest first."""
        found = []
        for path in sorted(self.outbox.glob(f"**/{kind}-*.zst")):
            with contextlib.suppress(FileNotFoundError):  # its name while it is written
                found.append(wire.decode(path.read_bytes()))
        return found

    def rows_left(self, kind: str) -> list[Row]:
        """The rows in them."""
        return [row for batch in self.left(kind) for row in wire.rows_from_columns(batch)]


class Application:
    """A client that sends numbered predictions as JSON lines and knows which were acknowledged as on disk."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._socket: socket.socket | None = None
        self.acknowledged = 0

    def connect(self) -> None:
        self.close()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60.0)
        self._socket.connect(str(self._device.run_dir / "ingest.sock"))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def write(self, first: int, count: int) -> None:
        """Send predictions and do not wait."""
        assert self._socket is not None
        lines = [json.dumps(prediction(number)) for number in range(first, first + count)]
        self._socket.sendall("\n".join(lines).encode() + b"\n")

    def send(self, first: int, count: int) -> None:
        """Send predictions first … first + count - 1 and wait until they are on disk."""
        self.write(first, count)
        self.settle(first + count)

    def settle(self, number: int) -> None:
        """Wait until all that was written, predictions up to that number, is on disk."""
        assert self._socket is not None
        self._socket.sendall(json.dumps({"ack": number, "level": "disk"}).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            chunk = self._socket.recv(4096)
            assert chunk, "the agent closed the connection"
            answer += chunk
        assert json.loads(answer) == {"ack": number, "level": "disk"}
        self.acknowledged = number

    def send_through(
        self, count: int, chunk: int, trials: Mapping[int, Callable[[], None]]
    ) -> None:
        """Send predictions 0 … count - 1, `chunk` at a time. trials: what happens before the prediction of a number."""
        self.connect()
        for first in range(0, count, chunk):
            if (trial := trials.get(first)) is not None:
                trial()
            self.send(first, chunk)
        self.close()

    def outlive_agent(self) -> None:
        """kill -9 of its agent, and a connection to the one that comes."""
        self._device.kill_agent()
        self.connect()


def prediction(number: int) -> dict[str, object]:
    """What the application says; every field is a function of the number."""
    return {
        "model": "fraud" if number % 10 else "churn",
        "version": 1 + number // 60_000,
        "id": number,
        "output": number / 7,
        "latency": (number % 50) / 1000,
        "features": {"amount": number * 0.01, "country": f"c{number % 5}"},
    }


class Receiver(Part):
    """`edgemon receive` from a broker into SQLite."""

    def __init__(self, folder: Path, url: str, *options: str) -> None:
        self.folder = folder
        self.database = folder / "fleet.db"
        self._command = [*EDGEMON, "receive", url, "--to", f"sqlite:{self.database}", *options]

    def start(self) -> None:
        seen = self.log().count("receiving")
        with (self.folder / "receive.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        # A message that nobody subscribes to is not kept by the broker.
        wait_for(lambda: self.log().count("receiving") > seen, what="the receiver is subscribed")

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        path = self.folder / "receive.log"
        return path.read_text() if path.exists() else ""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the database, [] while it is not there."""
        return query(self.database, sql)

    def count(self, table: str) -> int:
        rows = self.query(f"SELECT count(*) FROM {table}")
        return rows[0][0] if rows else 0
