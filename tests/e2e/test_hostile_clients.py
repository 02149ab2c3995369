"""64 clients, one of them hostile in every way that we could think of: the others lose nothing, the agent's memory
stays bounded, and each way moves its counter.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest

from tests.e2e.harness import Device
from tests.servers import wait_for

CLIENTS = 63
MAX_RSS_BYTES = 64 << 20
TOML = """
[ingest]
max_clients = 64
dgram = "run/ingest.dgram"
[models."*"]
capture = "all"
[batch]
max_age = "60s"
[system]
enabled = false
[ship]
sink = "file"
"""
DROPPED = "edgemon_ingest_dropped_events_total"
VALUES = "edgemon_ingest_dropped_values_total"
CLOSED = "edgemon_ingest_closed_connections_total"
EVENT = b'{"model":"known0","output":1}\n'


class Honest(threading.Thread):
    """An application that writes numbered predictions in small writes, and asks for acks on disk, until told."""

    def __init__(self, path: Path, number: int, enough: threading.Event) -> None:
        super().__init__()
        self._enough = enough
        self._path = path
        self._number = number
        self._packed = number % 2 == 1
        self.ready = threading.Event()
        self.acknowledged = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(60.0)
                sock.connect(str(self._path))
                while not self._enough.wait(0.2):
                    first = self.acknowledged
                    for index in range(first, first + 20):
                        sock.sendall(self._encode({
                            "model": f"known{self._number % 3}", "id": f"{self._number}-{index}",
                            "output": index / 8, "features": {"a": index, "b": "x"},
                        }))  # fmt: skip
                    sock.sendall(self._encode({"ack": first, "level": "disk"}))
                    answer = self._decode(sock.recv(4096))
                    assert answer == {"ack": first, "level": "disk"}, answer
                    self.acknowledged = first + 20
                    self.ready.set()
        except Exception as error:
            self.error = error
        finally:
            self.ready.set()

    def _encode(self, event: dict[str, object]) -> bytes:
        if self._packed:
            packed: bytes = msgpack.packb(event)
            return packed
        return json.dumps(event).encode() + b"\n"

    def _decode(self, data: bytes) -> object:
        return msgpack.unpackb(data) if self._packed else json.loads(data)


class Hostile:
    """One process that never stops misbehaving."""

    def __init__(self, path: Path, models: int) -> None:
        self._path = path
        self._models = models

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self._path))
            sock.settimeout(20.0)
            with contextlib.suppress(OSError):  # closed in the middle of it
                yield sock

    def write(self, *parts: bytes) -> None:
        """Until the agent has had enough, which it says by closing."""
        with self.connected() as sock:
            for part in parts:
                sock.sendall(part)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

    # -- its ways

    def slowly(self) -> None:
        with self.connected() as sock:
            for byte in b'{"model":"known","outp':
                sock.send(bytes([byte]))
                time.sleep(0.01)

    def without_end(self) -> None:
        self.write(b'{"model":"', *[b"x" * 65536] * 100)

    def without_end_packed(self) -> None:
        self.write(b"\xdb\xff\xff\xff\xff", *[b"x" * 65536] * 100)

    def deeply(self) -> None:
        for nested in (b"[" * 60_000 + b"]" * 60_000, b'{"model":' + b"[" * 30_000 + b"\n"):
            self.write(b"{}\n" + nested + b"\n")
        self.write(b"\x91" * 60_000)

    def many_models(self) -> None:
        for first in range(0, self._models, 10_000):
            names = range(first, first + 10_000)
            self.write(b"".join(b'{"model":"m%d","output":1}\n' % name for name in names))

    def many_features(self) -> None:
        self.write(*[
            msgpack.packb({"model": "poor", "output": 1.0, "features": {f"{k}-{n}": 1.0 for n in range(200)}})
            for k in range(200)
        ])  # fmt: skip
        self.write(json.dumps({"model": "poor", "features": list(range(5_000))}).encode() + b"\n")

    def half(self) -> None:
        for data in (EVENT[:-5], msgpack.packb(["known", 0.5, [1, 2, 3]])[:-1]):
            with self.connected() as sock:
                sock.sendall(data)

    def flood(self, enough: Callable[[], bool]) -> None:
        """At least so much, and until it is enough."""
        with self.connected() as sock:
            sock.settimeout(60.0)
            deadline = time.monotonic() + 60.0
            for number in itertools.count():
                if number >= 20 and (enough() or time.monotonic() > deadline):
                    break
                sock.sendall(EVENT * 2_000)

    def deaf(self) -> None:
        with self.connected() as sock:
            sock.settimeout(1.0)
            for _ in range(100):
                sock.sendall((b'{"ack":"' + b"x" * 60 + b'"}\n') * 100)

    def asking(self) -> None:
        with self.connected() as sock:
            for _ in range(20):
                sock.sendall(b'{"ack":1,"level":"disk"}\n' * 1_000)

    def gone_before_the_answer(self) -> None:
        for _ in range(50):
            with self.connected() as sock:
                sock.sendall(EVENT + b'{"ack":1,"level":"disk"}\n')

    def long_strings(self) -> None:
        long = "x" * 50_000
        for key in ("model", "version", "id", "output"):
            event = {"model": "known0", "output": 1} | {key: long}
            self.write(json.dumps(event).encode() + b"\n", msgpack.packb(event))

    def bad_text(self) -> None:
        self.write(b'{"model":"\xff\xfe","output":1}\n')
        self.write(b"\x82\xa5model\xa2\xff\xfe\xa6output\x01")
        self.write(b'{"model":"known","output":"\\ud800"}\n')

    def nonsense(self) -> None:
        for _ in range(20):
            self.write(os.urandom(20_000))
            self.write(b"{" + os.urandom(20_000))

    def connecting(self) -> None:
        for _ in range(1_000):
            with self.connected():
                pass

    def hoarding(self) -> None:
        held = [socket.socket(socket.AF_UNIX) for _ in range(80)]
        for sock in held:
            sock.connect(str(self._path))
        for sock in held:
            sock.close()

    def datagrams(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            for _ in range(5_000):
                with contextlib.suppress(OSError):
                    sock.sendto(b"{oops", str(self._path.parent / "ingest.dgram"))

    def ways(self, flood: Callable[[], None]) -> list[Callable[[], None]]:
        return [
            self.slowly, self.without_end, self.without_end_packed, self.deeply, self.many_features, self.many_models,
            self.half, flood, self.deaf, self.asking, self.gone_before_the_answer, self.long_strings,
            self.bad_text, self.nonsense, self.connecting, self.hoarding, self.datagrams,
        ]  # fmt: skip


@pytest.fixture
def device(short_tmp: Path) -> Iterator[Device]:
    with Device(short_tmp, TOML) as made:
        made.start()
        yield made


@pytest.mark.parametrize(
    "models",
    [30_000, pytest.param(1_000_000, marks=pytest.mark.slow)],
    ids=["quick", "a million models"],
)
def test_one_hostile_client_costs_63_others_nothing(device: Device, models: int) -> None:
    path = device.run_dir / "ingest.sock"
    status = device.status()
    assert status is not None
    pid = status["pid"]
    enough = threading.Event()
    honest = [Honest(path, number, enough) for number in range(CLIENTS)]
    for client in honest:
        client.start()
    for client in honest:
        client.ready.wait(60.0)

    def acknowledged() -> int:
        return sum(client.acknowledged for client in honest)

    hostile = Hostile(path, models)
    went_on = False  # while a flood was on its way

    def flood() -> None:
        nonlocal went_on
        before = acknowledged()

        def goes_on() -> bool:
            nonlocal went_on
            went_on = acknowledged() > before
            return went_on

        hostile.flood(goes_on)

    for way in hostile.ways(flood):
        way()
    enough.set()
    for client in honest:
        client.join(60.0)
    assert [client.error for client in honest if client.error is not None] == []
    assert went_on

    status = device.status()
    assert status is not None
    assert status["pid"] == pid  # one agent, all the time
    counters = status["counters"]

    def reason(name: str, why: str) -> int:
        return int(counters.get(f'{name}{{reason="{why}"}}', 0))

    assert reason(DROPPED, "frame_size") >= 2
    assert reason(DROPPED, "malformed") >= 5
    assert reason(DROPPED, "too_many_models") > models - 100
    assert reason(DROPPED, "too_many_features") == 1
    assert reason(VALUES, "too_many_streams") > 20_000
    assert (
        reason(DROPPED, "string_size") + reason(DROPPED, "bad_name") + reason(DROPPED, "bad_id")
        >= 4
    )
    assert reason(DROPPED, "bad_utf8") >= 3
    assert reason("edgemon_ingest_rests_total", "replies_not_read") >= 1
    assert reason(CLOSED, "gone") > 1_000
    assert reason(CLOSED, "malformed") + reason(CLOSED, "bad_utf8") >= 40
    assert counters["edgemon_ingest_refused_acks_total"] > 0
    assert counters["edgemon_ingest_datagrams_total"] > 0
    assert counters["edgemon_ingest_untold_faults_total"] > 0
    assert counters["edgemon_ingest_lost_replies_total"] > 0
    assert (
        reason("edgemon_ingest_refused_connections_total", "too_many_clients")
        + reason(CLOSED, "made_room")
        > 0
    )

    peak = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    assert peak < MAX_RSS_BYTES
    wait_for(lambda: len((device.status() or {})["ingest"]["clients"]) == 0, what="all have gone")
    assert device.stop() == 0
    found: dict[str, int] = {}
    for row in device.rows_left("pred"):
        if row.get("id") is not None:
            found[str(row["id"])] = found.get(str(row["id"]), 0) + 1
    wanted = {
        f"{number}-{index}"
        for number, client in enumerate(honest)
        for index in range(client.acknowledged)
    }
    assert len(wanted) > CLIENTS * 20
    assert {identifier: found.get(identifier, 0) for identifier in wanted} == dict.fromkeys(
        wanted, 1
    )
