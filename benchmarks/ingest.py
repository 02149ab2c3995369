"""What it costs to take events in: the same 1,000,000 events through our agent, rsyslog and a naive Python agent.

Model, time, output, latency and four features in each; ours counts every value into moments, quantile sketch and
histogram and tests all six streams for drift. CPU is user + system of the whole process, from /proc; memory is VmHWM.
The agent is bound to one core. Needs mosquitto and rsyslog (Debian).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgpack

from benchmarks.footprint import ENVIRONMENT
from edgemon.control import request
from edgemon.drift.build import ProfileBuilder
from edgemon.errors import EdgemonError
from tests.servers import Mosquitto, mosquitto_program

EVENTS = 1_000_000
DISTINCT = 100_000
PACED_RATE = 2_000
PACED_S = 20.0
CHUNK = 64 * 1024
REFERENCE = 10_000
NAMES = ("amount", "age", "balance", "velocity")
_CONFIG = """
[agent]
state_dir = "state"
run_dir = "run"
[models.fraud]
profile = "fraud.profile"
capture = {capture}
[ship]
sink = "{sink}"
[mqtt]
host = "127.0.0.1"
port = {port}
"""


class Cost(NamedTuple):
    """Of some processes, for the events between two looks. cpu_s: by process."""

    events: int
    took_s: float
    cpu_s: dict[str, float]
    peak_mb: dict[str, float]
    note: str = ""

    def row(self, name: str) -> str:
        million = 1e6 / self.events
        cpu = " + ".join(f"{cpu * million:.2f} {who}" for who, cpu in self.cpu_s.items())
        total = sum(self.cpu_s.values()) * million
        cpu = f"**{total:.2f}**" + (f" ({cpu})" if len(self.cpu_s) > 1 else "")
        peak = " + ".join(f"{peak:.1f}" for peak in self.peak_mb.values())
        return f"| {name} | {self.events / self.took_s:,.0f} | {cpu} | {peak} | {self.note} |"


def values(rng: random.Random) -> dict[str, float]:
    """As an application has them: some measured, some counted."""
    return {
        "output": round(rng.betavariate(2.0, 5.0), 6), "latency": round(rng.lognormvariate(-6.0, 0.3), 6),
        "amount": round(rng.lognormvariate(3.0, 1.0), 2), "age": rng.randrange(18, 90),
        "balance": round(rng.gauss(1_000.0, 400.0), 2), "velocity": round(rng.gauss(0.0, 1.0), 5),
    }  # fmt: skip


def make_events(count: int) -> list[dict[str, object]]:
    rng = random.Random(1)
    made: list[dict[str, object]] = []
    for number in range(count):
        one = values(rng)
        made.append(
            {"model": "fraud", "ts": 1_764_000_000 + number / 1000, "output": one["output"],
             "latency": one["latency"], "features": {name: one[name] for name in NAMES}}
        )  # fmt: skip
    return made


def profile() -> bytes:
    rng = random.Random(2)
    builder = ProfileBuilder("fraud")
    for _ in range(REFERENCE):
        for name, value in values(rng).items():
            builder.number(f"f:{name}" if name in NAMES else name, float(value))
        builder.row_done()
    return builder.finish().to_bytes(3)


# -- processes


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_of(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextlib.contextmanager
def process(command: list[str], folder: Path) -> Iterator[int]:
    with open(folder / "stderr", "ab") as errors:
        child = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        yield child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)


def until(what: str, condition: Callable[[], bool], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


def connects(path: Path) -> Callable[[], bool]:
    def attempt() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(path)) == 0

    return attempt


# -- sending


def flood(client: socket.socket, payload: bytes, times: int) -> None:
    for _ in range(times):
        view = memoryview(payload)
        for start in range(0, len(view), CHUNK):
            client.sendall(view[start : start + CHUNK])


def pace(client: socket.socket, frames: list[bytes]) -> int:
    """Single writes, PACED_RATE a second, evenly spread."""
    sent, begun = 0, time.monotonic()
    while (elapsed := time.monotonic() - begun) < PACED_S:
        if sent < elapsed * PACED_RATE:
            client.sendall(frames[sent % len(frames)])
            sent += 1
        else:
            time.sleep(0.0002)
    return sent


def ask(client: socket.socket, question: bytes) -> None:
    client.sendall(question)
    client.settimeout(300.0)
    if not client.recv(4096):
        raise SystemExit("the agent closed the connection")


# -- who is measured


class Frames(NamedTuple):
    """The same events in one encoding."""

    name: str
    each: list[bytes]
    ack: bytes

    @property
    def payload(self) -> bytes:
        return b"".join(self.each)


def encodings() -> tuple[Frames, Frames]:
    events = make_events(DISTINCT)
    packed = Frames(
        "msgpack", [msgpack.packb(event) for event in events], msgpack.packb({"ack": 1, "level": "disk"})
    )  # fmt: skip
    lines = [json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events]
    return packed, Frames("JSON", lines, b'{"ack":1,"level":"disk"}\n')


def ours(frames: Frames, capture: str, broker: Mosquitto | None, *, paced: bool = False) -> Cost:
    """Agent, and with a broker the shipper: from the first byte until all is on disk and acknowledged."""
    folder = Path(tempfile.mkdtemp(prefix="em-bench-", dir="/tmp"))
    try:
        (folder / "fraud.profile").write_bytes(profile())
        sink, port = ("mqtt", broker.port) if broker is not None else ("none", 1)
        (folder / "edgemon.toml").write_text(_CONFIG.format(capture=capture, sink=sink, port=port))
        with contextlib.ExitStack() as stack:
            command = [sys.executable, "-m", "edgemon"]
            pids = {"agent": stack.enter_context(process([*command, "agent"], folder))}
            until("agent", connects(folder / "run" / "ingest.sock"))
            if broker is not None:
                pids["shipper"] = stack.enter_context(process([*command, "ship"], folder))
            os.sched_setaffinity(pids["agent"], {0})
            os.sched_setaffinity(0, set(range(1, os.cpu_count() or 1)) or {0})
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(folder / "run" / "ingest.sock"))
            ask(client, frames.each[0] + frames.ack)
            time.sleep(1.0)
            payload = frames.payload
            before = {who: cpu_of(pid) for who, pid in pids.items()}
            begun = time.monotonic()
            if paced:
                count = pace(client, frames.each)
            else:
                flood(client, payload, EVENTS // DISTINCT)
                count = EVENTS
            ask(client, frames.ack)
            took_s = time.monotonic() - begun
            if broker is not None:
                until("shipped", lambda: _shipped(folder))
                took_s = time.monotonic() - begun
            return Cost(
                count, took_s, {who: cpu_of(pid) - before[who] for who, pid in pids.items()},
                {who: peak_of(pid) for who, pid in pids.items()}, _note(folder),
            )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _status(folder: Path) -> dict[str, object]:
    return request(str(folder / "run" / "agent.sock"), {"cmd": "status"}, 5.0)


def _shipped(folder: Path) -> bool:
    """All that is on disk was acknowledged; what is in open batches leaves later, and is at most one of each kind."""
    try:
        spool = _status(folder)["spool"]
    except EdgemonError:
        return False
    assert isinstance(spool, dict)
    pred = spool["kinds"]["pred"]
    return bool(pred["acked_seq"] >= pred["durable_seq"])


def _note(folder: Path) -> str:
    counters = _status(folder)["counters"]
    assert isinstance(counters, dict)
    slow = counters.get("edgemon_ingest_slow_predictions_total", 0)
    seen = counters["edgemon_ingest_predictions_total"]
    return f"{seen:,} counted, {slow:,} of them in Python"


def naive(frames: Frames, broker: Mosquitto) -> Cost:
    folder = Path(tempfile.mkdtemp(prefix="em-bench-", dir="/tmp"))
    try:
        path = folder / "naive.sock"
        command = [sys.executable, "-m", "benchmarks.naive_agent", str(path)]
        with contextlib.ExitStack() as stack:
            root = Path(__file__).resolve().parents[1]
            (folder / "stderr").touch()
            pid = stack.enter_context(
                process(
                    [
                        "env",
                        f"PYTHONPATH={root}",
                        *command,
                        str(folder / "events"),
                        str(broker.port),
                    ],
                    folder,
                )
            )
            until("naive agent", connects(path))
            os.sched_setaffinity(pid, {0})
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(path))
            before, begun, payload = cpu_of(pid), time.monotonic(), frames.payload
            flood(client, payload, EVENTS // DISTINCT)
            ask(client, b"\n")
            took_s = time.monotonic() - begun
            return Cost(
                EVENTS, took_s, {"naive": cpu_of(pid) - before}, {"naive": peak_of(pid)},
                "json.loads, msgpack + zstd per 500, fsync, MQTT QoS 1; no statistics",
            )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_RSYSLOG = """
global(workDirectory="{folder}" maxMessageSize="8k")
module(load="imtcp" maxSessions="10")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="raw" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{folder}/events" template="raw" {queue})
"""


def rsyslog(frames: Frames, broker_free_port: int, queue: str) -> Cost:
    folder = Path(tempfile.mkdtemp(prefix="em-bench-", dir="/tmp"))
    port = broker_free_port
    try:
        config = folder / "rsyslog.conf"
        config.write_text(_RSYSLOG.format(folder=folder, port=port, queue=queue))
        command = ["rsyslogd", "-n", "-f", str(config), "-i", str(folder / "pid")]
        with process(command, folder) as pid:

            def listens() -> bool:
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            until("rsyslog", listens)
            os.sched_setaffinity(pid, {0})
            payload = b"".join(b"<13>" + line for line in frames.each)
            times = EVENTS // DISTINCT
            with socket.create_connection(("127.0.0.1", port)) as client:
                before, begun = cpu_of(pid), time.monotonic()
                flood(client, payload, times)
            size = times * len(payload)
            until("rsyslog's file", lambda: (folder / "events").stat().st_size >= size)
            took_s = time.monotonic() - begun
            kind = "a disk queue, then a file" if "LinkedList" in queue else "a file"
            return Cost(
                EVENTS, took_s, {"rsyslog": cpu_of(pid) - before}, {"rsyslog": peak_of(pid)},
                f"lines to {kind}; no parsing, no fsync",
            )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    packed, lines = encodings()
    home = Path(tempfile.mkdtemp(prefix="em-bench-", dir="/tmp"))
    broker = Mosquitto(home / "mosquitto") if mosquitto_program() is not None else None
    print("| who | events/s | CPU s per million | peak RSS, MB | what it did |")
    print("|---|---|---|---|---|")
    try:
        if broker is not None:
            broker.start()
        for frames in (packed, lines):
            print(
                ours(frames, "{ sample = 0.01 }", None).row(
                    f"edgemon, {frames.name}, sample of 1 %"
                )
            )
        for frames in (packed, lines):
            if broker is not None:
                cost = ours(frames, '"all"', broker)
                print(cost.row(f"edgemon, {frames.name}, all rows shipped"))
        if broker is not None:
            print(naive(lines, broker).row("naive Python agent, JSON"))
        if shutil.which("rsyslogd") is not None:
            port = 5514
            print(rsyslog(lines, port, "").row("rsyslog"))
        for frames in (packed, lines):
            cost = ours(frames, "{ sample = 0.01 }", None, paced=True)
            print(cost.row(f"edgemon, {frames.name}, {PACED_RATE:,} single writes a second"))
    finally:
        if broker is not None:
            broker.stop()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
