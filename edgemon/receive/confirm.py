"""Says to devices, through the broker, what is stored: `edgemon receive --confirm`.

A device with `ship.confirm = "receiver"` keeps a batch until a receiver has it. For each of its
streams and kinds we say the highest seq up to which nothing is missing: each number is stored, or
said to be lost in a gap event, or set aside here because nobody can store it. The device's own
state message says from where on it wants to know ("acked"); a device that does not is told nothing.

A message goes out after a commit that touched the stream, with duplicates too: a broker may have
lost the one before. At most one a device in INTERVAL_S, and all that is due at the end.

Bounds: MAX_STREAMS streams; the one longest untouched is forgotten, and known again when its device
connects. MAX_GAPS gap ranges of a stream are looked at, the newest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from edgemon.receive.presence import DeviceState
from edgemon.receive.store import Incoming
from edgemon.records import KINDS

INTERVAL_S = 1.0
MAX_STREAMS = 10_000
MAX_GAPS = 10_000

Range = tuple[str, int, int]  # kind, first seq, last seq


class Identity(NamedTuple):
    """A batch by name, whether or not it can be read. stream: 32 hex digits."""

    fleet: str
    device: str
    stream: str
    kind: str
    seq: int


class Confirming(Protocol):
    """What a store must know for this. All raise StorageError when it cannot say now."""

    def stored_after(self, device: str, stream: str, kind: str, seq: int) -> Iterator[int]:
        """Seqs above `seq` that are stored, ascending."""

    def never_comes(self, device: str, stream: str, limit: int) -> list[Range]:
        """What is lost or set aside for good, the newest `limit` of each."""

    def set_aside(self, batch: Identity, reason: str, received_ns: int) -> None:
        """Remember a batch that is in the quarantine."""


class Confirmation(NamedTuple):
    """stored: kind -> seq."""

    fleet: str
    device: str
    stream: str
    stored: dict[str, int]


class _Stream:
    __slots__ = ("asked", "dirty", "fleet", "gaps", "reached")

    def __init__(self, fleet: str) -> None:
        self.fleet = fleet
        self.asked = False  # the device wants to be told
        self.dirty = False
        self.gaps: list[Range] | None = None  # None: to be asked of the store
        self.reached = dict.fromkeys(KINDS, 0)


class Confirmer:
    """Told of what is stored; says what to publish. Pure but for the store.

    >>> confirmer.stored([...], [...])              # doctest: +SKIP
    >>> confirmer.take()                            # doctest: +SKIP
    [Confirmation(fleet='lab', device='cam-7', stream='0f…', stored={'event': 3, …})]
    """

    def __init__(self, store: Confirming) -> None:
        self._store = store
        self._streams: dict[tuple[str, str], _Stream] = {}  # (device, stream)
        self._dirty = 0

    @property
    def due(self) -> bool:
        """Whether take() may have something."""
        return self._dirty > 0

    def stored(self, batches: Sequence[Incoming], states: Iterable[DeviceState]) -> None:
        """This is committed, or was before."""
        for state in states:
            if state.online and (acked := _acked(state)) is not None:
                stream = self._of(state.fleet, state.device, state.stream)
                stream.asked = True
                for kind, seq in acked.items():
                    stream.reached[kind] = max(stream.reached[kind], seq)
                self._touch(stream)
        for incoming in batches:
            batch = incoming.batch
            stream = self._of(batch.fleet, batch.device, batch.stream.hex())
            if batch.kind == "event":
                stream.gaps = None
            self._touch(stream)

    def set_aside(self, batch: Identity, reason: str, received_ns: int) -> None:
        """This is in the quarantine, for good."""
        self._store.set_aside(batch, reason, received_ns)
        stream = self._of(batch.fleet, batch.device, batch.stream)
        stream.gaps = None
        self._touch(stream)

    def take(self) -> list[Confirmation]:
        """What to publish now. Raises StorageError; then it is still due."""
        found = []
        for (device, stream_id), stream in list(self._streams.items()):
            if not stream.dirty:
                continue
            if stream.asked:
                self._advance(device, stream_id, stream)
                found.append(Confirmation(stream.fleet, device, stream_id, dict(stream.reached)))
            stream.dirty = False
            self._dirty -= 1
        return found

    def _advance(self, device: str, stream_id: str, stream: _Stream) -> None:
        if stream.gaps is None:
            stream.gaps = sorted(self._store.never_comes(device, stream_id, MAX_GAPS))
        for kind in KINDS:
            gaps = [(first, last) for which, first, last in stream.gaps if which == kind]
            before, seq = -1, stream.reached[kind]
            while seq != before:
                before = seq
                for stored in self._store.stored_after(device, stream_id, kind, seq):
                    if stored > seq + 1:
                        break
                    seq = stored
                for first, last in gaps:
                    if first <= seq + 1 <= last:
                        seq = last
            stream.reached[kind] = seq

    def _of(self, fleet: str, device: str, stream_id: str) -> _Stream:
        key = device, stream_id
        stream = self._streams.pop(key, None) or _Stream(fleet)
        self._streams[key] = stream
        if len(self._streams) > MAX_STREAMS:
            oldest = self._streams.pop(next(iter(self._streams)))
            self._dirty -= oldest.dirty
        return stream

    def _touch(self, stream: _Stream) -> None:
        self._dirty += not stream.dirty
        stream.dirty = True


def _acked(state: DeviceState) -> dict[str, int] | None:
    """From where on the device wants confirmations; None when it wants none."""
    acked = json.loads(state.json).get("acked")  # parse_state has read it before
    if not isinstance(acked, dict) or not state.stream:
        return None
    for kind, seq in acked.items():
        if kind not in KINDS or type(seq) is not int or not 0 <= seq < 2**63:
            return None
    return acked
