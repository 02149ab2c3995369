"""SpoolReader: batches in order, for the shipper and the tools, while the agent goes on writing.

Read only, in another process. It hands out nothing above the watermark. Segments may vanish under it
(delivered, evicted), be mended by a restarting agent, or be damaged: it goes on with the next whole batch,
and counts. The shipper notes what it skips (ship/source.py), and the agent makes a gap of it. Memory: one batch.
"""

from __future__ import annotations

from edgemon.records import KINDS
from edgemon.spool import layout
from edgemon.spool.fs import FileSystem, join, reader_of
from edgemon.spool.segment import Damage, Entry, read_record, scan
from edgemon.spool.watermark import Watermark, nothing, read_watermark
from edgemon.std.collections.abc import Iterator
from edgemon.typed import NamedTuple


class Record(NamedTuple):
    """One batch. frame: one zstd frame, as it goes over the wire. Wall clocks in ms since 1970."""

    kind: str
    seq: int
    stream: bytes
    rows: int
    first_wall_ms: int
    last_wall_ms: int
    frame: bytes


class SegmentInfo(NamedTuple):
    """What one file holds. damaged_bytes: what is no whole record, less what may be in the making.

    Empty segments have seqs and clocks of 0.
    """

    kind: str
    path: str
    first_seq: int
    last_seq: int
    batches: int
    rows: int
    size_bytes: int
    first_wall_ms: int
    last_wall_ms: int
    damaged_bytes: int


class JournalInfo(NamedTuple):
    """One file of the journal of an open batch, as far as it is whole."""

    kind: str
    path: str
    seq: int
    chunks: int
    rows: int
    size_bytes: int


class _Place:
    """Where the batch after `seq` begins, if the file still is what it was."""

    __slots__ = ("name", "offset", "seq")

    def __init__(self, name: str, offset: int, seq: int) -> None:
        self.name = name
        self.offset = offset
        self.seq = seq


class SpoolReader:
    """One reader of one spool directory. Not for two threads.

    damaged_bytes: bytes that were skipped because they are no whole batch.

    >>> reader = SpoolReader(OsFileSystem(), "/var/lib/edgemon/spool")     # doctest: +SKIP
    >>> reader.next("pred", cursor.acked("pred"))                          # doctest: +SKIP
    """

    __slots__ = ("_directory", "_fs", "_places", "_watermark", "damaged_bytes")

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs = fs
        self._directory = directory
        self._places: dict[str, _Place] = {}
        self._watermark = nothing()
        self.damaged_bytes = 0

    def watermark(self) -> Watermark:
        """What is durable and what was freed, as last published by the agent."""
        self._watermark = read_watermark(self._fs, self._directory) or self._watermark
        return self._watermark

    def segment(self, kind: str) -> str:
        """The name of the file that holds the batch which was handed out last; "" before the first."""
        place = self._places.get(kind)
        return "" if place is None else place.name

    def next(self, kind: str, after_seq: int) -> Record | None:
        """The durable batch with the lowest seq above `after_seq`; None when there is none (yet).

        Its seq is higher than after_seq + 1 where batches are missing. Never raises OSError.
        """
        known = self._watermark.durable[kind]
        record = self._below(kind, after_seq, known) if after_seq < known else None
        if record is None and (limit := self.watermark().durable[kind]) > max(after_seq, known):
            record = self._below(kind, after_seq, limit)
        return record

    def _below(self, kind: str, after_seq: int, limit: int) -> Record | None:
        """The same with a seq of `limit` at most."""
        place = self._places.get(kind)
        if place is not None and place.seq == after_seq:
            record = self._read_at(kind, place, limit)
            if record is not None:
                return record
        return self._search(kind, after_seq, limit)

    def _read_at(self, kind: str, place: _Place, limit: int) -> Record | None:
        """The batch at the place where the last one ended, when that is what stands there."""
        path = self._path(kind, place.name)
        try:
            found = read_record(reader_of(self._fs, path), place.offset)
        except OSError:
            return None
        # Only the very next: where the file was mended meanwhile, what stands here may have one before it.
        if isinstance(found, Entry) and found.header.seq == place.seq + 1 <= limit:
            return self._hand_out(kind, place.name, found)
        return None

    def _search(self, kind: str, after_seq: int, limit: int) -> Record | None:
        names = self._segment_names(kind)
        # A name promises that nothing below it is inside: start with the last that may hold the next.
        first = 0
        for i, (seq, _, _) in enumerate(names):
            if seq <= after_seq + 1:
                first = i
        for _, _, name in names[first:]:
            record = self._search_segment(kind, name, after_seq, limit)
            if record is not None:
                return record
        return None

    def _search_segment(self, kind: str, name: str, after_seq: int, limit: int) -> Record | None:
        path = self._path(kind, name)
        read = reader_of(self._fs, path)
        place = self._places.get(kind)
        seen = place.offset if place is not None and place.name == name else 0
        damaged = 0  # behind what was seen before
        try:
            size = self._fs.size(path)
            offset = 0
            while offset < size:
                # Headers show the way; a frame is read only where one is to be handed out.
                item = next(scan(read, size, start=offset, frames=False))
                if isinstance(item, Damage):
                    offset += item.length
                    damaged += item.length if offset > seen else 0
                    continue
                offset += item.header.record_bytes
                if item.header.seq <= after_seq or item.header.kind != kind or item.header.journal:
                    continue
                if item.header.seq > limit:
                    return None  # what comes after is not durable, and may be half written
                found = read_record(read, item.offset)
                if isinstance(found, Entry):
                    self.damaged_bytes += damaged
                    return self._hand_out(kind, name, found)
                damaged += item.header.record_bytes if offset > seen else 0
        except OSError:
            return None  # it was freed or evicted under us
        return None

    def _hand_out(self, kind: str, name: str, found: Entry) -> Record:
        header = found.header
        self._places[kind] = _Place(name, found.offset + header.record_bytes, header.seq)
        return Record(
            kind,
            header.seq,
            header.stream,
            header.rows,
            header.first_wall_ms,
            header.last_wall_ms,
            found.frame,
        )

    def everything(self, kind: str, first_seq: int, last_seq: int) -> Iterator[Record]:
        """All whole batches of a kind from first_seq to last_seq, each once, durable or not.

        For people who look, also where the watermark is lost. Damage is passed over, and counted.
        """
        names = self._segment_names(kind)
        after = first_seq - 1
        for i, (_, _, name) in enumerate(names):
            if i + 1 < len(names) and names[i + 1][0] <= first_seq:
                continue
            read = reader_of(self._fs, self._path(kind, name))
            try:
                size = self._fs.size(self._path(kind, name))
                for item in scan(read, size):
                    if isinstance(item, Damage):
                        self.damaged_bytes += item.length
                    elif item.header.kind == kind and after < item.header.seq <= last_seq:
                        after = item.header.seq
                        yield self._hand_out(kind, name, item)
            except OSError:
                continue

    def segments(self, *, frames: bool = False) -> Iterator[SegmentInfo]:
        """All segments, highest priority first, oldest first. frames: read and check every frame.

        Reads headers only by default: about one read a batch. Files that vanish meanwhile are left out.
        """
        durable = self.watermark().durable
        for kind in KINDS:
            names = [name for _, _, name in self._segment_names(kind)]
            for name in names:
                # Of the segment that is written now, only what is durable must be whole.
                must_reach = durable[kind] if name == names[-1] else None
                try:
                    yield self._info(kind, self._path(kind, name), must_reach, frames)
                except OSError:
                    continue

    def _info(self, kind: str, path: str, must_reach: int | None, frames: bool) -> SegmentInfo:
        size = self._fs.size(path)
        first = last = batches = rows = damaged = 0
        first_ms: list[int] = []
        last_ms: list[int] = []
        for item in scan(reader_of(self._fs, path), size, frames=frames):
            if isinstance(item, Damage):
                if not item.at_end or must_reach is None or last < must_reach:
                    damaged += item.length
                continue
            first = first or item.header.seq
            last = item.header.seq
            batches += 1
            rows += item.header.rows
            first_ms.append(item.header.first_wall_ms)
            last_ms.append(item.header.last_wall_ms)
            first_ms[:], last_ms[:] = [min(first_ms)], [max(last_ms)]
        return SegmentInfo(
            kind,
            path,
            first,
            last,
            batches,
            rows,
            size,
            min(first_ms, default=0),
            max(last_ms, default=0),
            damaged,
        )

    def journals(self) -> Iterator[JournalInfo]:
        """The journals of open batches. Files that vanish meanwhile are left out."""
        folder = join(self._directory, layout.JOURNAL)
        try:
            names = self._fs.listdir(folder)
        except OSError:
            return
        for name in names:
            parsed = layout.parse_journal_name(name)
            if parsed is None:
                continue
            path = join(folder, name)
            try:
                size = self._fs.size(path)
                items = scan(reader_of(self._fs, path), size, frames=False)
                headers = [item.header for item in items if isinstance(item, Entry)]
            except OSError:
                continue
            rows = sum(header.rows for header in headers)
            yield JournalInfo(parsed[0], path, parsed[1], len(headers), rows, size)

    def _segment_names(self, kind: str) -> list[tuple[int, int, str]]:
        """(first seq, copy, name), in order."""
        try:
            names = self._fs.listdir(join(self._directory, layout.FOLDERS[kind]))
        except OSError:
            return []
        return sorted(
            (*parsed, name)
            for name in names
            if (parsed := layout.parse_segment_name(name)) is not None
        )

    def _path(self, kind: str, name: str) -> str:
        return join(join(self._directory, layout.FOLDERS[kind]), name)
