"""The binaries that `make binary` made, this machine's and ARM's under emulation: self-test, and socket to database.

A binary that was not made is skipped by name. Root is not needed once `make binary ARCH=…` has set up the emulation.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import EVERYTHING_SHIPPED, Application, Device, Receiver, prediction
from tests.packaging.conftest import Binary, built
from tests.packaging.container import ROOT
from tests.servers import Mosquitto, wait_for

PREDICTIONS = 10_000
CHUNK = 1_000
BROKER_GONE, AGENT_KILLED, BROKER_BACK = 3_000, 5_000, 8_000

pytestmark = pytest.mark.slow


def selftest(program: list[str], folder: Path) -> dict[str, str]:
    done = subprocess.run(
        [*program, "selftest", "--json", "--config", "edgemon.toml"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {one["check"]: one["result"] for one in json.loads(done.stdout)["findings"]}


def test_both_forms_pass_their_self_test(binary: Binary, short_tmp: Path) -> None:
    (short_tmp / "edgemon.toml").write_text(
        '[agent]\nstate_dir = "s"\nrun_dir = "r"\n[ship]\nsink = "file"\n'
    )
    assert set(selftest(binary.program, short_tmp).values()) == {"ok"}
    subprocess.run(["dpkg-deb", "-x", str(binary.deb), str(short_tmp / "deb")], check=True)
    installed = str(short_tmp / "deb/usr/bin/edgemon")
    assert set(selftest([*binary.program[:-1], installed], short_tmp).values()) == {"ok"}


def test_the_installer_knows_the_oldest_glibc(binary: Binary) -> None:
    """What install.sh asks for is what the newest symbol of the same build is."""
    asked = subprocess.run(
        ["dpkg-deb", "-f", str(binary.deb), "Depends"], capture_output=True, text=True, check=True
    )
    script = (ROOT / "packaging/install.sh").read_text()
    (floor,) = re.findall(r"^FLOOR=(\S+)$", script, re.M)
    assert f"libc6 (>= {floor})" in asked.stdout


def test_the_arm64_files_run_on_kernels_with_larger_pages(tmp_path: Path) -> None:
    """A Raspberry Pi 5 has 16 KiB a page, some servers 64: what is mapped must be aligned so."""
    binary = built("arm64")
    subprocess.run(["dpkg-deb", "-x", str(binary.deb), str(tmp_path)], check=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    shown = subprocess.run(
        ["readelf", "-lW", binary.program[-1], *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    alignments = [int(one, 16) for one in re.findall(r"^ +LOAD .* (0x\w+)$", shown.stdout, re.M)]
    assert len(alignments) > 20 and min(alignments) >= 64 << 10


@pytest.fixture
def device(binary: Binary, short_tmp: Path, mosquitto: Mosquitto) -> Iterator[Device]:
    toml = EVERYTHING_SHIPPED.format(port=mosquitto.port)
    with Device(short_tmp, toml, binary.program) as made:
        made.start()
        yield made


@pytest.mark.mosquitto
def test_every_acknowledged_prediction_is_stored_exactly_once(
    mosquitto: Mosquitto, tmp_path: Path, device: Device, binary: Binary
) -> None:
    status = device.status()
    assert status is not None
    if binary.arch != "amd64":
        assert "qemu" in os.readlink(f"/proc/{status['pid']}/exe"), "the agent is not emulated"
    receiver = Receiver(tmp_path, f"mqtt://127.0.0.1:{mosquitto.port}")
    receiver.start()
    application = Application(device)
    trials = {
        BROKER_GONE: mosquitto.stop,
        AGENT_KILLED: application.outlive_agent,
        BROKER_BACK: mosquitto.start,
    }
    application.send_through(PREDICTIONS, CHUNK, trials)
    wait_for(lambda: receiver.count("predictions") >= PREDICTIONS, 120, "all are stored")
    assert device.stop() == 0
    assert receiver.stop() == 0
    rows = receiver.query(
        "SELECT prediction_id, output_number, latency_s, features FROM predictions"
    )
    assert len(rows) == PREDICTIONS == application.acknowledged
    by_id = {int(row[0]): row for row in rows}
    assert by_id.keys() == set(range(PREDICTIONS))
    for number in range(0, PREDICTIONS, 97):
        sent = prediction(number)
        assert by_id[number][1:3] == (sent["output"], sent["latency"])
        assert json.loads(by_id[number][3]) == sent["features"]
    assert receiver.query("SELECT count(*) FROM events WHERE type = 'gap'") == [(0,)]
