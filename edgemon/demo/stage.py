"""What stands on the stage: a folder, a broker, and edgemon's own processes, each a real child.

Everything that is started is on one list, and is ended by its own pid in the reverse order, whatever
happens: an error, Ctrl-C, SIGTERM. Each child has a process group of its own, so that a Ctrl-C on the
terminal reaches the demonstration alone, which then ends them in order.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable

from edgemon.control import MAX_PATH_BYTES
from edgemon.demo.children import HOST, Broker, Child
from edgemon.demo.play import MODEL
from edgemon.errors import EdgemonError, UsageError

DRIFT_WINDOW = 200

# "all": every raw row is kept, so that the end can be counted. The short times are for a short show;
# an ordinary device keeps the defaults.
_CONFIG = """\
# Written by `edgemon demo`. `edgemon init` writes one with all keys explained.
[agent]
device = "meter-camera"
state_dir = "state"
run_dir = "."

[system]
interval = "5s"

[models."{model}"]
profile = "{model}.profile"
capture = "all"
window = "5s"

[drift]
window = {window}

[batch]
max_age = "2s"

[ship]
initial_interval = "500ms"
max_interval = "2s"

[mqtt]
host = "{host}"
port = {port}
version = "{mqtt_version}"
"""


class Stage:
    """Builds it all up in `folder` (empty, absolute); use as a context manager.

    build(make_reference): broker, receiver, profile, agent and shipper; `make_reference(path)` writes
    the JSON lines file of predictions that the profile is made from.
    """

    def __init__(self, folder: str, broker: str = "auto") -> None:
        if len(os.fsencode(self._in(folder, "ingest.sock"))) > MAX_PATH_BYTES:
            raise UsageError(
                f"{folder}: the path is too long for a socket in it; use a shorter one"
            )
        self.folder = folder
        self.config = self._in(folder, "demo.toml")
        self.database = self._in(folder, "received.db")
        self.ingest_socket = self._in(folder, "ingest.sock")
        self.agent_socket = self._in(folder, "agent.sock")
        self.ship_socket = self._in(folder, "ship.sock")
        self.broker: Broker
        self._broker_wanted = broker
        self._stops: list[Callable[[], None]] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """End everything, last started first. A second Ctrl-C does not leave anything behind."""
        interrupted: BaseException | None = None
        while self._stops:
            try:
                self._stops[-1]()
            except KeyboardInterrupt as error:  # the same stop is tried once more
                if interrupted is not None:
                    self._stops.pop()
                interrupted = error
            else:
                self._stops.pop()
        if interrupted is not None:
            raise interrupted

    def build(self, make_reference: Callable[[str], None], tell: Callable[[str], None]) -> None:
        """tell: what is being done, for the view."""
        self.broker = Broker(self._in(self.folder, "broker"), self._broker_wanted)
        tell(f"starting the broker ({self.broker.name})")
        self._stops.append(self.broker.stop)
        self.broker.start()
        tell("starting the receiver: broker to SQLite")
        self.receiver = self._start(
            "receiver",
            "receive", f"mqtt://{HOST}:{self.broker.port}", "--to", f"sqlite:{self.database}",
            "--mqtt-version", self.broker.mqtt_version,
        )  # fmt: skip
        # What is published before it has subscribed is not for it.
        self.receiver.wait_until(
            lambda: "edgemon: info: receiving" in self.receiver.said(), "its subscription"
        )
        tell("taking the reference pictures, building the profile")
        reference = self._in(self.folder, "reference.jsonl")
        make_reference(reference)
        profile = f"{MODEL}.profile"
        self.call("profile", "build", reference, "--out", self._in(self.folder, profile))
        with open(self.config, "w") as file:
            file.write(
                _CONFIG.format(
                    model=MODEL, window=DRIFT_WINDOW, host=HOST, port=self.broker.port,
                    mqtt_version=self.broker.mqtt_version,
                )
            )  # fmt: skip
        tell("starting agent and shipper")
        self.edgemon = self._start("edgemon", "run", "--config", self.config)
        self.edgemon.wait_until(lambda: _listens(self.ingest_socket), "the ingest socket")

    def stop_edgemon(self) -> None:
        """End agent and shipper as an operator would; what they still hold is shipped before."""
        self._stop_now(self.edgemon)

    def stop_receiver(self) -> None:
        self._stop_now(self.receiver)

    def call(self, *arguments: str) -> None:
        """Run an edgemon command to its end. EdgemonError with its last words when it fails."""
        done = subprocess.run(
            _edgemon(*arguments), cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )  # fmt: skip
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise EdgemonError(f"edgemon {arguments[0]} failed ({done.returncode}): {said[-1]}")

    def _start(self, name: str, *arguments: str) -> Child:
        log_path = self._in(self.folder, f"{name}.log")
        child = Child(name, _edgemon(*arguments), log_path, self.folder)
        self._stops.append(child.stop)
        return child

    def _stop_now(self, child: Child) -> None:
        child.stop()
        if child.stop in self._stops:
            self._stops.remove(child.stop)

    @staticmethod
    def _in(folder: str, name: str) -> str:
        return os.path.join(folder, name)


def _listens(path: str) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        return True
    return False


def _edgemon(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edgemon", *arguments]
