"""A monitor's configuration, what it is told, and what a receiver has of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from edgemon import EdgeMonitor
from edgemon.cli import main

CONFIG = """
[agent]
state_dir = "state"
run_dir = "run"
fleet = "shop"
[models."*"]
capture = "all"
[system]
enabled = false
[log]
level = "error"
{more}
[ship]
sink = "{sink}"
{ship}
"""


def write_config(folder: Path, sink: str = "file", ship: str = "", more: str = "") -> Path:
    path = folder / "edgemon.toml"
    path.write_text(CONFIG.format(sink=sink, ship=ship, more=more))
    return path


def received(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a receiver makes of all that was shipped into the folder."""
    database = folder / "received.db"
    assert main(["receive", str(folder / "state" / "outbox"), "--to", f"sqlite:{database}"]) == 0
    connection = sqlite3.connect(database)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def log(monitor: EdgeMonitor, numbers: range, name: str = "fraud") -> list[str]:
    keys = []
    for number in numbers:
        key = monitor.log_model_input({"number": number, "shop": f"s{number % 3}"}, name=name)
        monitor.log_model_output(key, number / 2)
        keys.append(key)
    return keys
