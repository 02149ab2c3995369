"""One soak: a device under a fast clock, its applications, and a broker and a receiver that live in real time."""

from __future__ import annotations

import contextlib
import heapq
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from edgemon import Client
from tests.e2e.harness import EDGEMON, Device, Receiver
from tests.notice_servers import Hook, MailServer
from tests.servers import Mosquitto, wait_for
from tests.soak.clock import FastClock
from tests.soak.device import (
    AFTER_RELOAD,
    BEFORE_RELOAD,
    CONFIG,
    DOCS,
    OVERLAY,
    Hardware,
)
from tests.soak.models import MODELS, TRUTH_DELAY_S, Row, Source, write_reference

_TICK_S = 0.2  # of real time
_QUEUE, _LONG_QUEUE = 5.0, 500.0


class Usage(NamedTuple):
    """One process at one instant. at_h: simulated; kB. anonymous: of rss, what no file backs: heaps and stacks."""

    at_h: float
    pid: int
    rss: int
    anonymous: int
    files: int
    threads: int


class Soak:
    """folder: with a short path.  seed: of all that is drawn.

    It keeps what was sent, and `_look` what the processes take, for verdict.py.
    """

    def __init__(
        self, folder: Path, mosquitto: Mosquitto, library: Path, factor: int, seed: int
    ) -> None:
        self.folder, self.mosquitto = folder, mosquitto
        self.hook, self.mail = Hook(), MailServer()
        ports = {"hook_port": self.hook.port, "mail_port": self.mail.port}
        config = CONFIG.format(port=mosquitto.port, folder=folder, docs=DOCS, **ports)
        self.device = Device(folder, config)
        self.receiver = Receiver(folder, f"mqtt://127.0.0.1:{mosquitto.port}", "--confirm")
        self.sources = {model.name: Source(model, seed) for model in MODELS}
        self.sent = dict.fromkeys(self.sources, 0)
        self.failed = dict.fromkeys(self.sources, 0)
        self.truths = 0
        self.night_ids: list[str] = []
        self.usage: dict[str, list[Usage]] = {"agent": [], "ship": []}
        self.pages: list[int] = []  # lines of each page at /metrics
        self.lives: list[dict[str, int]] = []  # counters of agents and shippers at their ends
        self._later: list[tuple[float, str, Any, str]] = []
        self._queue = _QUEUE
        (folder / "remote.key").write_text("0123456789abcdef" * 4 + "\n")
        (folder / "remote.key").chmod(0o600)
        self._build_profiles(seed + 1)
        self.clock = FastClock(library, factor)
        self.device.environment |= self.clock.environment
        self.hardware = Hardware(folder, self.clock, seed)

    def start(self) -> None:
        """Every process; `close` ends them, also when this fails."""
        self.hardware.start()
        self.receiver.start()
        self.device.start()
        self.client = Client(self.device.run_dir / "ingest.sock", buffer_bytes=16 << 20)
        self._began_s = self.clock.elapsed_s

    def _build_profiles(self, seed: int) -> None:
        builders = []
        for model in MODELS:
            if model.profile:
                name = model.name
                write_reference(self.folder / f"{name}.jsonl", model, seed)
                words = f"profile build {name}.jsonl --name {name} --out {name}.profile"
                builders.append(
                    subprocess.Popen(
                        [*EDGEMON, *words.split()], cwd=self.folder, stdout=subprocess.DEVNULL
                    )
                )
        assert [builder.wait(60) for builder in builders] == [0] * len(builders)

    @property
    def hour(self) -> float:
        """Simulated hours since the applications began."""
        return (self.clock.elapsed_s - self._began_s) / 3600

    # -- the applications

    def run(self, hours: float, plan: list[tuple[float, Callable[[], None]]]) -> None:
        """plan: (simulated hour, what happens then)."""
        left = sorted(plan, key=lambda one: one[0])
        look_s = 0.0
        while self.hour < hours:
            while left and left[0][0] <= self.hour:
                left.pop(0)[1]()
            self._send()
            if time.monotonic() >= look_s:
                look_s = time.monotonic() + 1.0
                self._look()
            time.sleep(_TICK_S)
        assert not left, f"the soak was over before {left}"

    def _send(self) -> None:
        now_s = self.clock.elapsed_s - self._began_s
        for name, source in self.sources.items():
            for row in source.due(now_s):
                self._send_one(name, source, row, now_s)
        while self._later and self._later[0][0] <= now_s:
            _, identifier, label, name = heapq.heappop(self._later)
            self.client.truth(identifier, label, name)
            self.truths += 1
        self._send_queue_length()

    def _send_queue_length(self) -> None:
        """As a datagram, which nobody waits for."""
        event = {"metric": "queue length", "value": self._queue}
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
            contextlib.suppress(OSError),
        ):
            sender.setblocking(False)
            sender.sendto(json.dumps(event).encode(), str(self.device.run_dir / "ingest.dgram"))

    def _send_one(self, name: str, source: Source, row: Row, now_s: float) -> None:
        if "error" in row:
            self.client.error(name, row["error"])
            self.failed[name] += 1
            return
        self.client.log(name, row["output"], row["features"], id=row["id"], latency=row["latency"])
        self.sent[name] += 1
        if name == "night":
            self.night_ids.append(row["id"])
        if source.tells_truth():
            heapq.heappush(self._later, (now_s + TRUTH_DELAY_S, row["id"], row["label"], name))

    def long_queue(self) -> None:
        self._queue = _LONG_QUEUE

    def short_queue(self) -> None:
        self._queue = _QUEUE

    # -- what happens to it

    def reload(self) -> None:
        file, status = self.folder / "edgemon.toml", self.device.status()
        assert status is not None
        text = file.read_text()
        assert BEFORE_RELOAD in text
        file.write_text(text.replace(BEFORE_RELOAD, AFTER_RELOAD))
        assert self.device.process is not None
        self.device.process.send_signal(signal.SIGHUP)

    def configure_from_afar(self) -> None:
        (self.folder / "overlay.toml").write_text(OVERLAY)
        words = (
            "remote sign overlay.toml --key-file remote.key --device soak --fleet lab --revision 1"
        )
        words += f" --publish mqtt://127.0.0.1:{self.mosquitto.port}"
        subprocess.run([*EDGEMON, *words.split()], cwd=self.folder, check=True, capture_output=True)

    def kill_agent(self) -> None:
        self._send()
        assert self.client.flush("disk", 30.0), self.client.stats()
        self._remember_life("agent")
        self.device.kill_agent()

    def kill_shipper(self) -> None:
        pid = self._remember_life("ship")
        os.kill(pid, signal.SIGKILL)

        def back() -> bool:
            now = self.device.status("ship")
            return now is not None and now["pid"] != pid

        wait_for(back, what="the supervisor restarted the shipper")

    def _remember_life(self, who: str) -> int:
        status = self.device.status(who)
        assert status is not None
        self.lives.append(status["counters"])
        return int(status["pid"])

    # -- looking

    def _look(self) -> None:
        for who, series in self.usage.items():
            status = self.device.status(who)
            if status is not None and (usage := _usage(self.hour, status["pid"])) is not None:
                series.append(usage)
        page = self.scrape()
        if page:
            self.pages.append(page.count("\n"))

    def scrape(self) -> str:
        """The page at /metrics; "" while the agent is being restarted."""
        connection = http.client.HTTPConnection("edgemon", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        try:
            connection.sock.connect(str(self.device.run_dir / "metrics.sock"))
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    # -- the end

    def finish(self) -> None:
        """All is said, on disk, shipped and stored; then the device stops."""
        assert self.client.flush("disk", 60.0), self.client.stats()
        self.stats = self.client.stats()
        wait_for(lambda: self._waiting() < 20, 180, "the spool to drain")
        self._remember_life("agent")
        self._remember_life("ship")
        self.client.close()
        assert self.device.stop() == 0, self.device.log()
        self.hardware.stop()
        subprocess.run(
            [*EDGEMON, "ship", "--once"], cwd=self.folder, check=True, timeout=120,
            env=os.environ | self.clock.environment, capture_output=True,
        )  # fmt: skip
        assert self.receiver.stop() == 0

    def _waiting(self) -> int:
        status = self.device.status()
        return 1 << 30 if status is None else int(status["spool"]["waiting_batches"])

    def close(self) -> None:
        """Leave nothing behind, also after a failure."""
        self.hardware.stop()
        self.hook.stop()
        self.mail.stop()
        for process in (self.device.process, self.receiver.process):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def _usage(at_h: float, pid: int) -> Usage | None:
    """None: it is gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = {line.split()[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
        files = len(os.listdir(f"/proc/{pid}/fd"))
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except (OSError, IndexError):
        return None
    return Usage(at_h, pid, found["Rss:"], found["Anonymous:"], files, threads)
