"""The storm: everything is killed, cut off and restarted at random while an application goes on sending.

The oracle compares what the application was told ("on disk") with what the database holds: each exactly once,
or covered by a gap. The broker restarts with its memory; a broker that forgets needs confirm = "receiver".
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.harness import Device, Receiver, prediction
from tests.servers import Mosquitto, Proxy, wait_for

pytestmark = pytest.mark.mosquitto
CHUNK = 100
PATIENCE_S = 1.5
KINDS = ("event", "agg", "sys", "pred")
CONFIG = """
[models."*"]
capture = "all"
window = "1s"
[system]
interval = "1s"
[batch]
max_age = "500ms"
[spool]
sync_interval = "100ms"
[ship]
sink = "mqtt"
initial_interval = "50ms"
max_interval = "500ms"
[mqtt]
host = "127.0.0.1"
port = {port}
keepalive = "5s"
connect_timeout = "1s"
"""


class Sender(threading.Thread):
    """Sends chunks of numbered predictions, each number once, and keeps the numbers that are on disk."""

    def __init__(self, device: Device, pause_s: float = 0.02) -> None:
        super().__init__(name="sender")
        self._path = str(device.run_dir / "ingest.sock")
        self._pause_s = pause_s
        self._ending = threading.Event()
        self.acknowledged: set[int] = set()
        self.sent = 0

    def run(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20.0)
                client.connect(self._path)
                answers = client.makefile("rb")
                while not self._ending.is_set() and self._chunk(client, answers):
                    self._ending.wait(self._pause_s)
            self._ending.wait(0.05)

    def _chunk(self, client: socket.socket, answers: Any) -> bool:
        """One chunk and its acknowledgement; False when the agent is gone."""
        numbers = range(self.sent, self.sent + CHUNK)
        self.sent += CHUNK
        lines = [json.dumps(prediction(number)) for number in numbers]
        lines.append(json.dumps({"ack": numbers[-1], "level": "disk"}))
        client.sendall("\n".join(lines).encode() + b"\n")
        answer = answers.readline()
        if not answer.endswith(b"\n"):
            return False
        if json.loads(answer) == {"ack": numbers[-1], "level": "disk"}:
            self.acknowledged.update(numbers)
        return True

    def end(self) -> None:
        self._ending.set()
        self.join(30)


class Storm:
    """One device, one proxy, one broker, one receiver, and what can happen to them."""

    def __init__(self, folder: Path, broker: Mosquitto, random: Random) -> None:
        self.random = random
        self.broker = broker
        self.proxy = Proxy(broker.port)
        self.device = Device(folder, CONFIG.format(port=self.proxy.port))
        (folder / "receiver").mkdir()
        self.receiver = Receiver(folder / "receiver", f"mqtt://127.0.0.1:{broker.port}")
        self.done: list[str] = []
        self._ahead: list[Callable[[], None]] = []  # each thing happens once before any does again
        self._calm: Callable[[], None] | None = None  # ends what lasts until the next round

    def round(self) -> None:
        """One thing happens; what lasted since the round before ends."""
        if self._calm is not None:
            self._calm()
            self._calm = None
        if not self._ahead:
            self._ahead = self._everything()
            self.random.shuffle(self._ahead)
        happening = self._ahead.pop()
        self.done.append(happening.__name__)
        happening()

    def _everything(self) -> list[Callable[[], None]]:
        return [
            self.kill_agent,
            self.kill_agent,
            self.kill_shipper,
            self.kill_receiver,
            self.kill_all,
            self.restart_broker,
            self.stop_broker,
            self.cut,
            self.halve,
            self.swallow_up,
            self.swallow_down,
            self.refuse,
        ]

    def end(self) -> None:
        if self._calm is not None:
            self._calm()

    def close(self) -> None:
        for part in (self.device, self.receiver):
            part.end()
        self.proxy.close()

    def kill_agent(self) -> None:
        """The supervisor restarts it; one that has seen too many deaths, and waits, is killed as well."""
        before = self.device.status()
        assert before is not None
        os.kill(before["pid"], signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while (now := self.device.status()) is None or now["pid"] == before["pid"]:
            if time.monotonic() > deadline:
                assert self.device.process is not None
                self.device.process.kill()
                self.device.process.wait()
                self.device.start()
                return
            time.sleep(0.02)

    def kill_shipper(self) -> None:
        status = self.device.status("ship")
        if status is not None:
            os.kill(status["pid"], signal.SIGKILL)

    def kill_receiver(self) -> None:
        self.receiver.kill()
        self.receiver.start()

    def kill_all(self) -> None:
        self.receiver.kill()
        self.kill_shipper()
        self.kill_agent()
        self.receiver.start()

    def restart_broker(self) -> None:
        self.broker.restart()

    def stop_broker(self) -> None:
        self.broker.stop()
        self._calm = self.broker.start

    def cut(self) -> None:
        self.proxy.cut()

    def halve(self) -> None:
        self.proxy.cut_after_bytes = self.random.randint(1, 20_000)

    def swallow_up(self) -> None:
        self.proxy.swallow_up = True
        self._calm = self._flow

    def swallow_down(self) -> None:
        self.proxy.swallow_down = True
        self._calm = self._flow

    def refuse(self) -> None:
        self.proxy.refuse = True
        self.proxy.cut()
        self._calm = self._flow

    def _flow(self) -> None:
        """As before; a connection that has lost bytes is no connection any more."""
        self.proxy.swallow_up = self.proxy.swallow_down = self.proxy.refuse = False
        self.proxy.cut()


@pytest.fixture
def storm(short_tmp: Path, mosquitto: Mosquitto) -> Iterator[Storm]:
    made = Storm(short_tmp, mosquitto, Random(11))
    yield made
    made.close()


def blow(storm: Storm, rounds: int, budget_s: float) -> None:
    storm.receiver.start()
    storm.device.start()
    sender = Sender(storm.device)
    sender.start()
    deadline = time.monotonic() + budget_s
    try:
        for _ in range(rounds):
            assert time.monotonic() < deadline, f"{len(storm.done)} rounds in {budget_s:g} s"
            storm.round()
            goal = len(sender.acknowledged) + storm.random.randint(1, 10) * CHUNK
            wait_for(lambda goal=goal: len(sender.acknowledged) >= goal, 30, "it goes on")  # type: ignore[misc]
    finally:
        sender.end()
        storm.end()
    everything_arrives(storm)
    told = sender.acknowledged
    print(
        f"\n{rounds} rounds, {len(told):,} of {sender.sent:,} acknowledged: {', '.join(storm.done)}"
    )
    compare(storm.receiver, told, sender.sent)


def everything_arrives(storm: Storm) -> None:
    """Stop the device, which ships what it has; start it again where that took too long."""
    assert storm.device.stop() == 0
    storm.device.start()

    def empty() -> bool:
        status = storm.device.status()
        return status is not None and not status["spool"]["waiting_batches"]

    wait_for(empty, 60, "the spool is empty")
    durable = storm.device.durable()

    def stored() -> bool:
        found = dict(storm.receiver.query("SELECT kind, max(seq) FROM batches GROUP BY kind"))
        return all(found.get(kind, 0) >= seq for kind, seq in durable.items())

    wait_for(stored, 60, f"the database holds {durable}")
    assert storm.device.stop() == 0


def compare(receiver: Receiver, told: set[int], sent: int) -> None:
    """The oracle."""
    stored = [int(row[0]) for row in receiver.query("SELECT prediction_id FROM predictions")]
    assert len(stored) == len(set(stored)), "stored twice"
    assert set(stored) <= set(range(sent))
    gaps = [
        json.loads(row[0]) for row in receiver.query("SELECT data FROM events WHERE type = 'gap'")
    ]
    missing = told - set(stored)
    may_miss = sum(gap["rows"] for gap in gaps if gap["kind"] == "pred")
    assert len(missing) <= may_miss, (
        f"{len(missing)} acknowledged and nowhere: {sorted(missing)[:5]}"
    )
    streams = {row[0] for row in receiver.query("SELECT DISTINCT stream_id FROM batches")}
    assert len(streams) == 1, "a new numbering began"
    for kind in KINDS:
        numbers = [
            int(row[0]) for row in receiver.query(f"SELECT seq FROM batches WHERE kind = '{kind}'")
        ]
        assert len(numbers) == len(set(numbers)), f"a batch of {kind} was stored twice"
        covered = {
            seq
            for gap in gaps
            if gap["kind"] == kind
            for seq in range(gap["from_seq"], gap["to_seq"] + 1)
        }
        holes = set(range(1, max(numbers, default=0) + 1)) - set(numbers) - covered
        assert not holes, f"{kind} {sorted(holes)[:5]}: missing, and no gap says so"


def test_ten_rounds_lose_nothing_and_double_nothing(storm: Storm) -> None:
    blow(storm, 10, 60.0)


@pytest.mark.slow
def test_two_hundred_rounds_lose_nothing_and_double_nothing(storm: Storm) -> None:
    blow(storm, 200, 540.0)
