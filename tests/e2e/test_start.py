"""Signals to processes that are still starting."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.harness import Device
from tests.servers import wait_for

TOML = '[ship]\nsink = "none"\n[system]\nenabled = false\n'


def blocked(pid: int) -> bool:
    """Whether SIGHUP waits until the process can act on it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    mask = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(mask.split()[1], 16) & 1 << (signal.SIGHUP - 1))


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def agents(pids: list[int]) -> list[int]:
    """Those that run the agent: what reads the configuration is a child too, and ends."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if b"agent" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def started_and_blocked(device: Device) -> subprocess.Popen[bytes]:
    """`edgemon run` from the interpreter's start on, when a signal would kill it, until it can act on one.

    Once more where all of that was over before this process could see it.
    """
    for _ in range(20):
        device.process = process = subprocess.Popen(
            [sys.executable, "-m", "edgemon", "run"],
            cwd=device.folder, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        while not blocked(process.pid):
            assert process.poll() is None
            if device.status() is not None:
                assert device.stop() == 0
                break
        else:
            return process
    raise AssertionError("this machine is too busy to see a process start")


def test_a_reload_that_comes_while_edgemon_starts_does_not_kill_it(short_tmp: Path) -> None:
    device = Device(short_tmp, TOML)
    process = started_and_blocked(device)
    try:
        agent: list[int] = []
        while device.status() is None:
            assert process.poll() is None
            process.send_signal(signal.SIGHUP)
            now = children(process.pid)
            agent = agent or agents(now)
            assert agents(now) in (agent, [])
            for pid in now:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGHUP)
            time.sleep(0.002)

        def reloaded() -> bool:
            status = device.status()
            assert status is not None
            return bool(status["config"]["last_reload"] == "applied")

        wait_for(reloaded, what="the reload that came early")
        assert agents(children(process.pid)) == agent
        assert not blocked(process.pid)
        assert not blocked(agent[0])
    finally:
        assert device.stop() == 0


def test_a_stop_that_comes_while_the_agent_starts_ends_it_well(short_tmp: Path) -> None:
    device = Device(short_tmp, TOML)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgemon", "agent"],
        cwd=short_tmp, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(
        lambda: (device.folder / "state" / "spool").exists() or process.poll() is not None,
        what="it has begun to start",
    )
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=20)[1]
    assert process.returncode == 0, errors.decode()
    assert not (device.run_dir / "ingest.sock").exists()
