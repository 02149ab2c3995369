"""The segments of one kind: append, sync, rotate, remove. Knows nothing of other kinds, limits or retries.

A record stays in memory until it is durable. Linux forgets pages that it failed to write and reports
success the next time, so after an error the segment is left as it was at its last good sync and what it
took since then is written again, into another one.
"""

from __future__ import annotations

import time

from edgemon.spool import layout
from edgemon.spool.fs import File, FileSystem, join
from edgemon.spool.segment import Header
from edgemon.std.collections import deque
from edgemon.std.collections.abc import Callable, Iterable
from edgemon.std.contextlib import suppress

# Files of a lane that the disk does not let go; with more of them no new one is begun.
MAX_STUCK_FILES = 32


def boot_s() -> float:
    """Seconds since the machine started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Segment:
    """What is known of one file. Wall clocks in ms since 1970; seqs 0 and rows 0 while it is empty.

    added_s: when its last record was added, on the clock of `boot_s`; None when an earlier run wrote it.
    """

    __slots__ = (
        "added_s",
        "batches",
        "first_seq",
        "first_wall_ms",
        "last_seq",
        "last_wall_ms",
        "name",
        "rows",
        "size_bytes",
        "stream",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.first_seq = self.last_seq = self.batches = self.rows = self.size_bytes = 0
        self.first_wall_ms = self.last_wall_ms = 0
        self.stream = b""
        self.added_s: float | None = None

    def add(self, header: Header) -> None:
        """One more record at the end."""
        if not self.batches:
            self.first_seq = header.seq
            self.first_wall_ms = header.first_wall_ms
            self.stream = header.stream
        self.last_seq = header.seq
        self.last_wall_ms = max(self.last_wall_ms, header.last_wall_ms)
        self.first_wall_ms = min(self.first_wall_ms, header.first_wall_ms)
        self.batches += 1
        self.rows += header.rows
        self.size_bytes += header.record_bytes

    def copy(self) -> Segment:
        """The same at this moment."""
        other = Segment(self.name)
        for field in self.__slots__:
            setattr(other, field, getattr(self, field))
        return other


class Pending:
    """A batch that is not durable yet. settles: ids of the gaps that it carries."""

    __slots__ = ("header", "record", "settles", "written")

    def __init__(self, header: Header, record: bytes, settles: tuple[int, ...]) -> None:
        self.header = header
        self.record = record
        self.settles = settles
        self.written = False


class Lane:
    """The segments of one kind, oldest first. The last one may be open for append."""

    __slots__ = (
        "_dir_dirty",
        "_dirty",
        "_durable",
        "_file",
        "_fs",
        "_now_s",
        "_segment_size_bytes",
        "_stuck",
        "durable_seq",
        "folder",
        "kind",
        "pending",
        "segments",
        "settled",
    )

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        kind: str,
        segment_size_bytes: int,
        now_s: Callable[[], float] = boot_s,
    ) -> None:
        self._fs = fs
        self._now_s = now_s
        self._segment_size_bytes = segment_size_bytes
        self.kind = kind
        self.folder = join(directory, layout.FOLDERS[kind])
        self.segments: list[Segment] = []
        self.pending: deque[Pending] = deque()
        self.durable_seq = 0
        self.settled: list[
            int
        ] = []  # gaps that became durable with their batch; the owner takes them
        self._file: File | None = None
        self._durable: Segment | None = None  # the open segment as of its last good sync
        self._stuck: dict[str, int] = {}  # files that could not be unlinked, and their bytes
        self._dirty = False
        self._dir_dirty = False

    @property
    def size_bytes(self) -> int:
        """Of all segments, and of files that the disk did not let go."""
        stuck = sum(tuple(self._stuck.values()))
        return stuck + sum(segment.size_bytes for segment in tuple(self.segments))

    @property
    def dirty(self) -> bool:
        """Whether a sync would have something to do."""
        return bool(self.pending)

    @property
    def appending(self) -> bool:
        """Whether the last segment is open."""
        return self._file is not None

    def path(self, segment: Segment) -> str:
        return join(self.folder, segment.name)

    def adopt(self, segments: list[Segment], durable_seq: int, *, append: bool) -> None:
        """Take over what recovery found, all of it durable. append: go on writing the last segment."""
        self.segments = segments
        self.durable_seq = durable_seq
        if append and segments and segments[-1].size_bytes < self._segment_size_bytes:
            self._file = self._fs.open(self.path(segments[-1]))
            self._durable = segments[-1].copy()

    def unwritten(self) -> Pending | None:
        """The oldest batch that no file holds."""
        return next((item for item in self.pending if not item.written), None)

    def write(self, item: Pending) -> None:
        """Append one pending batch; rotates first when the segment is full. Raises OSError."""
        if self._file is not None:
            full = self.segments[-1].size_bytes + len(item.record) > self._segment_size_bytes
            if full and self.segments[-1].batches:
                self.sync()
                self._close()
        if self._file is None:
            self._create(item.header.seq)
        assert self._file is not None
        active = self.segments[-1]
        try:
            self._file.write_at(active.size_bytes, item.record)
        except OSError:
            self._cut(active.size_bytes)
            raise
        active.add(item.header)
        active.added_s = self._now_s()
        item.written = self._dirty = True

    def sync(self) -> None:
        """Make durable what is written. Raises OSError; what was written is then unwritten again."""
        try:
            if self._dirty and self._file is not None:
                self._file.sync()
            if self._dir_dirty:
                self._fs.sync_dir(self.folder)
        except OSError:
            self.distrust()
            raise
        self._dirty = self._dir_dirty = False
        if self._file is not None:
            self._durable = self.segments[-1].copy()
        while self.pending and self.pending[0].written:
            item = self.pending.popleft()
            self.durable_seq = item.header.seq
            self.settled += item.settles

    def distrust(self) -> None:
        """Leave the open segment as it was at its last good sync; what came since is unwritten again."""
        if self._file is None:
            return
        active = self.segments.pop()
        durable = self._durable
        for item in self.pending:
            item.written = False
        kept = durable is not None and durable.batches > 0
        self._cut(durable.size_bytes if durable is not None and kept else 0)
        self._close()
        if durable is not None and kept:
            self.segments.append(durable)
        else:
            # If it stays, and whole, recovery finds its batches again in the segment that follows.
            with suppress(OSError):
                self._unlink(active)
        self._dirty = False

    def remove_oldest(self) -> None:
        """Unlink the oldest segment, be it the open one. Raises OSError; it is forgotten all the same."""
        segment = self.segments.pop(0)
        if not self.segments:
            self._close()
            self._dirty = False
            while self.pending and self.pending[0].written:
                self.pending.popleft()
        self._dir_dirty = bool(self.segments) and self._dir_dirty
        self._unlink(segment)

    def sweep(self) -> None:
        """Try again to unlink what stuck. Raises OSError."""
        for path in list(self._stuck):
            with suppress(FileNotFoundError):
                self._fs.unlink(path)
            del self._stuck[path]

    def _unlink(self, segment: Segment) -> None:
        path = self.path(segment)
        try:
            self._fs.unlink(path)
        except OSError:
            size_bytes = segment.size_bytes
            with suppress(OSError):
                size_bytes = self._fs.size(path)
            self._stuck[path] = size_bytes
            raise

    def lost_with_oldest(self) -> list[Pending]:
        """Batches, not durable yet, that `remove_oldest` would take along."""
        if len(self.segments) > 1 or self._file is None:
            return []
        return [item for item in self.pending if item.written]

    def close(self) -> None:
        """Close the open file. Nothing is synced."""
        self._close()

    def _create(self, seq: int) -> None:
        if len(self._stuck) >= MAX_STUCK_FILES:
            self.sweep()
        self._fs.make_dir(self.folder)
        names = map(layout.parse_segment_name, self._fs.listdir(self.folder))
        copies = [parsed[1] for parsed in names if parsed is not None and parsed[0] == seq]
        # Above all others: recovery takes the highest copy for the latest.
        segment = Segment(layout.segment_name(seq, max(copies, default=-1) + 1))
        self._file = self._fs.open(self.path(segment))
        self._durable = None
        self._dir_dirty = True
        self.segments.append(segment)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._durable = None

    def _cut(self, size: int) -> None:
        """Best effort: what stays behind the end is overwritten, or found stale by recovery."""
        assert self._file is not None
        with suppress(OSError):
            self._file.truncate(size)


def unsynced_bytes(lanes: Iterable[Lane]) -> int:
    """Memory taken by batches that are not durable."""
    return sum(len(item.record) for lane in lanes for item in tuple(lane.pending))
