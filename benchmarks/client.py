"""What one logged prediction costs the application that makes it.

`edgemon.Client` with the agent alive, stopped (SIGSTOP) and absent, and `edgemon.EdgeMonitor`, beside what others do
in the application's process.

A prediction has four features, an output and a latency. Each call is timed by itself: the clock's own cost, which the
first rows show, is in every figure but the amortised one, for which a whole burst is timed. The peers come with
`pip install -e '.[bench]'`; one that is not installed is named and left out.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import edgemon

CALLS = 200_000
SLOW_CALLS = 3_000
FEATURES = {"amount": 12.5, "age": 31.0, "risk": 0.25, "hour": 14.0}
_CONFIG = """
[agent]
state_dir = "state"
run_dir = "run"
[ship]
sink = "none"
"""

Call = Callable[[], object]


class Cost(NamedTuple):
    """Microseconds a call."""

    amortised: float
    median: float
    p999: float
    highest: float


def measure(call: Call, calls: int, *, burst: int = 0, rate: int = 0) -> Cost:
    """Time `calls` calls one by one, and again as a whole; all at once, or in bursts, `rate` calls a second."""
    clock = time.perf_counter_ns
    burst = burst or calls

    def pace(begun: float, done: int) -> None:
        if rate:
            time.sleep(max(0.0, begun + done / rate - time.monotonic()))

    for _ in range(max(1, calls // 100)):
        call()
    taken: list[int] = []
    begun_s = time.monotonic()
    for done in range(0, calls, burst):
        pace(begun_s, done)
        for _ in range(burst):
            begun = clock()
            call()
            taken.append(clock() - begun)
    amortised, begun_s = 0, time.monotonic()
    for done in range(0, calls, burst):
        pace(begun_s, done)
        begun = clock()
        for _ in range(burst):
            call()
        amortised += clock() - begun
    taken.sort()
    calls = len(taken)
    return Cost(
        amortised / calls / 1e3,
        taken[calls // 2] / 1e3,
        taken[calls * 999 // 1000] / 1e3,
        taken[-1] / 1e3,
    )


@contextlib.contextmanager
def agent(folder: Path) -> Iterator[tuple[int, str]]:
    """A real agent; its process id and its socket."""
    (folder / "edgemon.toml").write_text(_CONFIG)
    path = str(folder / "run" / "ingest.sock")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgemon", "agent"], cwd=folder, stderr=log,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
    try:
        while True:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
                break
            if process.poll() is not None:
                raise RuntimeError(f"the agent ended: {(folder / 'log').read_text()}")
            time.sleep(0.05)
        yield process.pid, path
    finally:
        process.kill()
        process.wait()


def ours(
    name: str, path: str, calls: int, *, burst: int = 0, rate: int = 0, stop: int = 0
) -> tuple[str, Cost, str]:
    """stop: the agent's process, to be stopped before the calls."""
    client = edgemon.Client(path)
    client.log("warm", 0.5)
    client.flush("memory", timeout=0.5)
    log = client.log
    if stop:
        os.kill(stop, signal.SIGSTOP)
    cost = measure(
        lambda: log("fraud", 0.93, FEATURES, latency=0.003), calls, burst=burst, rate=rate
    )
    stats = client.stats()
    if stop:
        os.kill(stop, signal.SIGCONT)
    client.close()
    events = stats.taken + sum(stats.dropped.values())
    note = f"{stats.dropped['buffer_full']:,} of {events:,} dropped"
    return f"edgemon.Client, {name}", cost, note


def of_edgemon(folder: Path) -> Iterator[tuple[str, Cost, str]]:
    with agent(folder) as (pid, path):
        yield ours("agent alive, 20,000/s in bursts of 100", path, CALLS, burst=100, rate=20_000)
        yield ours("agent alive, 2,000/s one by one", path, SLOW_CALLS * 3, burst=1, rate=2_000)
        yield ours("agent alive, without a pause", path, CALLS)
        yield ours("agent stopped (SIGSTOP), without a pause", path, CALLS, stop=pid)
    yield ours("no agent, without a pause", str(folder / "nobody.sock"), CALLS)


def of_edge_monitor(folder: Path) -> Iterator[tuple[str, Cost, str]]:
    """Input and output, joined; the agent is a thread of this very process."""
    (folder / "edgemon.toml").write_text(_CONFIG + '[log]\nlevel = "error"\n')
    for pace, calls, burst, rate in (
        ("20,000/s in bursts of 100", CALLS // 4, 100, 20_000),
        ("2,000/s one by one", SLOW_CALLS * 3, 1, 2_000),
    ):
        with edgemon.EdgeMonitor(folder / "edgemon.toml") as monitor:

            def call(monitor: edgemon.EdgeMonitor = monitor) -> None:
                key = monitor.log_model_input(FEATURES, name="fraud")
                monitor.log_model_output(key, 0.93)

            cost = measure(call, calls, burst=burst, rate=rate)
            stats = monitor.get_status()["client"]
        events = stats["taken"] + sum(stats["dropped"].values())
        note = f"{stats['dropped']['buffer_full']:,} of {events:,} dropped"
        yield f"edgemon.EdgeMonitor, input and output, {pace}", cost, note


def of_a_socket(folder: Path) -> Iterator[tuple[str, Cost, str]]:
    """A line of JSON and sendall: what an application without a client writes."""
    with agent(folder) as (pid, path), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)

        def call() -> None:
            event = {"model": "fraud", "output": 0.93, "features": FEATURES, "latency": 0.003}
            client.sendall(json.dumps(event).encode() + b"\n")

        name = "json and socket.sendall"
        paced = measure(call, CALLS // 10, burst=100, rate=20_000)
        yield f"{name}, 20,000/s in bursts of 100", paced, ""
        paced = measure(call, SLOW_CALLS * 3, burst=1, rate=2_000)
        os.kill(pid, signal.SIGSTOP)
        client.settimeout(1.0)
        calls = 0
        try:
            while calls < CALLS:
                call()
                calls += 1
            note = "never blocked"
        except TimeoutError:
            note = f"agent stopped: blocks at call {calls + 1:,}"
        yield f"{name}, 2,000/s one by one", paced, note


def of_logging(folder: Path) -> Iterator[tuple[str, Cost, str]]:
    logger = logging.getLogger("benchmarks.client")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = logging.FileHandler(folder / "predictions.log")
    logger.addHandler(handler)
    event = {"model": "fraud", "output": 0.93, "features": FEATURES, "latency": 0.003}
    yield (
        "logging.FileHandler, json",
        measure(lambda: logger.info(json.dumps(event)), CALLS // 4),
        "a file; nothing is counted",
    )
    logger.removeHandler(handler)
    handler.close()


def of_whylogs(folder: Path) -> Iterator[tuple[str, Cost, str]]:
    os.environ["WHYLOGS_NO_ANALYTICS"] = "True"
    whylogs = importlib.import_module("whylogs")
    row = {**FEATURES, "output": 0.93, "latency": 0.003}
    with whylogs.logger(mode="rolling", interval=5, when="M", base_name="bench") as logger:
        logger.append_writer("local", base_dir=str(folder))
        yield "whylogs, rolling logger", measure(lambda: logger.log(row=row), SLOW_CALLS), ""
    yield "whylogs.log(row)", measure(lambda: whylogs.log(row=row), SLOW_CALLS), ""


def of_edge_mlops_monitor(folder: Path) -> Iterator[tuple[str, Cost, str]]:
    where = Path.cwd()
    os.chdir(folder)  # its log and its database are made where the process runs
    module = importlib.import_module("edge_mlops_monitor.monitor")
    logging.disable(logging.CRITICAL)
    (folder / "config.yaml").write_text("storage: {type: sqlite}\n")
    try:
        monitor = module.EdgeMonitor("config.yaml")
        monitor.set_reference_data("output", [index / 100 for index in range(100)])

        def call() -> None:
            identifier = monitor.log_model_input(FEATURES)
            monitor.log_model_output(identifier, {"output": 0.93, "latency": 0.003})

        yield "edge-mlops-monitor, input and output", measure(call, SLOW_CALLS // 3), ""
    finally:
        os.chdir(where)
        logging.disable(logging.NOTSET)


PEERS: dict[str, Callable[[Path], Iterator[tuple[str, Cost, str]]]] = {
    "whylogs": of_whylogs,
    "edge_mlops_monitor": of_edge_mlops_monitor,
}


def main() -> None:
    rows: list[tuple[str, Cost, str]] = [
        ("nothing", measure(lambda: None, CALLS), "the clock"),
        ("nothing, 2,000/s one by one", measure(lambda: None, SLOW_CALLS, burst=1, rate=2_000), ""),
    ]
    parts: list[Any] = [of_edgemon, of_edge_monitor, of_a_socket, of_logging]
    missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
    parts += [part for name, part in PEERS.items() if name not in missing]
    for part in parts:
        gc.collect()
        with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as folder:
            rows += part(Path(folder))
    base = rows[2][1].median
    print("| µs a prediction | amortised | median | × ours | p99.9 | highest | |")
    print("|---|---|---|---|---|---|---|")
    for name, cost, note in rows:
        ratio = "" if name.startswith("nothing") else f"{cost.median / base:,.1f}"
        print(f"| {name} | {cost.amortised:.2f} | {cost.median:.2f} | {ratio}", end=" ")
        print(f"| {cost.p999:.1f} | {cost.highest:,.0f} | {note} |")
    for name in missing:
        print(f"\n{name} is not installed and was not measured.")


if __name__ == "__main__":
    main()
