"""The README's quick start, run as it is printed there."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

from edgemon.cli import main

README = Path(__file__).parents[2] / "README.md"


def test_the_quick_start_of_the_readme_runs_as_it_is_printed(short_tmp: Path) -> None:
    blocks = re.findall(r"```(toml|python)\n(.*?)```", README.read_text(), re.DOTALL)
    (place,) = [place for place, (_, text) in enumerate(blocks) if "EdgeMonitor(" in text]
    (before, toml), (_, code) = blocks[place - 1 : place + 1]
    assert before == "toml"
    assert len(code.splitlines()) == 10
    (short_tmp / "edgemon.toml").write_text(toml)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=short_tmp, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (promised,) = re.findall(r"print\(.*\)  # (.*)\n", code)
    assert done.stdout == f"{promised}\n"
    database = short_tmp / "received.db"
    outbox = str(short_tmp / "state" / "outbox")
    assert main(["receive", outbox, "--to", f"sqlite:{database}"]) == 0
    connection = sqlite3.connect(database)
    assert connection.execute("SELECT sum(n) FROM windows WHERE stream = ''").fetchall() == [
        (2000,)
    ]
    alarms = connection.execute("SELECT DISTINCT stream FROM events WHERE severity = 'alarm'")
    assert alarms.fetchall() == [("f:amount",)]
    connection.close()
