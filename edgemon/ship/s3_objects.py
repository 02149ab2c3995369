"""Which batches make one object, and what it is called. No network here, no boto3.

An object is a run of whole batches of one kind and one stream whose numbers follow one another
without a hole, one bare zstd frame behind the other. Its name says which:

    {prefix}/v1/fleet={f}/dt=YYYY-MM-DD/hour=HH/device={id}/{kind}-{stream}-{first}-{last}.msgpack.zst

Day and hour (UTC) are those of the first batch's first row. A batch never changes once it has a
number, so the name determines the bytes: whoever writes the object again writes the same object.
Where a run is cut is written down before it is sent for the first time (`Cuts`), so that a shipper
that comes after a crash cuts there again.
"""

from __future__ import annotations

import os
import time

from edgemon import log
from edgemon._core.crc32c import crc32c
from edgemon.records import KINDS
from edgemon.ship.sink import Key, Parcel
from edgemon.spool.fs import FileSystem, join, write_atomically
from edgemon.std import json

SUFFIX = ".msgpack.zst"
# Below progress.MAX_AHEAD: the shipper hands out no more of a kind before one is acknowledged.
MAX_BATCHES = 1000
# The cursor is stored at least every few seconds; what is older is never cut again.
MAX_CUTS = 32
_PARTS = ".part"
_VERSION = 1
_LATEST_S = 253_402_300_799  # 9999-12-31T23:59:59


def folder_of(prefix: str, fleet: str, device: str, wall_ms: int) -> str:
    """The part of the name before the file's, with a slash at its end.

    >>> folder_of("", "lab", "cam-7", 1_750_000_000_000)
    'v1/fleet=lab/dt=2025-06-15/hour=15/device=cam-7/'
    """
    moment = time.gmtime(min(max(wall_ms // 1000, 0), _LATEST_S))
    stripped = prefix.strip("/")
    return (
        f"{stripped}{'/' if stripped else ''}v1/fleet={fleet}/"
        f"{time.strftime('dt=%Y-%m-%d/hour=%H', moment)}/device={device}/"
    )


class Gathering:
    """An object in the making: a file in the shipper's folder that batches are appended to.

    cut: where it must end because it did so before; 0: by size, number and age.
    before: where another begins that was sent before, and this one must end; 0: nowhere.
    """

    def __init__(
        self,
        fs: FileSystem,
        folder: str,
        parcel: Parcel,
        cut: int,
        before: int,
        now: float,
        number: int,
    ) -> None:
        self.kind, self.stream, self.first = parcel.kind, parcel.stream, parcel.seq
        self.last = parcel.seq - 1
        self.cut = cut
        self.before = before
        self.passed = False  # what leaves after its kind came since its last batch
        self.wall_ms = parcel.wall_ms
        self.since = now  # monotonic seconds: when it began
        self.size_bytes = 0
        self.checksum = 0  # crc32c
        # Never a name that was used before: a child of an earlier shipper may still read that file.
        self.path = join(folder, f"{parcel.kind}-{parcel.seq}-{os.getpid()}-{number}{_PARTS}")
        self._fs = fs
        self._file = fs.open(self.path)

    def follows(self, parcel: Parcel) -> bool:
        """Whether this batch is the next one of the run."""
        mine = (self.kind, self.stream, self.last + 1)
        return (parcel.kind, parcel.stream, parcel.seq) == mine

    def add(self, parcel: Parcel) -> None:
        """Append the next batch. Raises OSError; the object is of no use then."""
        self._file.write_at(self.size_bytes, parcel.frame)
        self.size_bytes += len(parcel.frame)
        self.checksum = crc32c(parcel.frame, self.checksum)
        self.last = parcel.seq
        self.passed = False

    def complete(self, size_bytes: int) -> bool:
        """Whether it takes no more. size_bytes: above that size it does not grow."""
        if self.cut:
            return self.last >= self.cut
        if self.last + 1 == self.before:
            return True
        return self.size_bytes >= size_bytes or self.last - self.first + 1 >= MAX_BATCHES

    def has_room(self, parcel: Parcel, size_bytes: int) -> bool:
        """Whether one more batch may come in."""
        return bool(self.cut) or self.size_bytes + len(parcel.frame) <= size_bytes

    def held(self) -> list[Key]:
        """What it holds, in order."""
        return [(self.kind, seq) for seq in range(self.first, self.last + 1)]

    def name(self, prefix: str, fleet: str, device: str) -> str:
        """Its key in the bucket."""
        file = f"{self.kind}-{self.stream}-{self.first:016d}-{self.last:016d}{SUFFIX}"
        return folder_of(prefix, fleet, device, self.wall_ms) + file

    def discard(self) -> None:
        """Remove the file. Its batches are in the spool."""
        self._file.close()
        try:
            self._fs.unlink(self.path)
        except OSError as error:
            log.warning("cannot remove a file", file=self.path, error=error)


class Cuts:
    """Where objects were cut, from before they were first sent: the file `cuts.json`.

        {"version": 1, "cuts": {kind: [[stream, first, last], …]}}     the latest MAX_CUTS a kind

    Without it, or where it is damaged, runs may be cut elsewhere: objects then overlap, and the
    receiver drops what comes twice.
    """

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._fs = fs
        self._path = path
        self._cuts: dict[str, list[tuple[str, int, int]]] = {kind: [] for kind in KINDS}
        self._load()

    def end_of(self, stream: str, kind: str, first: int) -> int:
        """The last batch of the object that began with `first`; 0 when none did."""
        for known, begin, end in self._cuts[kind]:
            if (known, begin) == (stream, first):
                return end
        return 0

    def begin_after(self, stream: str, kind: str, first: int) -> int:
        """Where the next object begins that was sent before; 0 when there is none behind `first`."""
        begins = [begin for known, begin, _ in self._cuts[kind] if known == stream]
        return min((begin for begin in begins if begin > first), default=0)

    def record(self, run: Gathering) -> None:
        """This object is about to be sent. Durable when it returns; raises OSError."""
        mine = (run.stream, run.first, run.last)
        known = self._cuts[run.kind]
        if mine in known:
            return
        others = [cut for cut in known if cut[:2] != mine[:2]]
        self._store(run.kind, [*others, mine][-MAX_CUTS:])

    def forget(self, run: Gathering) -> None:
        """The other side will never have this object: its batches may be cut otherwise."""
        left = [cut for cut in self._cuts[run.kind] if cut[1:] != (run.first, run.last)]
        self._store(run.kind, left)

    def _store(self, kind: str, cuts: list[tuple[str, int, int]]) -> None:
        changed = {**self._cuts, kind: cuts}
        text = json.dumps({"version": _VERSION, "cuts": changed}, separators=(",", ":"))
        write_atomically(self._fs, self._path, text.encode())
        self._cuts = changed

    def _load(self) -> None:
        try:
            text = self._fs.read(self._path, 0, self._fs.size(self._path))
        except OSError:
            return
        try:
            content = json.loads(text)
            if content["version"] != _VERSION:
                raise ValueError(f"version {content['version']}")
            for kind in KINDS:
                self._cuts[kind] = [
                    (str(stream), int(first), int(last))
                    for stream, first, last in content["cuts"].get(kind, [])
                ][-MAX_CUTS:]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("what was sent before is not known", file=self._path, error=error)


def remove_parts(fs: FileSystem, folder: str) -> None:
    """Remove what an earlier shipper gathered; the spool still has it. Raises OSError."""
    for name in fs.listdir(folder):
        if name.endswith(_PARTS):
            fs.unlink(join(folder, name))
