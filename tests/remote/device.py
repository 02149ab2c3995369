"""One device for the tests of the remote hand: its files, its processes, and who signs for it."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgemon.config.remembered import Overlay, Remembered, read
from edgemon.control import request
from edgemon.errors import EdgemonError
from edgemon.remote.message import sign
from tests.servers import wait_for

KEY = b"0123456789abcdef" * 4
OTHER_KEY = b"fedcba9876543210" * 4
GOOD = '[batch]\nmax_age = "5m"\n'
CONFIG = """\
[agent]
device = "cam-7"
fleet = "lab"
state_dir = "."
run_dir = "."
[system]
enabled = false
[mqtt]
host = "127.0.0.1"
port = {port}
[ship]
initial_interval = "50ms"
max_interval = "200ms"
[remote]
enabled = true
key_file = "key"
confirm = "{confirm}"
"""
# Ends the process, as kill -9 does, before the nth time that remote.json is written or put in its place; or when a
# text from afar is applied.
KILLED_AT = """
import os, sys
from edgemon.spool import fs
left = [int(sys.argv.pop(1))]
def counted(operation):
    def wrapped(self, path, *rest):
        if "remote.json" in path:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), 9)
        return operation(self, path, *rest)
    return wrapped
for name in ("open", "rename"):
    setattr(fs.OsFileSystem, name, counted(getattr(fs.OsFileSystem, name)))
"""
KILLED_WHEN_APPLIED = """
import os
from edgemon.agent.agent import Agent
before = Agent._start, Agent.apply
def start(self):
    if self.config.afar is not None and self.config.afar.keys:
        os.kill(os.getpid(), 9)
    before[0](self)
def apply(self, config, profiles):
    if config.afar is not None and config.afar.keys:
        os.kill(os.getpid(), 9)
    before[1](self, config, profiles)
Agent._start, Agent.apply = start, apply
"""
_MAIN = "\nimport sys\nfrom edgemon.cli import main\nsys.exit(main(sys.argv[1:]))\n"


def message(
    revision: int,
    text: str = GOOD,
    key: bytes = KEY,
    device: str = "cam-7",
    fleet: str = "lab",
) -> bytes:
    return sign(Overlay(revision, device, fleet, text), key)


class Device:
    """Files in `folder`; `run` starts one process, which `kill` and `stop` end."""

    def __init__(self, folder: Path, port: int = 1, confirm: str = "1h") -> None:
        self.folder = folder
        self.file = folder / "edgemon.toml"
        self.file.write_text(CONFIG.format(port=port, confirm=confirm))
        (folder / "key").write_bytes(KEY + b"\n")
        (folder / "key").chmod(0o600)
        self.processes: list[subprocess.Popen[bytes]] = []

    # -- processes

    def run(self, command: str = "agent", patch: str = "", *words: str) -> subprocess.Popen[bytes]:
        """Start it. patch: Python that is run in the process before."""
        program = ["-c", patch + _MAIN, *words] if patch else ["-m", "edgemon"]
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *program, command, "--config", str(self.file)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def start(self) -> subprocess.Popen[bytes]:
        """An agent, once it answers."""
        process = self.run()
        self.wait_up(process)
        return process

    def wait_up(self, process: subprocess.Popen[bytes]) -> None:
        def up() -> bool:
            assert process.poll() is None, self.log()
            return self.ask("status") is not None

        wait_for(up, what="the agent answers")

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(20)
        self.processes.clear()

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        self.processes.remove(process)
        return process.wait(20)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    # -- what it says

    def ask(self, command: str, **more: object) -> dict[str, Any] | None:
        """None where no agent answers."""
        try:
            return request(str(self.folder / "agent.sock"), {"cmd": command, **more}, 10.0)
        except EdgemonError:
            return None

    def send(self, payload: bytes, *, online: bool = False) -> dict[str, Any]:
        """As the shipper hands it over; the report."""
        told = self.ask("desired", message=base64.b64encode(payload).decode(), online=online)
        assert told is not None, self.log()
        return told

    def status(self) -> dict[str, Any]:
        told = self.ask("status")
        assert told is not None, self.log()
        return told

    def report(self) -> dict[str, Any]:
        told = self.ask("remote")
        assert told is not None, self.log()
        return told

    def remembered(self) -> Remembered:
        return read(str(self.folder))

    def events(self, status: dict[str, Any] | None = None) -> dict[str, int]:
        """Events of the remote hand that this agent told, by their last part."""
        prefix = 'edgemon_agent_events_total{reason="config.remote.'
        counters: dict[str, int] = (status or self.status())["counters"]
        return {
            name.removeprefix(prefix).removesuffix('"}'): count
            for name, count in counters.items()
            if name.startswith(prefix)
        }
