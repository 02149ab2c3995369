"""The demonstration as a person starts it: real broker, receiver, agent and shipper."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the demo extra is not installed")
pytest.importorskip("rich", reason="the demo extra is not installed")

from edgemon.demo.watch import arrived
from tests.servers import heed_ctrl_c, mosquitto_program, nats_program, wait_for

BROKERS = [
    pytest.param(
        name, marks=[pytest.mark.skipif(not program, reason=f"{name} is not installed"), *marks]
    )
    for name, program, marks in (
        ("mosquitto", mosquitto_program(), [pytest.mark.mosquitto]),
        ("nats", nats_program(), []),
    )
]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgemon", "demo", "--fast", "--keep", str(folder), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=heed_ctrl_c,
    )  # fmt: skip


def processes_of(folder: Path) -> Iterator[str]:
    """Command lines that name the folder: what the demonstration started there."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(str(folder) in word for word in words) and "demo" not in words:
                yield " ".join(words)


@pytest.mark.parametrize("broker", BROKERS)
def test_the_demonstration_ends_well_and_leaves_no_process(tmp_path: Path, broker: str) -> None:
    folder = tmp_path / "demo"
    process = start(folder, "--broker", broker)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert "5,000 sent, 5,000 stored, 0 lost, 0 twice" in text
    assert "All arrived, each once, and the drift was seen." in text
    found = arrived(str(folder / "received.db"))
    assert found is not None and found.predictions == 5_000 and found.ended
    assert min(found.alarms.values()) > 0
    assert list(processes_of(folder)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_leaves_no_process(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "demo"
    process = start(folder)
    listens = (folder / "ingest.sock").exists
    wait_for(lambda: listens() or process.poll() is not None, 60, "the agent listens")
    started = list(processes_of(folder))
    process.send_signal(number)
    text, _ = process.communicate(timeout=60)
    assert started, text
    assert process.returncode == 130, text
    assert list(processes_of(folder)) == []


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    process = start(tmp_path)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "not empty" in text and os.listdir(tmp_path) == ["mine"]
