"""What the flash bears: bytes written and fsyncs per 1,000 predictions, beside rsyslog's disk queue.

Each runs for MEASURE_S with its queue on a file system of its own (a loop-mounted ext4, which counts what
reaches the device; needs root) and no other side to send to. `write_bytes` is what the process caused to be
written (/proc/PID/io); "device" is what arrived, the journal of ext4 included. rsyslog's disk queue syncs
nothing by default; with queue.syncqueuefiles it syncs each record.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.footprint import ENVIRONMENT
from edgemon.control import request
from edgemon.errors import EdgemonError

RATES = (10, 1_000)
MEASURE_S = 30.0
ACK_EVERY_S = 1.0
_IMAGE_MB = 256


class Wear(NamedTuple):
    """Of one run. syncs: None where nobody counts them."""

    events: int
    write_bytes: int
    device_bytes: int | None
    syncs: int | None


def main(measure_s: float = MEASURE_S) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # unmount on the way out
    print(
        "| | events/s | write_bytes per 1,000 events | device bytes per 1,000 events"
        " | fsyncs per 1,000 events |"
    )
    print("|---|---|---|---|---|")
    for rate in RATES:
        for sync in ("interval", "always"):
            _row(f'edgemon, sync = "{sync}"', rate, _edgemon(rate, sync, 0.0, measure_s))
        name = 'edgemon, sync = "interval", a disk acknowledgement every second'
        _row(name, rate, _edgemon(rate, "interval", ACK_EVERY_S, measure_s))
        if shutil.which("rsyslogd") is None:
            print("| rsyslog | needs rsyslogd (Debian: apt-get install rsyslog) | | | |")
            continue
        _row("rsyslog, disk queue", rate, _rsyslog(rate, False, measure_s))
        _row("rsyslog, disk queue, synced", rate, _rsyslog(rate, True, measure_s))


def _row(name: str, rate: int, wear: Wear) -> None:
    def per_thousand(count: int | None) -> str:
        return "" if count is None else f"{1000 * count / max(1, wear.events):,.0f}"

    print(
        f"| {name} | {rate:,} | {per_thousand(wear.write_bytes)}"
        f" | {per_thousand(wear.device_bytes)} | {per_thousand(wear.syncs)} |",
        flush=True,
    )


@contextlib.contextmanager
def _disk() -> Iterator[Path]:
    """A folder with a `disk` in it: a file system of its own for root, else a plain folder."""
    home = Path(tempfile.mkdtemp(prefix="em-", dir="/tmp"))
    disk = home / "disk"
    disk.mkdir()
    try:
        if os.geteuid() == 0:
            image = home / "image"
            with image.open("wb") as file:
                file.truncate(_IMAGE_MB << 20)
            options = "lazy_itable_init=0,lazy_journal_init=0"
            subprocess.run(["mkfs.ext4", "-q", "-F", "-E", options, image], check=False)
            subprocess.run(["mount", "-o", "loop", image, disk], check=False)
        yield home
    finally:
        if os.path.ismount(disk):
            for _ in range(50):
                if subprocess.run(["umount", disk], capture_output=True).returncode == 0:
                    break
                time.sleep(0.1)
            else:
                subprocess.run(["umount", "-l", disk], check=False)
        shutil.rmtree(home, ignore_errors=True)


def _device_bytes(home: Path) -> int | None:
    if not os.path.ismount(home / "disk"):
        return None
    os.sync()
    device = os.stat(home / "disk").st_dev
    counters = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text()
    return int(counters.split()[6]) * 512


def _write_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes"):
            return int(line.split()[1])
    raise AssertionError("no write_bytes")


def _edgemon(rate: int, sync: str, ack_every_s: float, measure_s: float) -> Wear:
    with _disk() as home:
        (home / "edgemon.toml").write_text(
            f"""
            [agent]
            state_dir = "disk/state"
            run_dir = "run"
            [models."*"]
            capture = "all"
            [spool]
            sync = "{sync}"
            [ship]
            sink = "none"
            """
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "edgemon", "agent"],
            cwd=home,
            env=ENVIRONMENT,
            stderr=subprocess.DEVNULL,
        )
        try:
            path = home / "run" / "ingest.sock"
            client = _connect(path, socket.SOCK_STREAM)
            before = _fsyncs(home), _write_bytes(process.pid), _device_bytes(home)
            events = _feed(client, rate, measure_s, _prediction, ack_every_s)
            client.sendall(b'{"ack":0,"level":"disk"}\n')
            answers = client.makefile("rb")
            while json.loads(answers.readline())["ack"] != 0:
                pass
            device, syncs = _device_bytes(home), _fsyncs(home)
            return Wear(
                events,
                _write_bytes(process.pid) - before[1],
                None if device is None or before[2] is None else device - before[2],
                syncs - before[0],
            )
        finally:
            process.kill()
            process.wait()


def _fsyncs(home: Path) -> int:
    for _ in range(100):
        with contextlib.suppress(EdgemonError):
            status = request(str(home / "run" / "agent.sock"), {"cmd": "status"}, 5.0)
            counters = status["counters"]
            assert isinstance(counters, dict)
            return int(counters.get("edgemon_spool_fsyncs_total", 0))
        time.sleep(0.1)
    raise SystemExit("the agent does not answer")


def _rsyslog(rate: int, synced: bool, measure_s: float) -> Wear:
    with _disk() as home:
        queue = home / "disk" / "queue"
        queue.mkdir()
        sync = ' queue.syncqueuefiles="on" queue.checkpointinterval="1"' if synced else ""
        (home / "rsyslog.conf").write_text(
            f"""
            global(workDirectory="{queue}")
            module(load="imuxsock" SysSock.Use="off")
            input(type="imuxsock" Socket="{home}/log.sock" RateLimit.Interval="0")
            *.* action(type="omfwd" target="127.0.0.1" port="1" protocol="tcp"
                action.resumeRetryCount="-1" queue.type="Disk" queue.filename="q"
                queue.maxdiskspace="200m" queue.size="10000000"{sync})
            """
        )
        process = subprocess.Popen(
            ["rsyslogd", "-n", "-f", home / "rsyslog.conf", "-i", home / "pid"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            client = _connect(home / "log.sock", socket.SOCK_DGRAM)
            before = _write_bytes(process.pid), _device_bytes(home)
            events = _feed(client, rate, measure_s, _syslog, 0.0)
            time.sleep(1.0)  # what is on its way into the queue
            device = _device_bytes(home)
            return Wear(
                events,
                _write_bytes(process.pid) - before[0],
                None if device is None or before[1] is None else device - before[1],
                None,
            )
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _connect(path: Path, kind: int) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, kind)
    for _ in range(200):
        with contextlib.suppress(OSError):
            client.connect(str(path))
            return client
        time.sleep(0.05)
    raise SystemExit(f"nobody listens on {path}")


def _feed(
    client: socket.socket, rate: int, seconds: float, event: object, ack_every_s: float
) -> int:
    """Send events at the rate; returns how many. A datagram socket takes one at a time."""
    assert callable(event)
    sent = 0
    begun = asked = time.monotonic()
    while (now := time.monotonic()) < begun + seconds:
        while sent < (now - begun) * rate:
            client.sendall(event(sent))
            sent += 1
        if ack_every_s and now > asked + ack_every_s:
            asked = now
            client.sendall(b'{"ack":1,"level":"disk"}\n')
        time.sleep(0.01)
    return sent


def _prediction(number: int) -> bytes:
    return b'{"model":"m","id":%d,"output":0.%d,"latency":0.00%d,"features":[%d,0.%d,3.5,%d]}\n' % (
        number,
        number % 9973,
        number % 7,
        number % 13,
        number % 97,
        number % 1009,
    )


def _syslog(number: int) -> bytes:
    return b"<14>edgemon: " + _prediction(number).strip()


if __name__ == "__main__":
    main()
