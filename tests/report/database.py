"""A receiver's database, filled by hand."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from edgemon.receive.sqlite import SqliteStore
from edgemon.report.database import read
from edgemon.report.figures import Selection
from edgemon.report.page import html

S = 1_000_000_000
T0 = 1_700_000_000 * S
CURVES = {"x": [0.0, 1.0, 2.0], "reference": [0.2, 0.6, 1.0], "current": [0.1, 0.3, 1.0]}
ALARM = json.dumps({"by": "ks", "D": 0.3, "at": 1.0, "curves": CURVES})


class Db:
    """A database of the receiver's own tables, filled by hand."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        SqliteStore(self.path).close()
        self.connection = sqlite3.connect(self.path)
        self._row = 0

    def batch(self, device: str = "dev", kind: str = "agg", seq: int = 1) -> int:
        columns = {
            "device": device, "stream_id": "0" * 32, "kind": kind, "seq": seq, "fleet": "f", "boot": "0" * 32,
            "wall_ns": T0, "mono_ns": 0, "dropped": 0, "rows": 1, "frame_bytes": 100, "received_ns": T0,
            "resource": "{}",
        }  # fmt: skip
        return self._insert("batches", columns)

    def window(
        self, batch: int, at_s: float, stream: str = "", model: str = "m", **more: Any
    ) -> None:
        self._row += 1
        end = T0 + round(at_s * S)
        self._insert("windows", {
            "batch": batch, "row": self._row, "start_ns": end - 60 * S, "end_ns": end, "model": model,
            "version": "1", "stream": stream, "n": 600, "profile": "p",
        } | more)  # fmt: skip

    def event(self, batch: int, at_s: float, kind: str, stream: str = "", **more: Any) -> None:
        self._row += 1
        self._insert("events", {
            "batch": batch, "row": self._row, "time_ns": T0 + round(at_s * S), "type": kind, "severity": "alarm",
            "model": "m", "version": "1", "stream": stream, "message": f"{kind} of {stream}",
        } | more)  # fmt: skip

    def sample(self, batch: int, at_s: float, name: str, value: float) -> None:
        self._row += 1
        self._insert("samples", {
            "batch": batch, "row": self._row, "time_ns": T0 + round(at_s * S), "name": name, "value": value,
        })  # fmt: skip

    def _insert(self, table: str, columns: dict[str, Any]) -> int:
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        done = self.connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(columns.values())
        )
        assert done.lastrowid is not None
        return done.lastrowid

    def page(self, **selection: Any) -> str:
        self.connection.commit()
        return html(read(self.path, Selection(**selection)), "fleet.db", T0)
