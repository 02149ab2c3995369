"""What is kept, what goes, and the order in which it is written down.

Freed are segments that the cursor has passed. When that is not enough, whole segments are evicted: the lowest
priority first, the oldest first. A batch never evicts one of a higher priority: then it is the one that is
lost. Every eviction is a gap, and the gap is durable before the segment is unlinked.

when_full says who may evict whom. "drop_oldest": any batch evicts what is not above it. "drop_newest": only what
is below it, so that of one kind the newest is lost. "block": likewise, and predictions are evicted by
nobody: they stay in memory, and the agent stops reading from applications before that happens. They may
use all but two segments of the spool, which are for the kinds that nobody can hold back.
"""

from __future__ import annotations

from edgemon.records import KINDS
from edgemon.spool import layout, watermark
from edgemon.spool.cursor import read_cursor
from edgemon.spool.fs import FileSystem, reader_of
from edgemon.spool.gaps import GapLedger
from edgemon.spool.health import Health
from edgemon.spool.journal import Journals
from edgemon.spool.lane import Lane, Pending, Segment
from edgemon.spool.origin import Witness
from edgemon.spool.segment import Entry, scan
from edgemon.spool.slots import SlotFile
from edgemon.spool.watermark import Watermark
from edgemon.std.collections.abc import Callable
from edgemon.typed import Protocol

# Before 2020 no clock was right: such ages count from the moment at which the spool was opened.
_FIRST_PLAUSIBLE_MS = 1_577_836_800_000
_EVENT, _PRED = KINDS[0], KINDS[-1]


class Bounds(Protocol):
    """What the settings say of retention. max_age_s, reserve_free_bytes: 0 is no limit."""

    @property
    def segment_size_bytes(self) -> int: ...
    @property
    def max_size_bytes(self) -> int: ...
    @property
    def when_full(self) -> str: ...
    @property
    def max_age_s(self) -> float: ...
    @property
    def reserve_free_bytes(self) -> int: ...


class Retention:
    """The bounds of the spool, over its lanes and journals.

    now_s: seconds since boot, as the lanes have it.  wall_ms: ms since 1970.
    """

    __slots__ = (
        "_bounds",
        "_directory",
        "_fs",
        "_health",
        "_journals",
        "_lanes",
        "_ledger",
        "_now_s",
        "_opened_s",
        "_wall_ms",
        "_watermark_durable",
        "_watermark_file",
        "_witness",
        "acked",
        "published",
        "stream_id",
    )

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        bounds: Bounds,
        lanes: dict[str, Lane],
        journals: Journals,
        ledger: GapLedger,
        watermark_file: SlotFile,
        witness: Witness,
        health: Health,
        now_s: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._bounds = bounds
        self._now_s = now_s
        self._wall_ms = wall_ms
        self._opened_s = now_s()
        self._lanes = lanes
        self._journals = journals
        self._ledger = ledger
        self._watermark_file = watermark_file
        self._watermark_durable = False
        self._witness = witness
        self._health = health
        self.acked = dict.fromkeys(KINDS, 0)
        self.published = watermark.nothing()
        self.stream_id = b""

    def size_bytes(self) -> int:
        """Bytes in segments and journals."""
        return sum(lane.size_bytes for lane in self._lanes.values()) + self._journals.size_bytes

    # -- written down

    @property
    def unpublished(self) -> bool:
        """Whether batches are durable, or gaps are known, that a failing disk kept from being noted."""
        published = self.published.durable
        return self._ledger.dirty or any(
            lane.durable_seq > published[kind] for kind, lane in self._lanes.items()
        )

    def publish(self, *, sync: bool = False) -> bool:
        """Let readers see what is durable. sync: return once that is on the medium. False: not done."""
        current = Watermark(
            {
                kind: max(self.published.durable[kind], lane.durable_seq)
                for kind, lane in self._lanes.items()
            },
            {kind: max(self.published.freed[kind], self.acked[kind]) for kind in KINDS},
        )
        if current == self.published and (self._watermark_durable or not sync):
            return True
        payload = watermark.pack(current)
        if not self._health.attempt(lambda: self._watermark_file.store(payload, sync=sync)):
            return False
        self.published = current
        self._watermark_durable = sync
        self._health.attempt(lambda: self._witness.store(self.stream_id, current.durable))
        return True

    def lose(
        self, kind: str, from_seq: int, to_seq: int, reason: str, rows: int, stream: bytes = b""
    ) -> None:
        """Note that batches are lost; durable at once when the disk lets us."""
        self._ledger.add(stream or self.stream_id, kind, from_seq, to_seq, reason, rows)
        self._health.count("lost_batches", to_seq - from_seq + 1, reason=reason)
        self._health.count("lost_rows", rows, reason=reason)
        self._health.attempt(lambda: self._ledger.save(sync=True))

    # -- removed

    def free_delivered(self, *, under_pressure: bool = False) -> bool:
        """Remove segments that the cursor has passed. True when something went.

        A segment that is still being written is left, but for pressure: a new one costs two fsyncs.
        """
        self.acked = read_cursor(self._fs, self._directory)
        delivered = []
        for lane in self._lanes.values():
            self._health.attempt(lane.sweep)
            limit = len(lane.segments)
            if lane.appending and (not under_pressure or lane.pending):
                limit -= 1
            for segment in lane.segments[:limit]:
                if segment.last_seq > self.acked[lane.kind]:
                    break
                delivered.append(lane)
        # The cursor may not be on the medium yet: it is seen as soon as it is written. `freed` must be.
        freed = bool(delivered) and self.publish(sync=True)
        if freed:
            for lane in delivered:
                self._health.attempt(lane.remove_oldest)
        self._ledger.forget(self.published.freed)
        return freed

    def limit_bytes(self, kind: str) -> int:
        """Up to which size of the spool a batch of this kind is taken."""
        bounds = self._bounds
        kept_free = 2 * bounds.segment_size_bytes if self.blocks(kind) else 0
        return bounds.max_size_bytes - kept_free

    def blocks(self, kind: str) -> bool:
        """Whether a batch of this kind that finds no room waits in memory, and is not dropped."""
        return kind == _PRED and self._bounds.when_full == "block"

    def make_room(self, kind: str, wanted_bytes: int) -> str:
        """Have room for so many bytes of this kind within all bounds. Else the bound that is in the way.

        Events may use the reserve of the file system: they are few, and max_size bounds them.
        """
        over = self.size_bytes() + wanted_bytes - self.limit_bytes(kind)
        if over > 0 and not self._shrink(kind, over, "max_size"):
            return "max_size"
        if self._bounds.reserve_free_bytes:
            over = self._bounds.reserve_free_bytes + wanted_bytes - self._free_bytes()
            if over > 0 and not self._shrink(kind, over, "reserve_free") and kind != _EVENT:
                return "reserve_free"
        return ""

    def _shrink(self, kind: str, by_bytes: int, reason: str) -> bool:
        """Remove so many bytes, for a batch of this kind. False: that much may not go."""
        goal = self.size_bytes() - by_bytes
        self.free_delivered(under_pressure=True)
        while self.size_bytes() > goal:
            if not self.evict_one(kind, reason):
                return False
        return True

    def room_bytes(self) -> int | None:
        """What predictions may still take, less one segment for what is under way already.

        None: they never wait.
        """
        if not self.blocks(_PRED):
            return None
        bounds = self._bounds
        room = self.limit_bytes(_PRED) - self.size_bytes()
        if bounds.reserve_free_bytes:
            room = min(room, self._free_bytes() - bounds.reserve_free_bytes)
        return max(0, room - bounds.segment_size_bytes)

    def _free_bytes(self) -> int:
        try:
            return self._fs.free_bytes(self._directory)
        except OSError as error:
            self._health.fail_by(error)
            return 1 << 62  # nobody knows: the disk itself will say when it is full

    def expire(self) -> None:
        """Evict the segments whose newest batch has waited for longer than max_age."""
        if not self._bounds.max_age_s:
            return
        for lane in self._lanes.values():
            while lane.segments and self._age_s(lane.segments[0]) > self._bounds.max_age_s:
                self._evict_oldest(lane, "max_age")

    def _age_s(self, segment: Segment) -> float:
        """How long its newest batch waits. The wall clock is believed across a restart only."""
        if segment.added_s is not None:
            return self._now_s() - segment.added_s
        wall_ms = self._wall_ms()
        if segment.last_wall_ms < _FIRST_PLAUSIBLE_MS or wall_ms < _FIRST_PLAUSIBLE_MS:
            return self._now_s() - self._opened_s
        return (wall_ms - segment.last_wall_ms) / 1000

    def remove_one(self, kind: str, reason: str) -> bool:
        """Give disk space back: what was delivered, or else one segment. False: nothing may go."""
        return self.free_delivered(under_pressure=True) or self.evict_one(kind, reason)

    def evict_one(self, kind: str, reason: str) -> bool:
        """Remove the oldest segment of the lowest priority that a batch of `kind` may evict. False: none."""
        when_full = self._bounds.when_full
        for candidate in reversed(KINDS):
            if layout.PRIORITY[candidate] < layout.PRIORITY[kind]:
                return False
            if candidate == kind and when_full != "drop_oldest":
                return False
            if self.blocks(candidate):
                continue
            if self._lanes[candidate].segments:
                self._evict_oldest(self._lanes[candidate], reason)
                return True
        return False

    def _evict_oldest(self, lane: Lane, reason: str) -> None:
        segment = lane.segments[0]
        acked = self.acked[lane.kind]
        if segment.batches and segment.last_seq > acked:
            first = max(segment.first_seq, acked + 1)
            rows = (
                segment.rows
                if first == segment.first_seq
                else self._rows_from(lane, segment, first)
            )
            for item in lane.lost_with_oldest():
                self._ledger.hand_back(item.settles)
            self.lose(lane.kind, first, segment.last_seq, reason, rows, segment.stream)
        self._health.count("evicted_segments", reason=reason)
        self._health.attempt(lane.remove_oldest)
        # A disk without a byte may not have taken the gap before; now it has room.
        self._health.attempt(lambda: self._ledger.save(sync=True))
        if self._ledger.dirty:
            return  # a crash could forget the gap: then the journals tell
        for journal in self._journals.finished(lane.kind, segment.last_seq):
            self._health.attempt(journal.remove)

    def _rows_from(self, lane: Lane, segment: Segment, first_seq: int) -> int:
        """Rows in a segment from a seq on; all of them when it cannot be read."""
        try:
            return sum(
                item.header.rows
                for item in scan(
                    reader_of(self._fs, lane.path(segment)), segment.size_bytes, frames=False
                )
                if isinstance(item, Entry) and item.header.seq >= first_seq
            )
        except OSError:
            return segment.rows

    def drop_pending(self, lane: Lane, item: Pending, reason: str) -> None:
        """Give up a batch that no file holds."""
        lane.pending.remove(item)
        self._ledger.hand_back(item.settles)
        self.lose(lane.kind, item.header.seq, item.header.seq, reason, item.header.rows)
        self.remove_journal(lane.kind, item.header.seq)

    def remove_journal(self, kind: str, seq: int) -> None:
        """The batch of this number is in a gap. If a crash could forget that, its journal stays for now."""
        if self._ledger.dirty:
            return
        journal = self._journals.take(kind, seq)
        if journal is not None:
            self._health.attempt(journal.remove)

    def finish_journals(self) -> None:
        """Remove the journals of batches that are durable or in a gap."""
        if self._ledger.dirty and not self._health.attempt(lambda: self._ledger.save(sync=True)):
            return
        for kind, lane in self._lanes.items():
            # Until that is published, the journal is all that remembers the number.
            known_seq = min(lane.durable_seq, self.published.durable[kind])
            for journal in self._journals.finished(kind, known_seq):
                self._health.attempt(journal.remove)
