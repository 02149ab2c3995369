"""What ten rules cost: processor time of each kind of look at them, and memory of an agent with and without.

The rules are those of docs/rules.md in kind: of streams, latency, errors, silence, series of the device, the spool and
a reported metric. The agents are real processes that counted 2,000 predictions and closed four windows of a second.
"""

from __future__ import annotations

import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from edgemon._core.sketch import QuantileSketch
from edgemon.config import parse
from edgemon.config.toml import quoted
from edgemon.control import request
from edgemon.errors import EdgemonError
from edgemon.records import Row
from edgemon.rules.engine import Engine

CONDITIONS = (
    "drift.d > 0.2 for 5m", "latency.p99 > 250ms for 3m", "silence > 2m", "errors.share > 1% and errors > 5",
    "missing > 20% or invalid > 5%", "value.p50 < 0.6 for 15m", "system.temperature_* > 200°C for 1m",
    "spool.oldest > 6h or spool.fill > 80%", "metric.queue > 100 for 30s", "drift.ratio > 3",
)  # fmt: skip
_RULES = "".join(f"[[rules]]\nwhen = {quoted(text)}\n" for text in CONDITIONS)
_AGENT = (
    '[agent]\nstate_dir = "s"\nrun_dir = "r"\n[models."*"]\nwindow = "1s"\n[ship]\nsink = "none"\n'
)
_EVENT = b'{"model":"m","output":0.5,"latency":0.01,"features":{"a":1}}\n'
_RUNS = 5


def window_rows(streams: int) -> list[Row]:
    """A window of 1,000 predictions with so many features."""
    sketch, chance = QuantileSketch(), random.Random(1)
    for _ in range(1000):
        sketch.push(chance.random())
    common: Row = {"n": 1000, "mean": 0.5, "m2": 80.0, "sketch": sketch.to_bytes()}
    drift: Row = {"d": 0.1, "ks_h": 3, "ks_threshold": 10, "drifted": 0}
    rows: list[Row] = [{"stream": "", "n": 1000, "dur": 60_000_000}]
    rows += [common | drift | {"stream": f"f:{number}"} for number in range(streams)]
    return [*rows, common | {"stream": "latency"}]


def times() -> dict[str, float]:
    """What is looked at -> µs of processor time."""
    engine = Engine(parse(_RULES).rules, (), 0.0)
    rows = window_rows(10)
    hot = {f"temperature_{number}_celsius": 50.0 for number in range(30)}
    values = {"clients": 1.0, "spool.fill": 1.0, "spool.oldest": 1.0}
    looks: dict[str, tuple[int, Callable[[float], object]]] = {
        "a window of 11 streams": (500, lambda at: engine.window("m", "1", rows, at)),
        "a sample of 30 series": (2000, lambda at: engine.sample(hot, at)),
        "a look, every 5 s": (2000, lambda at: engine.look(values, {"m": at}, {("m", "1")}, at)),
        "a metric that a rule names": (20_000, lambda at: engine.report("queue", 1.0, at)),
        "another metric": (20_000, lambda at: engine.report("other", 1.0, at)),
    }
    found = {}
    for name, (count, look) in looks.items():
        begun = time.process_time()
        for number in range(count):
            look(float(number))
        found[name] = (time.process_time() - begun) / count * 1e6
    return found


def agent_mib(more: str) -> float:
    """Resident memory of an agent that has worked, MiB."""
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "edgemon.toml").write_text(_AGENT + more)
        command = [sys.executable, "-m", "edgemon", "agent"]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
        try:
            while not _answers(folder):
                time.sleep(0.05)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(folder / "r" / "ingest.sock"))
                for _ in range(4):
                    client.sendall(_EVENT * 500)
                    time.sleep(1.1)
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.terminate()
            process.wait(20)
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _answers(folder: Path) -> bool:
    try:
        request(str(folder / "r" / "agent.sock"), {"cmd": "status"}, 2.0)
    except EdgemonError:
        return False
    return True


def main() -> None:
    """Print both tables."""
    print("| ten rules look at | µs |\n|---|---|")
    for name, spent_us in times().items():
        print(f"| {name} | {spent_us:.3g} |")
    print("\n| agent | resident, MiB (median of 5) |\n|---|---|")
    for name, more in (("without rules", ""), ("with ten", _RULES)):
        print(f"| {name} | {statistics.median(agent_mib(more) for _ in range(_RUNS)):.2f} |")


if __name__ == "__main__":
    main()
