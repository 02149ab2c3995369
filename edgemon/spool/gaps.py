"""What is missing: every seq that will never be handed out again is in one Gap, until that was shipped.

A gap is written down before its data are removed. It is handed to the agent, which makes a row of it in an
event batch; once that batch is durable the gap is settled. A settled gap is kept as long as recovery would
otherwise take its numbers for a fresh loss. After a crash between the two, a gap may be shipped twice.

The ledger is bounded: past MAX_ENTRIES two gaps of a kind are made one that spans both (and what lies
between them, which is then claimed as missing although it may be delivered).

The payload of slots.py, little-endian, 52 bytes an entry:

    offset  size  field
         0     8  id, unique within the stream of ids
         8     1  kind: index into records.KINDS
         9     1  reason: index into REASONS
        10     1  flags: 1 settled, 2 partial (some rows of the seqs are lost, the rest is there)
        11     1  0
        12    16  stream
        28     8  first seq
        36     8  last seq
        44     8  rows, as far as known
"""

from __future__ import annotations

import struct

from edgemon.records import KINDS, Event
from edgemon.spool import layout, slots
from edgemon.spool.fs import FileSystem, join
from edgemon.std.collections.abc import Iterable
from edgemon.typed import NamedTuple

# Only ever appended to: the index is on disk.
REASONS = (
    "damaged",  # found broken at open
    "missing",  # used, and nowhere to be found: its file is gone, or was never durable
    "max_size",  # removed to keep the spool below its size
    "disk_full",  # removed, or kept in memory and dropped, because the disk had no room
    "disk_failed",  # kept in memory and dropped, because the disk did not write
    "dropped",  # the agent gave the number out and never handed in the batch
    "not_encoded",  # the batch could not be encoded
    "max_age",  # removed because it waited too long
    "reserve_free",  # removed, or not taken, to leave room to others on the file system
)

MAX_ENTRIES = 64
SLOT_BYTES = 4096
_ENTRY = struct.Struct("<QBBBx16sQQQ")
_SETTLED, _PARTIAL = 1, 2
_CARRIER = KINDS[0]  # the kind whose batches carry gaps


class Gap(NamedTuple):
    """Batches from_seq … to_seq of a kind are not there, or (partial) not with all their rows.

    stream: 16 bytes.  reason: one of REASONS.  rows: how many are lost; 0 when nobody knows.
    """

    id: int
    stream: bytes
    kind: str
    from_seq: int
    to_seq: int
    reason: str
    rows: int
    partial: bool = False

    def as_event(self) -> Event:
        """The event whose row ships this gap: type "gap", all fields in its data."""
        numbers = (
            f"{self.from_seq}" if self.from_seq == self.to_seq else f"{self.from_seq}–{self.to_seq}"
        )
        rows = f"{self.rows} rows" if self.rows else "an unknown number of rows"
        what = "some rows of batch" if self.partial else "batch"
        return Event(
            "gap",
            "warning",
            f"{what} {self.kind} {numbers} will not arrive ({self.reason}, {rows})",
            data={
                "stream": self.stream.hex(),
                "kind": self.kind,
                "from_seq": self.from_seq,
                "to_seq": self.to_seq,
                "reason": self.reason,
                "rows": self.rows,
                "partial": self.partial,
            },
        )


class _Entry:
    __slots__ = ("gap", "settled", "taken")

    def __init__(self, gap: Gap, settled: bool) -> None:
        self.gap = gap
        self.settled = settled
        self.taken = False


class GapLedger:
    """All gaps that matter. Not durable before `save`."""

    __slots__ = ("_dirty", "_entries", "_next_id", "_slots", "_unsynced")

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._slots = slots.SlotFile(fs, join(directory, layout.GAPS), SLOT_BYTES)
        self._entries: list[_Entry] = []
        self._next_id = 1
        self._dirty = False
        self._unsynced = False

    def load(self) -> None:
        """Read what is stored; damaged or missing counts as empty."""
        payload = self._slots.load()
        # The first save takes the space: later ones must work on a full disk.
        self._dirty = payload is None
        if payload is None or len(payload) % _ENTRY.size:
            return
        for fields in _ENTRY.iter_unpack(payload):
            gap_id, kind, reason, flags, stream, first, last, rows = fields
            if kind < len(KINDS) and reason < len(REASONS):
                partial = bool(flags & _PARTIAL)
                gap = Gap(gap_id, stream, KINDS[kind], first, last, REASONS[reason], rows, partial)
                self._entries.append(_Entry(gap, bool(flags & _SETTLED)))
                self._next_id = max(self._next_id, gap_id + 1)

    def add(
        self,
        stream: bytes,
        kind: str,
        from_seq: int,
        to_seq: int,
        reason: str,
        rows: int,
        *,
        partial: bool = False,
    ) -> None:
        """Note a loss. One that goes on where the last one ended, and has not been handed out, grows.

        Lost events may have carried gaps: those that still matter are to be shipped again.
        """
        self._dirty = True
        if kind == _CARRIER:
            for entry in self._entries:
                if entry.settled:
                    entry.settled = entry.taken = False
        for entry in reversed(self._entries):
            gap = entry.gap
            if gap.kind != kind:
                continue
            if (gap.stream, gap.reason, gap.partial) == (stream, reason, partial) and (
                gap.to_seq + 1 == from_seq and not entry.taken and not entry.settled
            ):
                entry.gap = gap._replace(to_seq=to_seq, rows=gap.rows + rows)
                return
            break
        gap = Gap(self._next_id, stream, kind, from_seq, to_seq, reason, rows, partial)
        self._next_id += 1
        self._entries.append(_Entry(gap, settled=False))
        if len(self._entries) > MAX_ENTRIES:
            self._merge_two()

    def fresh(self) -> list[Gap]:
        """Gaps not handed out since open, oldest first."""
        return [entry.gap for entry in self._entries if not entry.taken and not entry.settled]

    def take(self) -> list[Gap]:
        """The same, and they count as handed out."""
        fresh = self.fresh()
        for entry in self._entries:
            entry.taken = True
        return fresh

    def has_partial(self, kind: str, seq: int) -> bool:
        """Whether it is known that rows of this batch are lost."""
        return any(
            e.gap.partial and e.gap.kind == kind and e.gap.from_seq <= seq <= e.gap.to_seq
            for e in self._entries
        )

    def hand_back(self, ids: Iterable[int]) -> None:
        """These did not become durable after all: `take` gives them again."""
        wanted = set(ids)
        for entry in self._entries:
            if entry.gap.id in wanted and not entry.settled:
                entry.taken = False

    def settle(self, ids: Iterable[int]) -> None:
        """The batches that carry these gaps are durable."""
        wanted = set(ids)
        for entry in self._entries:
            if entry.gap.id in wanted and not entry.settled:
                entry.settled = self._dirty = True
        self._join_settled()

    def forget(self, freed: dict[str, int]) -> None:
        """Drop settled gaps below what was delivered: recovery does not look there any more."""
        kept = [e for e in self._entries if not e.settled or e.gap.to_seq > freed[e.gap.kind]]
        if len(kept) != len(self._entries):
            self._entries = kept
            self._dirty = True

    def ranges(self, kind: str) -> list[tuple[int, int]]:
        """(first, last) of what is known to be missing as a whole."""
        return [
            (entry.gap.from_seq, entry.gap.to_seq)
            for entry in self._entries
            if entry.gap.kind == kind and not entry.gap.partial
        ]

    @property
    def dirty(self) -> bool:
        """Whether a loss was noted that a crash would forget."""
        return self._dirty

    def save(self, *, sync: bool) -> None:
        """Write, when something changed. Raises OSError; then it is still to be saved."""
        if not self._dirty and not (sync and self._unsynced):
            return
        payload = b"".join(
            _ENTRY.pack(
                entry.gap.id,
                KINDS.index(entry.gap.kind),
                REASONS.index(entry.gap.reason),
                _SETTLED * entry.settled | _PARTIAL * entry.gap.partial,
                entry.gap.stream,
                entry.gap.from_seq,
                entry.gap.to_seq,
                entry.gap.rows,
            )
            for entry in self._entries
        )
        self._slots.store(payload, sync=sync)
        self._dirty, self._unsynced = False, not sync

    def save_twice(self) -> None:
        """Write what changed, durably and into both slots, as `save`: damage to one of them must not make a loss
        unknown of which there will be no other evidence.
        """
        changed = self._dirty
        self.save(sync=True)
        if changed:
            self._dirty = True
            self.save(sync=True)

    def close(self) -> None:
        self._slots.close()

    def _join_settled(self) -> None:
        """Settled neighbours matter as numbers only: one entry says as much as ten."""
        joined: list[_Entry] = []
        last_settled: dict[str, _Entry] = {}
        for entry in self._entries:
            gap = entry.gap
            before = last_settled.get(gap.kind)
            if entry.settled and not gap.partial:
                if (
                    before is not None
                    and before.gap.to_seq + 1 == gap.from_seq
                    and (before.gap.stream, before.gap.reason) == (gap.stream, gap.reason)
                ):
                    before.gap = before.gap._replace(
                        to_seq=gap.to_seq, rows=before.gap.rows + gap.rows
                    )
                    continue
                last_settled[gap.kind] = entry
            joined.append(entry)
        self._entries = joined

    def _merge_two(self) -> None:
        """Make the two oldest gaps of the kind that has the most into one."""
        per_kind: dict[str, list[_Entry]] = {}
        for entry in self._entries:
            per_kind.setdefault(entry.gap.kind, []).append(entry)
        first, second = max(per_kind.values(), key=len)[:2]
        # What was handed out already is settled under its own id: the sum is news, and goes out anew.
        first.gap = first.gap._replace(
            id=self._next_id,
            from_seq=min(first.gap.from_seq, second.gap.from_seq),
            to_seq=max(first.gap.to_seq, second.gap.to_seq),
            rows=first.gap.rows + second.gap.rows,
            partial=first.gap.partial and second.gap.partial,
        )
        self._next_id += 1
        first.settled = first.settled and second.settled
        first.taken = False
        self._entries.remove(second)


def missing_ranges(first: int, last: int, present: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of first … last (inclusive) that no range of `present` covers, in order."""
    missing = []
    for start, end in sorted(present):
        if start > first:
            missing.append((first, min(start - 1, last)))
        first = max(first, end + 1)
        if first > last:
            break
    if first <= last:
        missing.append((first, last))
    return [(start, end) for start, end in missing if start <= end]
