"""How fast a backlog leaves, and in how much memory: a real spool, a real shipper, Mosquitto or a folder.

500 incompressible batches of 100 kB. RSS is looked at all the while: it must not depend on the backlog.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.footprint import look
from tests.servers import Mosquitto, mosquitto_program
from tests.ship.rig import Feeder, ShipProgram, config_text, make_config

BATCHES = 500
BATCH_BYTES = 100_000
MIB = 1 << 20


def main() -> None:
    print("| sink | RSS idle, MB | RSS max, MB | MB/s | CPU s | fsyncs of the cursor |")
    print("|---|---|---|---|---|---|")
    if mosquitto_program() is None:
        print("| mqtt | needs mosquitto (Debian: apt-get install mosquitto) | | | | |")
    else:
        _measure("mqtt")
    _measure("file")


def _measure(sink: str) -> None:
    home = Path(tempfile.mkdtemp(prefix="em-", dir="/tmp"))
    broker = Mosquitto(home / "mosquitto") if sink == "mqtt" else None
    if broker is not None:
        broker.start()
    port = broker.port if broker is not None else 1
    ship = f'sink = "{sink}"'
    config = make_config(home, port, ship=ship)
    feeder = Feeder(config)
    program = ShipProgram(config, config_text(home, port, ship=ship))
    try:
        program.wait_status(lambda status: status["connected"], "connected")
        idle = look(program.process.pid)
        program.end()
        feeder.add("pred", BATCHES, noise=BATCH_BYTES)
        size = sum(len(frame) for frame in feeder.sent.values())
        program.spawn()
        began = time.monotonic()
        highest_rss = 0

        def drained(status: dict[str, object]) -> bool:
            nonlocal highest_rss
            highest_rss = max(highest_rss, look(program.process.pid).rss)
            acked = status["acked"]
            assert isinstance(acked, dict)
            return bool(acked["pred"] == BATCHES)

        program.wait_status(drained, "all acknowledged")
        took_s = time.monotonic() - began
        counters = program.status()["counters"]
        assert isinstance(counters, dict)
        print(
            f"| {sink} | {idle.rss / MIB:.1f} | {highest_rss / MIB:.1f} | {size / 1e6 / took_s:.0f} "
            f"| {look(program.process.pid).cpu_s:.2f} "
            f"| {_fsyncs(counters)} |"
        )
    finally:
        program.end(9)
        feeder.close()
        if broker is not None:
            broker.stop()
        shutil.rmtree(home, ignore_errors=True)


def _fsyncs(counters: dict[str, int]) -> int:
    return counters['edgemon_ship_fsyncs_total{reason="cursor"}']
