"""A collector and a sink for edgemon, as Python entry points.

pip install ./edgemon-example

[plugins.tasks]
entry_point = "processes"

[ship]
sink = "plugin"
[plugins.store]
kind = "sink"
entry_point = "database"
options = { file = "/srv/batches.db" }
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from edgemon.plugins import Rejected


class Processes:
    """How many processes there are, and how many of them wait for a disk."""

    def start(self, options: dict[str, Any]) -> None:
        self._proc = options.get("proc", "/proc")

    def collect(self) -> dict[str, float]:
        states = [self._state(name) for name in os.listdir(self._proc) if name.isdigit()]
        return {"running": len(states) - states.count(""), "waiting_for_disk": states.count("D")}

    def _state(self, pid: str) -> str:
        try:
            with open(f"{self._proc}/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0]
        except OSError:  # it ended meanwhile
            return ""


class Database:
    """Batches into a table, each once: one that comes again is there already."""

    def start(self, options: dict[str, Any]) -> None:
        self._connection = sqlite3.connect(options["file"])
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS batch (stream, kind, seq, frame, PRIMARY KEY (stream, kind, seq))"
        )

    def send(self, batch: bytes, about: dict[str, Any]) -> None:
        """Returning acknowledges the batch. An exception means: again later; Rejected: never."""
        if not batch:
            raise Rejected("an empty batch")
        row = (about["stream"], about["kind"], about["seq"], batch)
        with self._connection:  # committed, and on the disk, when this is over
            self._connection.execute("INSERT OR IGNORE INTO batch VALUES (?, ?, ?, ?)", row)

    def stop(self) -> None:
        self._connection.close()
