"""Spool: the writer. What `sync` said is durable is handed out to the shipper, or is in a Gap.

One thread calls everything here (worker.py's), save `next_seq`, `stream_id` and `usage`, which the agent's
main thread may call once `open` has returned. The disk's errors never come out: they are counted, the spool
makes room or writes elsewhere, and what it cannot write stays in memory, bounded, and is tried again.

The order in which things reach the medium is what holds the promise together:

    a batch        appended, fsynced, then published in the watermark, then its journal is removed
    a free         the shipper has written the cursor, `freed` is durable, then unlink
    an eviction    the gap is durable, then unlink

So at every instant a number is in a segment, in a journal, below `freed` or the cursor, or in a gap.
"""

from __future__ import annotations

import os
import time

from edgemon.metrics import Counters
from edgemon.records import KINDS
from edgemon.spool import watermark
from edgemon.spool.cursor import read_cursor
from edgemon.spool.found import FoundJournal, Recovery
from edgemon.spool.fs import FileSystem, Lock
from edgemon.spool.gaps import Gap, GapLedger, missing_ranges
from edgemon.spool.health import Health
from edgemon.spool.journal import Journals
from edgemon.spool.lane import Lane, Pending, boot_s, unsynced_bytes
from edgemon.spool.opening import Parts, PendingJournal, read_payloads, take_over
from edgemon.spool.origin import Machine, Witness, this_machine
from edgemon.spool.persistence import Persistence, reason_of
from edgemon.spool.quarantine import Quarantine
from edgemon.spool.retention import Retention
from edgemon.spool.segment import HEADER_BYTES, encode_record, parse_header
from edgemon.spool.usage import SpoolUsage, usage_of
from edgemon.std.collections.abc import Callable, Iterable
from edgemon.typed import Protocol
from edgemon.zstd import zstandard

# Batches that are not durable: half of it forces a sync, all of it drops (and leaves a gap).
MEMORY_SIZE_BYTES = 2 << 20
# Tables for chunks of some kilobytes: level 1's own would take three times the memory.
_JOURNAL_COMPRESSION = zstandard.ZstdCompressionParameters.from_level(
    1, window_log=15, hash_log=12, write_checksum=True, write_content_size=True
)


class SpoolSettings(Protocol):
    """What the spool needs of config.SpoolSettings. dir: its folder.  Sizes in bytes; 0 is no limit."""

    @property
    def dir(self) -> str: ...
    @property
    def segment_size_bytes(self) -> int: ...
    @property
    def max_size_bytes(self) -> int: ...
    @property
    def quarantine_size_bytes(self) -> int: ...
    @property
    def when_full(self) -> str: ...
    @property
    def max_age_s(self) -> float: ...
    @property
    def reserve_free_bytes(self) -> int: ...


class Spool:
    """One spool directory, opened for writing by one process.

    >>> spool = Spool(OsFileSystem(), config.spool, counters=counters)  # doctest: +SKIP
    >>> spool.open()                                                                  # doctest: +SKIP
    """

    def __init__(
        self,
        fs: FileSystem,
        settings: SpoolSettings,
        *,
        counters: Counters,
        memory_size_bytes: int = MEMORY_SIZE_BYTES,
        new_stream_id: Callable[[], bytes] = lambda: os.urandom(16),
        now_s: Callable[[], float] = boot_s,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        machine: Callable[[], Machine] = this_machine,
        witness: str = "",
    ) -> None:
        directory = settings.dir
        self._fs = fs
        self._directory = directory
        self._max_size_bytes = settings.max_size_bytes
        self._memory_size_bytes = memory_size_bytes
        self._new_stream_id = new_stream_id
        self._machine = machine
        self._witness = Witness(fs, witness)
        self._lanes = {
            kind: Lane(fs, directory, kind, settings.segment_size_bytes, now_s) for kind in KINDS
        }
        self._journals = Journals(fs, directory)
        self._ledger = GapLedger(fs, directory)
        self._watermark_file = watermark.slot_file(fs, directory)
        self._quarantine = Quarantine(fs, directory, settings.quarantine_size_bytes)
        self._health = Health(counters)
        self._retention = Retention(
            fs,
            directory,
            settings,
            self._lanes,
            self._journals,
            self._ledger,
            self._watermark_file,
            self._witness,
            self._health,
            now_s,
            wall_ms,
        )
        self._persistence = Persistence(fs, self._retention, self._health)
        self._next = dict.fromkeys(KINDS, 1)
        self._last = dict.fromkeys(KINDS, 0)  # appended or dropped
        self._found_journals: list[tuple[str, int, FoundJournal]] = []
        self._lock: Lock | None = None
        self._abandoned = False
        self._compressor = zstandard.ZstdCompressor(compression_params=_JOURNAL_COMPRESSION)

    # -- life

    def open(self) -> Recovery:
        """Take the directory over: lock, mend, count what is lost, publish what is durable.

        LockedError when another process writes there; StorageError when nothing can be written at all.
        """
        opened = take_over(
            self._fs,
            self._directory,
            Parts(
                self._lanes,
                self._journals,
                self._ledger,
                self._watermark_file,
                self._quarantine,
                self._witness,
                self._machine(),
                self._new_stream_id,
            ),
            self._health,
            self._memory_size_bytes,
        )
        self._lock = opened.lock
        self._next = opened.next_seq
        self._last = opened.last_seq
        self._found_journals = opened.journals
        self._retention.stream_id = opened.stream_id
        self._retention.acked = opened.acked
        self._retention.published = opened.published
        self._retention.publish(sync=True)
        self._retention.finish_journals()
        self._keep_bounds()
        return opened.report

    def close(self) -> bool:
        """Sync, and give the directory up. True when all is durable."""
        if self._abandoned:
            return False
        durable = self.sync()
        for lane in self._lanes.values():
            lane.close()
        self._journals.close()
        self._ledger.close()
        self._watermark_file.close()
        self._witness.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        return durable

    def forget(self) -> None:
        """In a child that was forked: it does not hold the lock beyond its parent's life."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def abandon(self) -> None:
        """The writing thread hangs in the disk: `close` must not wait for it. The lock dies with us."""
        self._abandoned = True

    @property
    def stream_id(self) -> bytes:
        """The id of this numbering, 16 bytes: (device, stream, kind, seq) names one batch for ever."""
        return self._retention.stream_id

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of batches, highest priority first."""
        return tuple(self._lanes)

    @property
    def failure(self) -> str:
        """What the disk said last, "" while it does what it is told."""
        return self._health.failure

    # -- numbers

    def next_seq(self, kind: str) -> int:
        """Reserve the number of a batch that opens now. In order: it must be appended before the next."""
        seq = self._next[kind]
        self._next[kind] = seq + 1
        return seq

    def durable_seq(self, kind: str) -> int:
        """The highest published seq: all up to it are durable, delivered or in a gap."""
        return self._retention.published.durable[kind]

    # -- writing

    def append(
        self,
        kind: str,
        seq: int,
        frame: bytes,
        *,
        rows: int,
        first_wall_ms: int,
        last_wall_ms: int,
        settles: Iterable[int] = (),
    ) -> None:
        """Take a batch over; durable after the next `sync` that returns True.

        settles: ids of the gaps whose rows are in this batch.  ValueError: seq not above the last one, or
        a frame over segment.MAX_FRAME_BYTES. Numbers that were passed over become a gap.
        """
        self._advance(kind, seq)
        record = encode_record(
            kind,
            seq,
            frame,
            rows=rows,
            stream=self.stream_id,
            first_wall_ms=first_wall_ms,
            last_wall_ms=last_wall_ms,
        )
        header = parse_header(record[:HEADER_BYTES])
        assert header is not None
        self._lanes[kind].pending.append(Pending(header, record, tuple(settles)))
        self._health.count("appended_batches")
        self._health.count("appended_bytes", len(record))
        self._persistence.write_lane(self._lanes[kind], sync=False)
        self._bound_memory()

    def drop(self, kind: str, seq: int, rows: int, reason: str) -> None:
        """The batch of this number will never come; its journal goes too. reason: one of gaps.REASONS."""
        self._advance(kind, seq)
        self._retention.lose(kind, seq, seq, reason, rows)
        self._retention.remove_journal(kind, seq)

    def journal(self, kind: str, seq: int, payload: bytes, *, rows: int = 0) -> None:
        """Add rows (opaque bytes) to the journal of the open batch `seq`; durable after `sync`.

        ValueError when that batch was appended or dropped before.
        """
        if seq <= self._last[kind]:
            raise ValueError(f"{kind} {seq} is not open any more")
        journal = self._journals.get(kind, seq)
        journal.add(self._compressor.compress(payload), rows, self.stream_id)
        self._persistence.write_journal(journal, sync=False)
        if journal.unwritten_bytes() > self._memory_size_bytes // 4:
            self.give_up_journal(kind, seq)

    def give_up_journal(self, kind: str, seq: int) -> None:
        """Rows of the open batch did not reach its journal: `sync` is False until the batch is durable."""
        if seq > self._last[kind]:
            self._journals.get(kind, seq).give_up()
            self._health.count("journals_given_up")

    def pending_journals(self) -> list[PendingJournal]:
        """Batches that were open at the last stop, oldest first: append or drop each before any new one.

        Gives them once. Their journals stay until the batches are durable.
        """
        found, self._found_journals = self._found_journals, []
        return [
            PendingJournal(kind, seq, read_payloads(self._fs, self._journals.folder, journal))
            for kind, seq, journal in found
        ]

    @property
    def dirty(self) -> bool:
        """Whether `sync` has something to do."""
        return (
            self._journals.dirty
            or any(lane.dirty for lane in self._lanes.values())
            or self._retention.unpublished
        )

    @property
    def wants_sync(self) -> bool:
        """Whether so much is not durable that it should not wait for the interval."""
        return unsynced_bytes(self._lanes.values()) > self._memory_size_bytes // 2

    def sync(self) -> bool:
        """Make everything durable that was handed in before, and publish it. False when the disk did not.

        Without anything new it touches no file.
        """
        if not self.dirty:
            return True
        # What is still open first: the journal of the next batch may carry on what the last one's had.
        self._persistence.sync_journals(self._journals, self._last)
        durable = not [
            lane
            for lane in self._lanes.values()
            if not self._persistence.write_lane(lane, sync=True)
        ]
        self._retention.publish()
        self._retention.finish_journals()
        forgettable = self._ledger.dirty  # a loss that a crash would forget is no promise kept
        if not self._persistence.sync_journals(self._journals) or forgettable:
            durable = False
        if self._retention.unpublished:  # a segment that vanished then would leave no trace
            durable = False
        else:
            for lane in self._lanes.values():
                if lane.settled:
                    self._ledger.settle(lane.settled)
                    lane.settled = []
        self._health.attempt(lambda: self._ledger.save(sync=forgettable))
        self._health.count_wear(self._fs)
        if durable:
            self._health.failure = ""
        return durable

    def maintain(self) -> list[Gap]:
        """Free what was delivered, keep the bounds. Returns what `take_gaps` returns."""
        self._keep_bounds()
        return self.take_gaps()

    def room_bytes(self) -> int | None:
        """What may still be taken from applications before they must wait. None: they never must.

        Only with when_full = "block". For any thread.
        """
        if unsynced_bytes(self._lanes.values()) > self._memory_size_bytes // 4:
            return 0 if self._retention.blocks(KINDS[-1]) else None
        return self._retention.room_bytes()

    def take_gaps(self) -> list[Gap]:
        """Gaps that were not returned before; after open, all that were not shipped."""
        return self._ledger.take()

    def knows_lost(self, kind: str, first: int, last: int) -> bool:
        """Whether all these numbers are in gaps. For any thread."""
        return not missing_ranges(first, last, self._ledger.ranges(kind))

    def report_failure(self, reason: str, message: str) -> None:
        """Something above the disk failed: shown and counted like the disk's own failures."""
        self._health.fail(reason, message)

    # -- what a person asks

    def usage(self) -> SpoolUsage:
        """Sizes and ranges against the cursor as it is now. For any thread, at any time."""
        published = self._retention.published.durable
        acked = read_cursor(self._fs, self._directory)
        return SpoolUsage(
            size_bytes=self._retention.size_bytes(),
            max_size_bytes=self._max_size_bytes,
            segments=sum(len(lane.segments) for lane in self._lanes.values()),
            journal_bytes=self._journals.size_bytes,
            memory_bytes=unsynced_bytes(self._lanes.values()),
            failure=self.failure,
            kinds={
                kind: usage_of(self._fs, lane, published[kind], acked[kind])
                for kind, lane in self._lanes.items()
            },
        )

    # -- inside

    def _keep_bounds(self) -> None:
        full = self.room_bytes() == 0
        self._retention.free_delivered(under_pressure=full)
        self._retention.expire()
        self._retention.make_room(KINDS[-1], 0)

    def _advance(self, kind: str, seq: int) -> None:
        """Numbers are used in order; one that was passed over will not come any more."""
        last = self._last[kind]
        if seq <= last:
            raise ValueError(f"{kind} {seq} comes after {last}")
        if seq > last + 1:
            self._retention.lose(kind, last + 1, seq - 1, "dropped", 0)
            for passed in range(last + 1, seq):
                self._retention.remove_journal(kind, passed)
        self._last[kind] = seq
        self._next[kind] = max(self._next[kind], seq + 1)

    def _bound_memory(self) -> None:
        """What the disk does not take stays here, up to a bound; then the least important goes."""
        if self.wants_sync:
            self.sync()
        reason = reason_of(self.failure)
        for lane in reversed(self._lanes.values()):
            while unsynced_bytes(self._lanes.values()) > self._memory_size_bytes:
                item = lane.unwritten()
                if item is None:
                    break
                self._retention.drop_pending(lane, item, reason)
