"""What systemd is told by the real processes: ready, alive while the loop turns, stopping."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon import service

CONFIG = '[agent]\nstate_dir = "state"\nrun_dir = "run"\n[ship]\nsink = "file"\n'


@pytest.fixture
def manager(short_tmp: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(short_tmp / "notify"))
        listening.settimeout(20)
        yield listening


@pytest.fixture(params=["agent", "ship"])
def process(
    request: pytest.FixtureRequest, short_tmp: Path, manager: socket.socket
) -> Iterator[subprocess.Popen[bytes]]:
    (short_tmp / "edgemon.toml").write_text(CONFIG)
    environment = os.environ | {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "200000",
    }
    started = subprocess.Popen(
        [sys.executable, "-m", "edgemon", request.param],
        cwd=short_tmp,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    yield started
    started.kill()
    started.wait()


def until(manager: socket.socket, wanted: str) -> list[str]:
    """What is said up to and including that; TimeoutError when it is not."""
    said: list[str] = []
    while not said or said[-1] != wanted:
        said.append(manager.recv(100).decode())
    return said


def test_ready_then_alive_then_stopping(
    manager: socket.socket, process: subprocess.Popen[bytes]
) -> None:
    assert until(manager, service.READY)[0] in (service.READY, service.ALIVE)
    for _ in range(3):
        until(manager, service.ALIVE)
    process.send_signal(signal.SIGTERM)
    until(manager, service.STOPPING)
    assert process.wait(20) == 0


def test_a_loop_that_does_not_turn_says_nothing(
    manager: socket.socket, process: subprocess.Popen[bytes]
) -> None:
    until(manager, service.READY)
    until(manager, service.ALIVE)
    process.send_signal(signal.SIGSTOP)
    manager.settimeout(0.6)  # six times as long as it may be silent
    with pytest.raises(TimeoutError):
        for _ in range(10):  # what was on its way
            manager.recv(100)
    process.send_signal(signal.SIGCONT)
    manager.settimeout(20)
    until(manager, service.ALIVE)


@pytest.mark.parametrize("address", ["", "vsock:1:2", "/nowhere/notify"])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    service.tell(service.READY)


def test_an_abstract_address_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"edgemon-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        service.tell(service.READY)
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("limit_us", "pid", "interval_s"),
    [("60000000", None, 30.0), ("60000000", "1", 0.0), ("", None, 0.0), ("soon", None, 0.0)],
)
def test_the_watchdog_is_for_the_process_that_is_named(
    monkeypatch: pytest.MonkeyPatch, limit_us: str, pid: str | None, interval_s: float
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit_us)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert service.watchdog_interval_s() == interval_s
