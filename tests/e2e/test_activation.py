"""Sockets that systemd opened: a launcher does what systemd does, with real descriptors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Device
from tests.servers import wait_for

TOML = '[ship]\nsink = "none"\n[system]\nenabled = false\n[models."*"]\ncapture = "none"\n'
# What systemd does between fork and exec: the descriptors from 3 on, and for whom they are.
LAUNCH = """
import os, sys
fds, names, pid = [int(fd) for fd in sys.argv[1].split(",")], sys.argv[2], sys.argv[3]
for number, fd in enumerate(fds):
    os.dup2(fd, 100 + number)
for number in range(len(fds)):
    os.dup2(100 + number, 3 + number, inheritable=True)
    os.close(100 + number)
os.environ |= {"LISTEN_PID": pid or str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-m", "edgemon", *sys.argv[4:]])
"""
EVENT = b'{"model":"m","output":1}\n'


class Activated(Device):
    """A device whose ingest sockets are this test's, as they would be systemd's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, TOML)
        self.run_dir.mkdir()
        self.path = str(self.run_dir / "ingest.sock")
        self.stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stream.bind(self.path)
        self.stream.listen(16)
        self.dgram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.dgram.bind(self.path + ".dgram")

    def launch(
        self, command: str, *sockets: socket.socket, names: str = "a:b", pid: str = ""
    ) -> None:
        fds = [sock.fileno() for sock in sockets or (self.stream, self.dgram)]
        with (self.folder / "run.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, ",".join(map(str, fds)), names, pid, command],
                cwd=self.folder, stderr=log, stdin=subprocess.DEVNULL, pass_fds=fds,
            )  # fmt: skip

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20.0)
        client.connect(self.path)
        return client

    def predictions(self) -> int:
        status = self.status()
        return int(status["ingest"]["predictions"]) if status else -1

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.stream.close()
        self.dgram.close()


@pytest.fixture
def device(short_tmp: Path) -> Iterator[Activated]:
    made = Activated(short_tmp)
    yield made
    made.close()


def send_and_wait(client: socket.socket) -> None:
    client.sendall(EVENT + b'{"ack":1,"level":"disk"}\n')
    assert json.loads(client.recv(1000)) == {"ack": 1, "level": "disk"}
    client.close()


def test_an_agent_serves_sockets_that_it_was_given_and_leaves_their_files(
    device: Activated,
) -> None:
    early = device.connect()  # systemd listens before there is an agent
    early.sendall(EVENT * 10)
    device.launch("agent")
    wait_for(lambda: device.predictions() == 10, what="what came before the agent is read")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(EVENT, device.path + ".dgram")
    wait_for(lambda: device.predictions() == 11, what="the datagram is read")
    send_and_wait(early)
    assert device.stop() == 0
    assert os.path.exists(device.path)
    assert os.path.exists(device.path + ".dgram")
    late = device.connect()  # between two agents
    late.sendall(EVENT * 5)
    device.launch("agent")
    wait_for(lambda: device.predictions() == 5, what="what came between two agents is read")
    late.close()


def test_the_supervisor_hands_them_to_each_agent_and_keeps_those_that_wait(
    device: Activated,
) -> None:
    device.launch("run")
    wait_for(lambda: device.status() is not None, what="the agent answers")
    status = device.status()
    assert status is not None
    assert status["pid"] != device.process.pid  # type: ignore[union-attr]
    send_and_wait(device.connect())
    os.kill(status["pid"], signal.SIGKILL)
    waiting = device.connect()  # nobody accepts now, and it is not refused
    send_and_wait(waiting)
    again = device.status()
    assert again is not None
    assert again["pid"] != status["pid"]
    assert device.stop() == 0
    assert os.path.exists(device.path)


def test_descriptors_of_another_process_are_left_alone(device: Activated) -> None:
    os.unlink(device.path)
    device.launch("agent", device.dgram, pid="1")
    wait_for(lambda: device.status() is not None, what="the agent answers")
    send_and_wait(device.connect())


def test_sockets_that_nobody_can_use_are_an_error_that_says_which(device: Activated) -> None:
    device.launch("agent", device.stream, device.stream, names="one:two")
    assert device.process is not None
    assert device.process.wait(20) == 2
    assert "socket activation: descriptor 4 (two) must be a Unix socket" in device.log()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:  # it does not listen
        device.launch("agent", silent, names="three")
        assert device.process.wait(20) == 2
    assert "descriptor 3 (three)" in device.log()
    with (device.folder / "edgemon.toml").open("rb") as file:
        device.launch("run", file, names="four")  # type: ignore[arg-type]
        assert device.process.wait(20) == 2
    assert "descriptor 3 (four) is not a socket" in device.log()
