"""What the shipping tests share: configurations, a spool to fill, and a loop to drive one sink."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edgemon import control, wire
from edgemon.config import Config, parse
from edgemon.errors import UnreachableError
from edgemon.metrics import Counters
from edgemon.records import KINDS, Batch, Row
from edgemon.ship import sink as sinks
from edgemon.ship.sink import Key, Parcel, Sink, SinkContext
from edgemon.spool.cursor import read_cursor
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.writer import Spool
from tests.servers import wait_for

STREAM = "0123456789abcdef" * 2
BOOT = bytes(range(16))
T0_NS = 1_750_000_000 * 10**9


def config_text(folder: Path, port: int = 1, **more: str) -> str:
    """A configuration for device "cam-7" below `folder`; more: section -> TOML lines."""
    sections = {
        "agent": f'device = "cam-7"\nfleet = "lab"\nstate_dir = "{folder}"\nrun_dir = "{folder}"',
        "mqtt": f'host = "127.0.0.1"\nport = {port}',
        "ship": 'initial_interval = "50ms"\nmax_interval = "200ms"',
    }
    for name, lines in more.items():
        sections[name] = f"{sections.get(name, '')}\n{lines}"
    return "\n".join(f"[{name}]\n{lines}\n" for name, lines in sections.items())


def make_config(folder: Path, port: int = 1, **more: str) -> Config:
    return parse(config_text(folder, port, **more), str(folder / "edgemon.toml"))


def make_batch(kind: str, seq: int, rows: list[Row], stream: str = STREAM) -> Batch:
    return Batch(
        kind=kind,
        seq=seq,
        device="cam-7",
        fleet="lab",
        stream=bytes.fromhex(stream),
        boot=BOOT,
        wall_ns=T0_NS,
        mono_ns=0,
        clock_error_ms=1.0,
        dropped=0,
        resource={"agent": "test"},
        rows=len(rows),
        columns=wire.columns_from_rows(rows),
    )


def event_row(number: int = 0) -> Row:
    return {
        "t": number * 1000,
        "type": "drift.started",
        "severity": "alarm",
        "model": "digits",
        "version": "1",
        "stream": "output",
        "message": f"drift {number}",
        "data": '{"d":0.25}',
    }


def rows_of(kind: str, seq: int, count: int = 3) -> list[Row]:
    if kind == "event":
        return [event_row(number) for number in range(count)]
    return [{"t": number, "value": float(seq * 1000 + number)} for number in range(count)]


def parcel(kind: str, seq: int, count: int = 3) -> Parcel:
    frame = wire.encode(make_batch(kind, seq, rows_of(kind, seq, count)))
    return Parcel(kind, seq, STREAM, frame)


class Recorder:
    """Takes a sink's reports and keeps them."""

    def __init__(self) -> None:
        self.ups = 0
        self.acks: list[Key] = []
        self.refused: list[tuple[Key, str]] = []
        self.confirmed: list[tuple[str, dict[str, int]]] = []
        self.downs: list[str] = []
        self.by_peer: list[bool] = []

    def on_up(self, window: int = 0) -> None:
        self.ups += 1

    def on_ack(self, key: Key) -> None:
        self.acks.append(key)

    def on_confirmed(self, stream: str, stored: dict[str, int]) -> None:
        self.confirmed.append((stream, stored))

    def on_refused(self, key: Key, reason: str) -> None:
        self.refused.append((key, reason))

    def on_down(self, reason: str, *, by_peer: bool = False) -> None:
        assert "\n" not in reason
        self.downs.append(reason)
        self.by_peer.append(by_peer)


class Driver:
    """One sink, its reports, and a loop that gives it what it watches for."""

    def __init__(self, config: Config) -> None:
        self.reports = Recorder()
        self.counters = Counters()
        context = SinkContext(config, self.reports, OsFileSystem(), self.counters, lambda: STREAM)
        self.sink: Sink = sinks.make(context)

    def drive(self, until: Callable[[], object], timeout_s: float = 20.0, what: str = "") -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline, (
                f"not within {timeout_s} s: {what} {self.reports.downs}"
            )
            turn(self.sink, 0.05)

    def start(self) -> None:
        """Start, and drive until it is up or down."""
        before = self.reports.ups + len(self.reports.downs)
        self.sink.start(time.monotonic())
        self.drive(lambda: self.reports.ups + len(self.reports.downs) > before, what="start")

    def send(self, *parcels: Parcel) -> None:
        """Submit each once there is room, and drive until all are acknowledged or refused."""
        wanted = len(self.reports.acks) + len(self.reports.refused) + len(parcels)
        for one in parcels:
            self.drive(self.sink.ready, what="room")
            self.sink.submit(one, time.monotonic())
        self.drive(
            lambda: len(self.reports.acks) + len(self.reports.refused) >= wanted, what="acks"
        )

    def stop(self) -> None:
        before = len(self.reports.downs)
        self.sink.stop(time.monotonic())
        self.drive(lambda: len(self.reports.downs) > before, what="stop")


def turn(sink: Sink, longest_s: float) -> None:
    """One round of what the shipper's process does with a sink."""
    poll = select.poll()
    for fd, events in sink.watch().items():
        reading = select.POLLIN if events & selectors.EVENT_READ else 0
        poll.register(fd, reading | (select.POLLOUT if events & selectors.EVENT_WRITE else 0))
    wait_s = min(longest_s, max(0.0, sink.deadline() - time.monotonic()))
    for fd, _ in poll.poll(wait_s * 1000):
        sink.handle(fd, time.monotonic())
    sink.tick(time.monotonic())


class Feeder:
    """Writes real batches into a real spool, as the agent does."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.directory = config.spool.dir
        self.sent: dict[Key, bytes] = {}
        self._spool = Spool(OsFileSystem(), config.spool, counters=Counters())
        self._spool.open()

    @property
    def stream(self) -> str:
        return self._spool.stream_id.hex()

    def add(self, kind: str, count: int = 1, *, rows: int = 3, noise: int = 0) -> None:
        """Append and sync `count` batches. noise: incompressible bytes in each."""
        for _ in range(count):
            seq = self._spool.next_seq(kind)
            content = rows_of(kind, seq, rows)
            if noise:
                content[0]["blob"] = os.urandom(noise)
            frame = wire.encode(make_batch(kind, seq, content, self.stream))
            self._spool.append(kind, seq, frame, rows=rows, first_wall_ms=0, last_wall_ms=0)
            self.sent[kind, seq] = frame
        assert self._spool.sync()
        control.nudge(f"{self.config.agent.run_dir}/ship.sock")

    def add_damaged(self, kind: str) -> int:
        """Append and sync bytes that no receiver can read; their seq."""
        seq = self._spool.next_seq(kind)
        frame = wire.encode(make_batch(kind, seq, rows_of(kind, seq), self.stream))
        frame = frame[:-4] + bytes(4)  # the checksum
        self._spool.append(kind, seq, frame, rows=3, first_wall_ms=0, last_wall_ms=0)
        assert self._spool.sync()
        control.nudge(f"{self.config.agent.run_dir}/ship.sock")
        return seq

    def drop(self, kind: str) -> None:
        """A number whose batch never comes: the agent's gap says so."""
        self._spool.drop(kind, self._spool.next_seq(kind), 1, "dropped")
        assert self._spool.sync()

    def damage(self, kind: str, seq: int) -> None:
        """Flip a bit in the batch of that number, in its file."""
        frame = self.sent[kind, seq]
        for path in Path(self.directory).glob(f"?-{kind}/*.zst"):
            data = bytearray(path.read_bytes())
            if (at := data.find(frame)) >= 0:
                data[at + len(frame) // 2] ^= 1
                path.write_bytes(data)

    def add_all_kinds(self, count: int) -> None:
        for kind in KINDS:
            self.add(kind, count)

    def cursor(self) -> dict[str, int]:
        return read_cursor(OsFileSystem(), self.directory)

    def close(self) -> None:
        self._spool.close()


class ShipProgram:
    """`edgemon ship` as a process of its own."""

    def __init__(self, config: Config, text: str) -> None:
        self.config = config
        Path(config.file).write_text(text)
        self.socket = f"{config.agent.run_dir}/ship.sock"
        self._log_path = f"{config.agent.run_dir}/ship.log"
        self.process = self.spawn()

    def spawn(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "edgemon", "ship", "--config", self.config.file, *options]
        with open(self._log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self.process

    def status(self) -> dict[str, object]:
        return control.request(self.socket, {"cmd": "status"}, 10.0, who="shipper")

    def wait_status(
        self,
        condition: Callable[[dict[str, object]], object],
        what: str,
        timeout_s: float = 20.0,
    ) -> None:
        """Wait until the shipper answers, and its status is as wanted."""

        def reached() -> bool:
            with contextlib.suppress(UnreachableError):
                return bool(condition(self.status()))
            return False

        wait_for(reached, timeout_s, what)

    def log(self) -> str:
        return Path(self._log_path).read_text()

    def end(self, number: int = 15) -> int:
        self.process.send_signal(number)
        return self.process.wait(150)


def up(
    drivers: list[Driver], folder: Path, port: int, keepalive_s: float = 60.0, **more: str
) -> Driver:
    """A sink that is connected. keepalive_s: also below what the configuration allows."""
    config = make_config(folder, port, **more)
    driver = Driver(config._replace(mqtt=config.mqtt._replace(keepalive_s=keepalive_s)))
    drivers.append(driver)
    driver.start()
    assert driver.reports.downs == []
    return driver


def down(drivers: list[Driver], folder: Path, port: int, **more: str) -> str:
    """The one line that this attempt to connect ends with."""
    driver = Driver(make_config(folder, port, **more))
    drivers.append(driver)
    driver.start()
    assert driver.reports.ups == 0
    (line,) = driver.reports.downs
    return line
