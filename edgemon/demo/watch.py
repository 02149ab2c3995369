"""What the view knows of edgemon: the status of agent and shipper, and the receiver's database.

Both are looked at from outside, as a person could: the control sockets that `edgemon status` asks, and
the SQLite file, opened read-only.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from edgemon.control import request
from edgemon.demo.again import Again
from edgemon.demo.stage import Stage
from edgemon.errors import EdgemonError
from edgemon.receive.sqlite import read_only

_LOOK_EVERY_S = 0.4
_TIMEOUT_S = 2.0


class StreamDrift(NamedTuple):
    """One stream against its reference. d, threshold_d: KS distances, 0 to 1.  n: values in the window."""

    stream: str
    d: float
    threshold_d: float
    n: int
    window: int
    drifted: bool


class Arrived(NamedTuple):
    """What is in the receiver's database. alarms: stream -> number of the prediction that raised it.
    ended: the agent's farewell is there."""

    predictions: int = 0
    batches: int = 0
    alarms: Mapping[str, int] = {}
    ended: bool = False


class Snapshot(NamedTuple):
    """One look. durable, acked: the highest batch of each kind that is on the device's disk, and the
    highest that the broker took. Peaks are the most resident memory so far, bytes."""

    durable: Mapping[str, int] = {}
    acked: Mapping[str, int] = {}
    connected: bool = False
    drift: tuple[StreamDrift, ...] = ()
    arrived: Arrived = Arrived()
    agent_peak_bytes: int = 0
    ship_peak_bytes: int = 0

    @property
    def waiting(self) -> int:
        """Batches on the device's disk that the broker does not have."""
        return sum(max(0, seq - self.acked.get(kind, 0)) for kind, seq in self.durable.items())


class Watch(Again):
    """Looks again and again, in a thread of its own, until the `with` ends; `latest` is the last look.

    A look that fails, because a process is not there yet or no more, keeps what was known.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__("watch", _LOOK_EVERY_S)
        self.latest = Snapshot()
        self._stage = stage

    def turn(self) -> None:
        self.latest = look(self._stage, self.latest)


def look(stage: Stage, before: Snapshot) -> Snapshot:
    """A new snapshot; what does not answer stays as it was `before`."""
    now = before._replace(arrived=arrived(stage.database) or before.arrived)
    with contextlib.suppress(EdgemonError):
        now = _with_agent(now, request(stage.agent_socket, {"cmd": "status"}, _TIMEOUT_S))
    try:
        ship = request(stage.ship_socket, {"cmd": "status"}, _TIMEOUT_S, who="shipper")
    except EdgemonError:
        return now._replace(connected=False)
    return now._replace(
        connected=ship.get("connected") is True,
        acked={kind: _int(seq) for kind, seq in _map(ship.get("acked")).items()},
        ship_peak_bytes=max(now.ship_peak_bytes, peak_bytes(_int(ship.get("pid")))),
    )


def _with_agent(now: Snapshot, status: Mapping[str, object]) -> Snapshot:
    kinds = _map(_map(status.get("spool")).get("kinds"))
    models = status.get("models")
    drift = [
        _stream_drift(_map(entry))
        for model in (models if isinstance(models, list) else [])
        for entry in _map(model).get("drift", [])  # type: ignore[attr-defined]
    ]
    return now._replace(
        durable={kind: _int(_map(usage).get("durable_seq")) for kind, usage in kinds.items()},
        drift=tuple(drift),
        agent_peak_bytes=max(
            now.agent_peak_bytes, _int(status.get("rss_bytes")), peak_bytes(_int(status.get("pid")))
        ),
    )


def _stream_drift(entry: Mapping[str, object]) -> StreamDrift:
    return StreamDrift(
        str(entry.get("stream", "")).removeprefix("f:"),
        _float(entry.get("d")),
        _float(entry.get("threshold_d")),
        _int(entry.get("n")),
        _int(entry.get("window")),
        bool(entry.get("drifted")),
    )


def arrived(database: str) -> Arrived | None:
    """None while there is no database that can be read."""
    try:
        with open_read_only(database) as db:
            batches, predictions = db.execute(
                "SELECT count(*), coalesce(sum(rows) FILTER (WHERE kind = 'pred'), 0) FROM batches"
            ).fetchone()
            events = db.execute(
                "SELECT type, stream, data FROM events WHERE type IN ('drift.started', 'agent.stopped')"
                " ORDER BY time_ns"
            ).fetchall()
    except sqlite3.Error:
        return None
    alarms: dict[str, int] = {}
    for kind, stream, data in events:
        if kind == "drift.started":
            number = json.loads(data or "{}").get("prediction")
            alarms.setdefault(stream.removeprefix("f:"), _int(number))
    return Arrived(predictions, batches, alarms, any(row[0] == "agent.stopped" for row in events))


@contextlib.contextmanager
def open_read_only(database: str) -> Iterator[sqlite3.Connection]:
    """The receiver's database, without a chance to change it. sqlite3.Error when it is not there."""
    connection = read_only(database, _TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process ever had; 0 where /proc does not say."""
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _int(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
