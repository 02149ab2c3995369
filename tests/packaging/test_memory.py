"""What docs/install.md gives a device of little memory is enough: each half of the .deb in a cgroup of that size, with
a backlog, a broker that was away and a thousand predictions a second."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.harness import Application, Device, Receiver
from tests.packaging.conftest import built
from tests.packaging.container import ROOT
from tests.receive.processes import edgemon, query
from tests.s3_servers import Rclone
from tests.servers import Mosquitto, wait_for

pytestmark = pytest.mark.slow

CGROUP = Path("/sys/fs/cgroup")
PREDICTIONS, CHUNK = 30_000, 100
CAPTURE = """
[models."*"]
capture = "all"
"""
MQTT = """
[mqtt]
host = "127.0.0.1"
port = {port}
"""
# The table's column for 64 MB; the shipper's bursts are the test's.
SMALL = """
[ingest]
max_clients = 8
[batch]
max_bytes = "64KiB"
[system]
interval = "60s"
[ship]
mode = "burst"
"""


class Group(NamedTuple):
    """A memory cgroup. peak: what was ever charged.  kills: how often something in it was killed for want of memory."""

    folder: Path
    unified: bool

    def run(self, words: list[str], folder: Path, log: str) -> subprocess.Popen[bytes]:
        """Start a program in it."""
        inside = ["sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$@"', "sh", *words]
        with (folder / log).open("ab") as file:
            return subprocess.Popen(
                inside, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    @property
    def peak(self) -> int:
        name = "memory.peak" if self.unified else "memory.max_usage_in_bytes"
        return int((self.folder / name).read_text())

    @property
    def kills(self) -> int:
        name = "memory.events" if self.unified else "memory.oom_control"
        (count,) = re.findall(r"^oom_kill (\d+)$", (self.folder / name).read_text(), re.M)
        return int(count)


@contextmanager
def group(name: str, mebibytes: int) -> Iterator[Group]:
    """Without swap. Skips where no cgroup can be made: the processes of this system may own the controller."""
    unified = (CGROUP / "cgroup.controllers").exists()
    folder = (CGROUP if unified else CGROUP / "memory") / f"edgemon-test-{os.getpid()}-{name}"
    limits = {"memory.max": mebibytes, "memory.swap.max": 0}
    if not unified:
        limits = {"memory.limit_in_bytes": mebibytes, "memory.memsw.limit_in_bytes": mebibytes}
    try:
        folder.mkdir()
        for file, limit in limits.items():
            (folder / file).write_text(str(limit << 20))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip(f"needs root and a memory cgroup: {error}")
    try:
        yield Group(folder, unified)
    finally:
        for pid in (folder / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        wait_for(lambda: not (folder / "cgroup.procs").read_text(), what="the group is empty")
        folder.rmdir()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("deb")
    subprocess.run(["dpkg-deb", "-x", str(built("amd64").deb), str(folder)], check=True)
    return str(folder / "usr/lib/edgemon/edgemon")


def forget_pages(program: str) -> None:
    """So that the group that reads them is charged for them, as on a device."""
    os.sync()
    for path in Path(program).parent.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Halves:
    """The agent and the shipper, each in its group, as the units run them."""

    def __init__(self, program: str, folder: Path, toml: str, agent: Group, ship: Group) -> None:
        self.device = Device(folder, toml)
        self.agent, self.ship = agent, ship
        self._program = program
        self._folder = folder
        forget_pages(program)
        self._agent = agent.run([program, "agent"], folder, "agent.log")
        wait_for(lambda: self.device.status() is not None, 60, "the agent answers")

    def send(self, first: int = 0) -> None:
        """PREDICTIONS from that number on, at a thousand a second; all are on disk."""
        application = Application(self.device)
        application.connect()
        begun = time.monotonic()
        for sent in range(0, PREDICTIONS, CHUNK):
            time.sleep(max(0.0, begun + sent / 1000 - time.monotonic()))
            if sent + CHUNK < PREDICTIONS:
                application.write(first + sent, CHUNK)
            else:
                application.send(first + sent, CHUNK)
        application.close()

    def start_shipper(self, *options: str) -> subprocess.Popen[bytes]:
        return self.ship.run([self._program, "ship", *options], self._folder, "ship.log")

    def stop_agent(self) -> None:
        self._agent.send_signal(signal.SIGTERM)
        assert self._agent.wait(60) == 0, (self._folder / "agent.log").read_text()

    def were_enough(self) -> None:
        """Nothing in either group was killed for want of memory."""
        for name, one in (("agent", self.agent), ("shipper", self.ship)):
            print(f"{name}: at most {one.peak / 2**20:.1f} MiB were charged")
            assert one.kills == 0, name


def limits(column: int) -> tuple[int, int, int]:
    """MiB of the agent, the shipper, and the shipper with S3 (0: not said), as docs/install.md has it."""
    (line,) = re.findall(
        r"^\| `MemoryMax=` agent / shipper \|(.*)\|$", (ROOT / "docs/install.md").read_text(), re.M
    )
    cell = line.split("|")[column]
    agent, ship, s3 = re.findall(r"(\d+)M / (\d+)M(?: \((\d+)M with S3\))?", cell)[0]
    return int(agent), int(ship), int(s3 or 0)


@pytest.mark.mosquitto
def test_a_device_of_64_mb(program: str, short_tmp: Path, mosquitto: Mosquitto) -> None:
    """A burst that finds the broker away, and one that drains all that waits."""
    agent_mib, ship_mib, _ = limits(0)
    toml = SMALL + CAPTURE + MQTT.format(port=mosquitto.port)
    with group("agent", agent_mib) as agent, group("ship", ship_mib) as ship:
        halves = Halves(program, short_tmp, toml, agent, ship)
        halves.send()
        halves.stop_agent()
        with Receiver(short_tmp, f"mqtt://127.0.0.1:{mosquitto.port}") as receiver:
            receiver.start()
            mosquitto.stop()
            assert halves.start_shipper("--once").wait(120) == 5
            mosquitto.start()
            assert halves.start_shipper("--once").wait(120) == 0
            wait_for(lambda: receiver.count("predictions") == PREDICTIONS, 120, "all came")
        halves.were_enough()


@pytest.mark.mosquitto
def test_a_device_of_128_mb(program: str, short_tmp: Path, mosquitto: Mosquitto) -> None:
    """The broker is away for half of the time, and what waited is drained while more comes."""
    agent_mib, ship_mib, _ = limits(1)
    with (
        group("agent", agent_mib) as agent,
        group("ship", ship_mib) as ship,
        Receiver(short_tmp, f"mqtt://127.0.0.1:{mosquitto.port}") as receiver,
    ):
        receiver.start()
        mosquitto.stop()
        halves = Halves(program, short_tmp, CAPTURE + MQTT.format(port=mosquitto.port), agent, ship)
        shipper = halves.start_shipper()
        halves.send()
        mosquitto.start()
        halves.send(PREDICTIONS)
        halves.stop_agent()
        wait_for(lambda: receiver.count("predictions") == 2 * PREDICTIONS, 120, "all came")
        shipper.send_signal(signal.SIGTERM)
        assert shipper.wait(60) == 0
        halves.were_enough()


def test_a_device_of_128_mb_with_s3(program: str, short_tmp: Path, rclone: Rclone) -> None:
    agent_mib, _, ship_mib = limits(1)
    bucket = rclone.bucket()
    sink = f'bucket = "{bucket}"\nendpoint = "{rclone.endpoint}"\nmax_age = "5s"\n'
    with group("agent", agent_mib) as agent, group("ship", ship_mib) as ship:
        toml = f'{CAPTURE}[ship]\nsink = "s3"\n[s3]\n{sink}'
        halves = Halves(program, short_tmp, toml, agent, ship)
        shipper = halves.start_shipper()
        halves.send()
        halves.stop_agent()
        shipper.send_signal(signal.SIGTERM)
        assert shipper.wait(120) == 0
        halves.were_enough()
        done = edgemon(
            "receive", f"s3://{bucket}", "--endpoint-url", rclone.endpoint, "--to", "sqlite:fleet.db",
            cwd=short_tmp,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert query(short_tmp / "fleet.db", "SELECT count(*) FROM predictions") == [(PREDICTIONS,)]
