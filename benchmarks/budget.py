"""What edgemon may cost a device, held against what it does: benchmarks/budget.toml.

Measures what `make binary` made for this machine, in the folder form that the .deb installs; without it the sources
under Python, whose memory is larger. Sizes are measured of every binary in dist/. The shipper has a real Mosquitto.
`python -m benchmarks budget` prints the table; exit code 1 when a limit is exceeded.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

from benchmarks import footprint
from edgemon.control import SHIP_SOCKET, request
from edgemon.version import VERSION
from tests.certificates import Certificates
from tests.servers import Mosquitto, wait_for

ROOT = Path(__file__).parent.parent
FILE = Path(__file__).with_name("budget.toml")
FOLDER_FORM = ROOT / "build/host/out/edgemon-dir/edgemon"
BUSY_S = 60.0  # with a batch of each kind
TLS_SETTLE_S = 5.0
STARTS = 5
_CONFIG = """
[agent]
state_dir = "state"
run_dir = "run"
[ship]
sink = "mqtt"
[mqtt]
host = "127.0.0.1"
port = {port}
"""


class Cost(NamedTuple):
    """One row.  limit: more than this fails.  wanted: what we aim at, None where that is the limit.  measured: None
    when it cannot be measured here.
    """

    name: str
    unit: str
    limit: float
    wanted: float | None
    measured: float | None

    @property
    def kept(self) -> bool:
        return self.measured is None or self.measured <= self.limit


def sizes() -> dict[str, float]:
    """Files of this version in dist/, in MB."""
    found = {}
    for arch in ("amd64", "arm64", "armhf"):
        for form, name in (
            ("onefile", f"edgemon-{VERSION}-linux-{arch}"),
            ("deb", f"edgemon_{VERSION}_{arch}.deb"),
        ):
            path = ROOT / "dist" / name
            if path.exists():
                found[f"{form}_{arch}"] = path.stat().st_size / 1e6
    return found


def processes(program: list[str]) -> dict[str, float]:
    """Memory, threads, wake-ups and writes of both halves, idle and at 1,000 predictions a second."""
    found: dict[str, float] = {}
    broker = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if broker is None:
        raise SystemExit("needs mosquitto (Debian: apt-get install mosquitto)")
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as name, socket.socket() as free:
        folder = Path(name)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        mosquitto = subprocess.Popen([broker, "-p", str(port)], stderr=subprocess.DEVNULL)
        try:
            with footprint.running(folder, _CONFIG.format(port=port), program) as (pids, _):
                time.sleep(footprint.FIRST_BATCH_S)
                for state, seconds in (("idle", footprint.IDLE_S), ("busy", BUSY_S)):
                    before = {who: footprint.look(pids[who]) for who in ("agent", "ship")}
                    written = {who: _written(pids[who]) for who in ("agent", "ship")}
                    begun = time.monotonic()
                    if state == "idle":
                        time.sleep(seconds)
                    else:
                        footprint.feed(folder, seconds)
                    elapsed = time.monotonic() - begun
                    for who in ("agent", "ship"):
                        per_hour = (_written(pids[who]) - written[who]) * 3600 / elapsed
                        found[f"{who}_{state}_written"] = per_hour / 1e6
                        now = footprint.look(pids[who])
                        found[f"{who}_{state}_rss"] = now.rss / 1e6
                        found[f"{who}_{state}_pss"] = now.pss / 1e6
                        found[f"{who}_{state}_threads"] = now.threads
                        if state == "idle":
                            woken = now.wakeups - before[who].wakeups
                            found[f"{who}_idle_wakeups"] = woken * 60 / elapsed
        finally:
            mosquitto.terminate()
            mosquitto.wait(10)
    return found


def with_tls(program: list[str]) -> dict[str, float]:
    """Memory of the shipper, idle, whose broker it speaks to with TLS."""
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as name:
        folder = Path(name)
        certificates = Certificates(folder / "certificates")
        certificate, key = certificates.signed("server", "127.0.0.1")
        (folder / "broker").mkdir()
        broker = Mosquitto(folder / "broker", settings=f"certfile {certificate}\nkeyfile {key}")
        config = f'{_CONFIG.format(port=broker.port)}tls = true\nca_file = "{certificates.ca}"\n'
        broker.start()
        try:
            with footprint.running(folder, config, program) as (pids, _):
                ship = str(folder / "run" / SHIP_SOCKET)
                wait_for(lambda: request(ship, {"cmd": "status"})["connected"], what="connected")
                time.sleep(TLS_SETTLE_S)
                now = footprint.look(pids["ship"])
        finally:
            broker.stop()
    return {"ship_tls_rss": now.rss / 1e6, "ship_tls_pss": now.pss / 1e6}


def start_cpu_s(program: list[str]) -> float:
    """Processor time of supervisor and agent until the socket answers: the least of five starts. Not the time on the
    wall, which is whatever else runs here.
    """
    took = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as name:
            settle, footprint.SETTLE_S = footprint.SETTLE_S, 0.0
            try:
                with footprint.running(Path(name), program=program) as (pids, _):
                    took.append(
                        sum(footprint.look(pids[who]).cpu_s for who in ("supervisor", "agent"))
                    )
            finally:
                footprint.SETTLE_S = settle
    return min(took)


def _written(pid: int) -> int:
    """Bytes that the process caused to be sent to the disk."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def measure() -> dict[str, float]:
    program = [str(FOLDER_FORM)] if FOLDER_FORM.exists() else footprint.PROGRAM
    return {
        **sizes(),
        **processes(program),
        **with_tls(program),
        "start": start_cpu_s(program),
    }


def costs(measured: dict[str, float]) -> list[Cost]:
    """The file's rows with what was measured. ValueError: something was measured that the file does not know."""
    rows = tomllib.loads(FILE.read_text())["cost"]
    unknown = measured.keys() - {row["name"] for row in rows}
    if unknown:
        raise ValueError(f"{FILE.name} has no {', '.join(sorted(unknown))}")
    return [
        Cost(row["name"], row["unit"], row["limit"], row.get("wanted"), measured.get(row["name"]))
        for row in rows
    ]


def main() -> None:
    print(f"measured: {FOLDER_FORM if FOLDER_FORM.exists() else 'the sources, under Python'}\n")
    print(f"{'':<22} {'unit':<9} {'measured':>9} {'limit':>9} {'wanted':>9}")
    found = costs(measure())
    for cost in found:
        measured = "not here" if cost.measured is None else f"{cost.measured:.2f}"
        wanted = "" if cost.wanted is None else f"{cost.wanted:g}"
        mark = "" if cost.kept else "  EXCEEDED"
        print(f"{cost.name:<22} {cost.unit:<9} {measured:>9} {cost.limit:>9g} {wanted:>9}{mark}")
    print(f"\n{'peers, idle':<26} {'RSS MB':>8} {'PSS MB':>8} {'installed MB':>13}")
    for peer in footprint.peers():
        installed = "" if peer.installed is None else f"{peer.installed / 1e6:.1f}"
        usage = peer.usage
        print(f"{peer.name:<26} {usage.rss / 1e6:>8.1f} {usage.pss / 1e6:>8.1f} {installed:>13}")
    if not all(cost.kept for cost in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
