"""A backlog of 500 MB leaves while the agent lives: speed, memory on the way, and how long a fresh event takes.

5,000 incompressible batches of 100 kB lie in the spool when `edgemon run` starts, with Mosquitto as the other
side (or the folder sink where there is none). At each quarter an event happens (a reload of the
configuration) and must overtake what waits.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.footprint import ENVIRONMENT, children, look
from edgemon import wire
from edgemon.config import load
from edgemon.control import AGENT_SOCKET, SHIP_SOCKET, request
from edgemon.errors import EdgemonError
from edgemon.metrics import Counters
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.writer import Spool
from tests.servers import Mosquitto, mosquitto_program, wait_for
from tests.ship.rig import make_batch, rows_of

BATCHES = 5_000
BATCH_BYTES = 100_000
QUARTERS = (0, 25, 50, 75, 100)
MB = 1_000_000


def main(batches: int = BATCHES) -> None:
    home = Path(tempfile.mkdtemp(prefix="em-", dir="/tmp"))
    broker = Mosquitto(home / "mosquitto") if mosquitto_program() is not None else None
    process: subprocess.Popen[bytes] | None = None
    try:
        if broker is not None:
            broker.start()
        _configure(home, broker.port if broker is not None else 0)
        size = _fill(home, batches)
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "edgemon", "run", "--config", "edgemon.toml"],
                cwd=home,
                env=ENVIRONMENT,
                stderr=log,
            )
        _watch(home, process, batches, size, "Mosquitto" if broker is not None else "a folder")
    finally:
        if process is not None:
            process.terminate()
            process.wait(60)
        if broker is not None:
            broker.stop()
        shutil.rmtree(home, ignore_errors=True)


def _configure(home: Path, port: int) -> None:
    ship = f'sink = "mqtt"\n[mqtt]\nhost = "127.0.0.1"\nport = {port}\n'
    if not port:
        ship = 'sink = "file"\nfolder_max_bytes = "2GiB"\n'
    (home / "edgemon.toml").write_text(
        f'[agent]\nstate_dir = "state"\nrun_dir = "run"\n[spool]\nmax_size = "2GiB"\n[ship]\n{ship}'
    )


def _fill(home: Path, batches: int) -> int:
    """Write the backlog as an agent would have; its size."""
    spool = Spool(OsFileSystem(), load(str(home / "edgemon.toml")).spool, counters=Counters())
    spool.open()
    size = 0
    for _ in range(batches):
        seq = spool.next_seq("pred")
        rows = rows_of("pred", seq, 1)
        rows[0]["blob"] = os.urandom(BATCH_BYTES)
        frame = wire.encode(make_batch("pred", seq, rows, spool.stream_id.hex()), level=1)
        spool.append("pred", seq, frame, rows=1, first_wall_ms=0, last_wall_ms=0)
        size += len(frame)
        if seq % 50 == 0:
            spool.sync()
    assert spool.close()
    return size


def _watch(
    home: Path, process: subprocess.Popen[bytes], batches: int, size: int, side: str
) -> None:
    begun = time.monotonic()
    ship = _when_it_answers(home, SHIP_SOCKET)
    _when_it_answers(home, AGENT_SOCKET)
    first = time.monotonic()
    print(f"{size / MB:.0f} MB in {batches:,} batches, to {side}\n")
    print("| drained | agent RSS, MB | shipper RSS, MB | a fresh event is acknowledged after, ms |")
    print("|---|---|---|---|")
    pids = children(process.pid)
    delays = []
    for quarter in QUARTERS:
        goal = batches * quarter // 100

        def reached(goal: int = goal) -> bool:
            return bool(ship()["acked"]["pred"] >= goal)

        wait_for(reached, 300, f"{quarter} % are acknowledged")
        if quarter == QUARTERS[-1]:
            took_s = time.monotonic() - first
        agent_rss, ship_rss = look(pids["agent"]).rss, look(pids["ship"]).rss
        delays.append(_overtake(process.pid, ship))
        print(
            f"| {quarter} % | {agent_rss / MB:.1f} | {ship_rss / MB:.1f} | {1000 * delays[-1]:.0f} |",
            flush=True,
        )
    print(
        f"\n{size / MB / took_s:.0f} MB/s; started in {first - begun:.1f} s;"
        f" an event waits {1000 * statistics.median(delays):.0f} ms (median)"
    )


def _overtake(pid: int, ship: Callable[[], dict[str, Any]]) -> float:
    """Seconds from a reload until one more event is acknowledged."""
    before = ship()["acked"]["event"]
    begun = time.monotonic()
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: ship()["acked"]["event"] > before, 60, "the event overtakes")
    return time.monotonic() - begun


def _when_it_answers(home: Path, name: str) -> Callable[[], dict[str, Any]]:
    path = str(home / "run" / name)

    def answers() -> bool:
        try:
            request(path, {"cmd": "status"}, 10.0)
        except EdgemonError:
            return False
        return True

    wait_for(answers, 120, f"{name} answers")
    return lambda: request(path, {"cmd": "status"}, 10.0)


if __name__ == "__main__":
    main()
