"""What systemd is told by the real processes: ready, alive while the loop turns, stopping."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
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


LIMIT_S = 0.2  # the manager's; ALIVE is due twice as often
# What it is told by SIGUSR1: its loop stands still until a line comes, while a thread runs as it likes.
PROGRAM = f"""
import signal, sys, threading, time
from edgemon.cli import main

def stand_still(*_):
    go_on = threading.Event()

    def run_beside():
        time.sleep({3 * LIMIT_S})
        print("a thread ran", flush=True)
        sys.stdin.readline()
        go_on.set()

    print("the loop stands still", flush=True)
    threading.Thread(target=run_beside).start()
    go_on.wait()

signal.signal(signal.SIGUSR1, stand_still)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(params=["agent", "ship"])
def process(
    request: pytest.FixtureRequest, short_tmp: Path, manager: socket.socket
) -> Iterator[subprocess.Popen[bytes]]:
    (short_tmp / "edgemon.toml").write_text(CONFIG)
    environment = os.environ | {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": f"{LIMIT_S * 1e6:.0f}",
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, request.param],
        cwd=short_tmp,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as started:
        yield started
        started.kill()


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


def waiting(manager: socket.socket) -> list[str]:
    """What has been said and not been read."""
    said: list[str] = []
    timeout_s = manager.gettimeout()
    manager.setblocking(False)
    with suppress(BlockingIOError):
        for _ in range(1_000):
            said.append(manager.recv(100).decode())
    manager.settimeout(timeout_s)
    return said


def test_a_loop_that_stands_still_says_nothing_though_its_process_lives(
    manager: socket.socket, process: subprocess.Popen[bytes]
) -> None:
    assert process.stdin is not None and process.stdout is not None
    until(manager, service.READY)
    until(manager, service.ALIVE)
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == b"the loop stands still\n"
    waiting(manager)  # from before
    assert process.stdout.readline() == b"a thread ran\n"
    assert waiting(manager) == []
    process.stdin.write(b"go on\n")
    process.stdin.flush()
    until(manager, service.ALIVE)
    until(manager, service.ALIVE)


def test_a_process_that_is_stopped_says_nothing(
    manager: socket.socket, process: subprocess.Popen[bytes]
) -> None:
    until(manager, service.READY)
    until(manager, service.ALIVE)
    process.send_signal(signal.SIGSTOP)
    manager.settimeout(3 * LIMIT_S)
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
