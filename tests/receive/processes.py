"""The real command in a process of its own."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgemon.receive.sqlite import read_only
from tests.servers import wait_for


def edgemon(*words: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edgemon", *words],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )


class Receiver:
    """`edgemon receive` that runs; its standard error is in <folder>/log."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.log_file = folder / "log"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgemon", "receive", *words],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def log(self) -> str:
        return self.log_file.read_text()

    def wait_for_log(self, text: str, times: int = 1) -> None:
        def there() -> bool:
            assert self.process.poll() is None or text in self.log(), self.log()
            return self.log().count(text) >= times

        wait_for(there, what=f"{text!r} in the log:\n{self.log()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(30)
        if self.process.stdout:
            self.process.stdout.close()
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a database that another process writes; [] while it has no tables."""
    if not path.exists():
        return []
    connection = read_only(str(path), 5.0)
    try:
        return connection.execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()


def seqs(path: Path) -> list[object]:
    """All seqs of stored batches, ascending; one that is there twice would be here twice."""
    return [seq for (seq,) in query(path, "SELECT seq FROM batches ORDER BY seq")]
