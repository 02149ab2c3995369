"""What edgemon costs a device: memory, threads, wake-ups, start-up time and modules of its real processes.

Starts `edgemon run` with its folder sink, lets it idle, then feeds it 1,000 predictions a second. Debian's
prometheus-node-exporter and collectd are measured beside it where they are installed.
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SETTLE_S = 3.0
# Idle is what it is from day to day: whole batches of the device's samples, which leave with every seventh, after the
# first one, for which folders and files are made.
FIRST_BATCH_S = 75.0
IDLE_S = 140.0
BUSY_S = 20.0
RATE = 1_000
_CONFIG = """
[agent]
state_dir = "state"
run_dir = "run"
[ship]
sink = "file"
"""
PROGRAM = [sys.executable, "-m", "edgemon"]
# Prints the modules of a process that has done its work, one JSON list on the last line.
_MODULES = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
from edgemon.cli import main
sys.exit(main(sys.argv[1:]))
"""


# As installed: without compiled bytecode every process would be megabytes larger.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}


class Usage(NamedTuple):
    """One look at a process. Memory in bytes; wakeups and cpu_s since its start, that of ended children included."""

    rss: int
    pss: int
    threads: int
    wakeups: int
    cpu_s: float


def look(pid: int) -> Usage:
    """Reads /proc of one process; wake-ups are voluntary context switches of all its threads."""
    status = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":" in line
    )
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    pss_kb = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    wakeups = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                wakeups += int(line.split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(map(int, fields[11:15]))
    return Usage(
        int(status["VmRSS"].split()[0]) * 1024, pss_kb * 1024, int(status["Threads"]), wakeups,
        ticks / os.sysconf("SC_CLK_TCK"),
    )  # fmt: skip


def children(pid: int) -> dict[str, int]:
    """Command -> pid of the processes that `edgemon run` started."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        found[next(word for word in words if word in ("agent", "ship"))] = int(child)
    return found


@contextlib.contextmanager
def running(
    folder: Path, config: str = _CONFIG, program: Sequence[str] = PROGRAM
) -> Iterator[tuple[dict[str, int], float]]:
    """`edgemon run` in `folder`; yields name -> pid and the seconds until the socket answered."""
    (folder / "edgemon.toml").write_text(config)
    begun = time.monotonic()
    process = subprocess.Popen(
        [*program, "run", "--config", "edgemon.toml"],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            with contextlib.suppress(OSError), connect(folder):
                break
            if process.poll() is not None or time.monotonic() - begun > 20:
                raise SystemExit("edgemon run did not start")
            time.sleep(0.005)
        started = time.monotonic() - begun
        time.sleep(SETTLE_S)
        yield {"supervisor": process.pid, **children(process.pid)}, started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def connect(folder: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(folder / "run" / "ingest.sock"))
    except OSError:
        client.close()
        raise
    return client


def feed(folder: Path, seconds: float) -> int:
    """RATE predictions a second with four features, in writes of 50; returns how many."""
    sent = 0
    with connect(folder) as client:
        begun = time.monotonic()
        while (elapsed := time.monotonic() - begun) < seconds:
            if sent < elapsed * RATE:
                lines = [
                    json.dumps(
                        {"model": "m", "output": (sent + i) % 97 / 97, "latency": 0.003, "ts": 1.7e9 + sent + i,
                         "features": [(sent + i) % 13, (sent + i) % 7 / 7, 3.5, (sent + i) % 1009]}
                    )
                    for i in range(50)
                ]  # fmt: skip
                client.sendall("\n".join(lines).encode() + b"\n")
                sent += 50
            else:
                time.sleep(0.005)
    return sent


def modules(command: str) -> list[str]:
    """Modules that a process of this command has loaded after two seconds of life."""
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as folder:
        Path(folder, "edgemon.toml").write_text(_CONFIG)
        process = subprocess.Popen(
            [sys.executable, "-c", _MODULES, command, "--config", "edgemon.toml"],
            cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        time.sleep(2.0)
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=20)[0]
    loaded: list[str] = json.loads(output.splitlines()[-1])
    return loaded


class Peer(NamedTuple):
    """installed: bytes that the Debian package takes on disk, without what it depends on; None if it is no package."""

    name: str
    installed: int | None
    usage: Usage


def peers() -> list[Peer]:
    """Idle memory and size of monitors that Debian packages, where they are installed."""
    found = []
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as folder:
        collectd = Path(folder, "collectd.conf")
        collectd.write_text(
            f'BaseDir "{folder}"\nPIDFile "{folder}/pid"\nInterval 10\nLoadPlugin cpu\nLoadPlugin memory\n'
            f'LoadPlugin df\nLoadPlugin interface\nLoadPlugin csv\n<Plugin csv>\nDataDir "{folder}"\n</Plugin>\n'
        )
        rsyslog = Path(folder, "rsyslog.conf")
        rsyslog.write_text(
            f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{folder}/log")\n'
            f'*.* action(type="omfile" file="{folder}/all")\n'
        )
        exporter = "prometheus-node-exporter"
        for package, command in (
            (exporter, [exporter, "--web.listen-address=127.0.0.1:0"]),
            ("collectd-core", ["collectd", "-f", "-C", str(collectd)]),
            ("rsyslog", ["rsyslogd", "-n", "-f", str(rsyslog), "-i", f"{folder}/rsyslog.pid"]),
        ):
            program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
            if program is None:
                print(f"(not installed: {package})")
                continue
            process = subprocess.Popen(
                [program, *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(SETTLE_S)
            found.append(Peer(package, _installed(package), look(process.pid)))
            process.terminate()
            process.wait(10)
    return found


def _installed(package: str) -> int | None:
    if shutil.which("dpkg-query") is None:
        return None
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Installed-Size}", package],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return int(asked.stdout) * 1024 if asked.stdout.isdecimal() else None


def binaries() -> list[tuple[str, int]]:
    """What `make binary` has put into dist/, and its size."""
    folder = Path(__file__).parent.parent / "dist"
    return [
        (path.name, path.stat().st_size)
        for path in sorted(folder.glob("edgemon*"))
        if path.is_file()
    ]


def _row(
    name: str, state: str, usage: Usage, wakeups_per_min: float | None, cpu_percent: float | None
) -> None:
    print(
        f"{name:<26} {state:<14} {usage.rss / 1e6:>8.1f} {usage.pss / 1e6:>8.1f} {usage.threads:>7}"
        f" {'' if wakeups_per_min is None else f'{wakeups_per_min:.0f}':>12}"
        f" {'' if cpu_percent is None else f'{cpu_percent:.1f}':>6}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as name:
        folder = Path(name)
        with running(folder) as (pids, started):
            print(f"socket answers {started:.2f} s after `edgemon run`\n")
            print(
                f"{'process':<26} {'state':<14} {'RSS MB':>8} {'PSS MB':>8} {'threads':>7}"
                f" {'wake-ups/min':>12} {'CPU %':>6}"
            )
            time.sleep(FIRST_BATCH_S)
            for state, seconds in (("idle", IDLE_S), (f"{RATE:,}/s", BUSY_S)):
                before = {process: look(pid) for process, pid in pids.items()}
                begun = time.monotonic()
                if state == "idle":
                    time.sleep(seconds)
                else:
                    feed(folder, seconds)
                elapsed = time.monotonic() - begun
                for process, pid in pids.items():
                    now, then = look(pid), before[process]
                    wakeups = (now.wakeups - then.wakeups) * 60 / elapsed
                    _row(process, state, now, wakeups, (now.cpu_s - then.cpu_s) / elapsed * 100)
    for peer in peers():
        _row(peer.name, "idle", peer.usage, None, None)
        if peer.installed is not None:
            print(f"{'':<26} {peer.installed / 1e6:.1f} MB installed")
    print()
    for command in ("agent", "ship"):
        loaded = modules(command)
        own = [module for module in loaded if module.startswith("edgemon")]
        heavy = sorted(
            {
                "asyncio",
                "ssl",
                "logging",
                "dataclasses",
                "numpy",
                "psutil",
                "paho",
                "argparse",
                "threading",
                "sqlite3",
            }
            & {module.split(".")[0] for module in loaded}
        )
        print(
            f"{command}: {len(loaded)} modules, {len(own)} of them ours; of the heavy ones: {', '.join(heavy)}"
        )
    for file, size in binaries():
        print(f"{file}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
