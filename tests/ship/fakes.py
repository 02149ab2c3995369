"""A source and a sink that do what a test tells them, and a clock that it turns."""

from __future__ import annotations

from edgemon.records import KINDS
from edgemon.ship.sink import NEVER, Key, Parcel, SinkEvents

STREAM = "0f" * 16


class Clock:
    """Monotonic seconds, by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeSource:
    """A spool in memory. disk_full: store() and quarantine() fail."""

    def __init__(self) -> None:
        self.batches: dict[Key, bytes] = {}
        self.stored = dict.fromkeys(KINDS, 0)
        self.moving = dict.fromkeys(KINDS, 0)
        self.stores = 0
        self.quarantined: list[Key] = []
        self.wall_ms: dict[Key, int] = {}
        self.disk_full = False
        self.new_numbering = False
        self.bygone: dict[Key, str] = {}  # batches of another stream

    def add(self, kind: str, *seqs: int, size: int = 100) -> None:
        for seq in seqs:
            self.batches[kind, seq] = bytes(size)

    def next(self, kind: str, after_seq: int, *, fresh: bool = False) -> Parcel | None:
        seqs = [seq for which, seq in self.batches if which == kind and seq > after_seq]
        if not seqs:
            return None
        key = kind, min(seqs)
        stream = self.bygone.get(key, STREAM)
        return Parcel(*key, stream, self.batches[key], self.wall_ms.get(key, 0))

    def numbering(self) -> str:
        return STREAM

    def durable(self, kind: str) -> int:
        return max((seq for which, seq in self.batches if which == kind), default=0)

    def acked(self) -> dict[str, int]:
        return dict(self.stored)

    def restarted(self) -> bool:
        told, self.new_numbering = self.new_numbering, False
        return told

    def advance(self, kind: str, seq: int) -> None:
        assert seq > self.moving[kind], "the cursor only moves forward"
        self.moving[kind] = seq

    def store(self) -> None:
        if self.disk_full:
            raise OSError(28, "No space left on device")
        self.stores += 1
        self.stored = dict(self.moving)

    def quarantine(self, parcel: Parcel, reason: str) -> bool:
        if not self.disk_full:
            self.quarantined.append(parcel.key)
        return not self.disk_full


class FakeSink:
    """Reports only what the test says. sent: keys in the order of submit()."""

    def __init__(self, room: int = 1000) -> None:
        self.events: SinkEvents | None = None
        self.room = room
        self.sent: list[Key] = []
        self.in_flight: list[Key] = []
        self.starts = 0
        self.announced = 0
        self.up = False
        self.stopping = False
        self.closed = False

    def start(self, now: float) -> None:
        assert not self.up
        self.starts += 1

    def ready(self) -> bool:
        return self.up and not self.stopping and len(self.in_flight) < self.room

    def submit(self, parcel: Parcel, now: float) -> None:
        assert self.ready()
        assert parcel.key not in self.in_flight
        self.sent.append(parcel.key)
        self.in_flight.append(parcel.key)

    def watch(self) -> dict[int, int]:
        return {}

    def handle(self, fd: int, now: float) -> None:
        raise AssertionError("nothing to handle")

    def tick(self, now: float) -> None:
        pass

    def deadline(self) -> float:
        return NEVER

    def announce(self, now: float) -> None:
        self.announced += 1

    def stop(self, now: float) -> None:
        self.stopping = True

    def close(self) -> None:
        self.closed = True

    # -- the other side

    def connect(self) -> None:
        self.up = True
        self._reports.on_up()

    def acknowledge(self, kind: str, *seqs: int) -> None:
        for seq in seqs:
            self.in_flight.remove((kind, seq))
            self._reports.on_ack((kind, seq))

    def refuse(self, kind: str, seq: int) -> None:
        self.in_flight.remove((kind, seq))
        self._reports.on_refused((kind, seq), "no")

    def fail(self, reason: str = "gone", *, by_peer: bool = False) -> None:
        self.up = False
        self.in_flight.clear()
        self._reports.on_down(reason, by_peer=by_peer)

    @property
    def _reports(self) -> SinkEvents:
        assert self.events is not None
        return self.events
