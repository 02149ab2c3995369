"""What a person asks of the spool: sizes, ranges, what waits. Of the files, at most one a kind is looked at."""

from __future__ import annotations

from edgemon.spool.fs import FileSystem, reader_of
from edgemon.spool.lane import Lane, Segment
from edgemon.spool.segment import Entry, scan
from edgemon.typed import NamedTuple


class KindUsage(NamedTuple):
    """What waits in one kind. Seqs are 0 when there is none.

    first_seq, last_seq: in the segments.  durable_seq, acked_seq: watermark and cursor.  batches, rows:
    not delivered yet; of a segment that is delivered in part, they are shared out evenly.
    oldest_wall_ms: wall clock of the oldest row that waits, None when nothing waits.
    """

    first_seq: int
    last_seq: int
    durable_seq: int
    acked_seq: int
    batches: int
    rows: int
    size_bytes: int
    oldest_wall_ms: int | None


class SpoolUsage(NamedTuple):
    """The spool at one moment. failure: what the disk said last, "" while it is healthy."""

    size_bytes: int
    max_size_bytes: int
    segments: int
    journal_bytes: int
    memory_bytes: int
    failure: str
    kinds: dict[str, KindUsage]


def usage_of(fs: FileSystem, lane: Lane, durable_seq: int, acked_seq: int) -> KindUsage:
    """The usage of one lane."""
    segments = tuple(lane.segments)
    waiting = [s for s in segments if s.batches and s.last_seq > acked_seq]
    batches = rows = 0
    for segment in waiting:
        span = segment.last_seq - segment.first_seq + 1
        left = segment.last_seq - max(acked_seq, segment.first_seq - 1)
        batches += -(-segment.batches * left // span)
        rows += -(-segment.rows * left // span)
    held = [segment for segment in segments if segment.batches]
    return KindUsage(
        first_seq=held[0].first_seq if held else 0,
        last_seq=held[-1].last_seq if held else 0,
        durable_seq=durable_seq,
        acked_seq=acked_seq,
        batches=batches,
        rows=rows,
        size_bytes=lane.size_bytes,
        oldest_wall_ms=_oldest_wall_ms(fs, lane, waiting, acked_seq),
    )


def _oldest_wall_ms(
    fs: FileSystem, lane: Lane, waiting: list[Segment], acked_seq: int
) -> int | None:
    if not waiting:
        pending = [item.header.first_wall_ms for item in tuple(lane.pending)]
        return min(pending, default=None)
    segment = waiting[0]
    if acked_seq < segment.first_seq:
        return segment.first_wall_ms
    try:
        read = reader_of(fs, lane.path(segment))
        times = [
            item.header.first_wall_ms
            for item in scan(read, segment.size_bytes, frames=False)
            if isinstance(item, Entry) and item.header.seq > acked_seq
        ]
    except OSError:  # freed under us, or not readable: what is known without it
        times = []
    return min(times, default=segment.first_wall_ms)
