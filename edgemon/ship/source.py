"""The spool as the shipper sees it: batches, a cursor, and a folder for what is refused."""

from __future__ import annotations

from edgemon.records import KINDS
from edgemon.ship.refused import Note
from edgemon.ship.sink import Parcel
from edgemon.spool import layout
from edgemon.spool.cursor import Cursor
from edgemon.spool.fs import FileSystem, join
from edgemon.spool.gaps import GapLedger, missing_ranges
from edgemon.spool.quarantine import Quarantine
from edgemon.spool.reader import SpoolReader
from edgemon.std.collections.abc import Callable

_STREAM_DIGITS = 32


class SpoolSource:
    """The shipper's Source over a spool directory, which need not exist yet.

    A spool that is wiped and made anew counts from 1 again, under another stream id. The old cursor
    must then never be stored: the agent would free what nobody has.

    on_freeable: called after the cursor on disk passed the end of a segment, as far as one was read to its end. One
    that moves within a segment is nobody's business: on an idle device each batch would wake the agent once more.
    note: writes down that batches will not arrive; False when it cannot now. What stands between two batches and is
    in no gap that the agent knows (a file was damaged or removed under us) is noted before the cursor can pass it.
    """

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        quarantine_limit_bytes: int,
        on_freeable: Callable[[], object] = lambda: None,
        note: Callable[[Note], bool] = lambda _note: True,
    ) -> None:
        self._fs = fs
        self._on_freeable = on_freeable
        self._note = note
        self._directory = directory
        self._quarantine = Quarantine(fs, directory, quarantine_limit_bytes)
        self._cursor = Cursor(fs, directory)
        self._open()

    def _open(self) -> None:
        self._stream = self.stream()
        self._reader = SpoolReader(self._fs, self._directory)
        self._fresh_reader = SpoolReader(self._fs, self._directory)
        self._accounted = dict.fromkeys(KINDS, 0)  # below, every number that is missing is in a gap
        # The first batch that was read of each segment that follows another, until the cursor is there.
        self._begins: dict[str, set[int]] = {kind: set() for kind in KINDS}

    def stream(self) -> str:
        """The id of the numbering, 32 hex digits; "" while there is no spool."""
        try:
            text = self._fs.read(join(self._directory, layout.STREAM), 0, _STREAM_DIGITS)
        except OSError:
            return ""
        return text.decode("ascii", "replace") if len(text) == _STREAM_DIGITS else ""

    def next(self, kind: str, after_seq: int, *, fresh: bool = False) -> Parcel | None:
        reader = self._fresh_reader if fresh else self._reader
        before = reader.segment(kind)
        record = reader.next(kind, after_seq)
        if record is None:
            return None
        if before and reader.segment(kind) != before:
            self._begins[kind].add(record.seq)
        stream = record.stream.hex()
        if record.seq > max(after_seq, self._accounted[kind]) + 1:
            if not self._account(kind, after_seq + 1, record.seq - 1, stream):
                return None
            self._accounted[kind] = record.seq
        return Parcel(kind, record.seq, stream, record.frame, record.first_wall_ms, record.rows)

    def _account(self, kind: str, first: int, last: int, stream: str) -> bool:
        """Note which of these numbers nothing tells of. False: it cannot be noted now."""
        ledger = GapLedger(self._fs, self._directory)
        ledger.load()
        ledger.close()
        first = max(first, self._reader.watermark().freed[kind] + 1)
        reason = "it could not be read when its turn came"
        return all(
            self._note(Note(stream, kind, start, end, 0, "damaged", reason))
            for start, end in missing_ranges(first, last, ledger.ranges(kind))
        )

    def numbering(self) -> str:
        return self._stream

    def durable(self, kind: str) -> int:
        return self._reader.watermark().durable[kind]

    def acked(self) -> dict[str, int]:
        return {kind: self._cursor.acked(kind) for kind in KINDS}

    def restarted(self) -> bool:
        if not self._replaced():
            return False
        self._cursor.close()
        self._cursor = Cursor(self._fs, self._directory)
        self._open()
        return True

    def advance(self, kind: str, seq: int) -> None:
        self._cursor.advance(kind, seq)

    def store(self) -> None:
        if not self._replaced():
            self._cursor.store()
            if self._passed_a_segment():
                self._on_freeable()

    def _passed_a_segment(self) -> bool:
        passed = False
        for kind, begins in self._begins.items():
            acked = self._cursor.acked(kind)
            left = {seq for seq in begins if seq > acked + 1}
            passed = passed or left != begins
            self._begins[kind] = left
        return passed

    def quarantine(self, parcel: Parcel, reason: str) -> bool:
        seq = parcel.seq
        note = Note(parcel.stream, parcel.kind, seq, seq, parcel.rows, "quarantined", reason)
        if not self._note(note):
            return False
        frame = parcel.frame
        source = f"refused-{parcel.kind}-{parcel.stream}-{parcel.seq:016d}"
        kept = self._quarantine.keep(
            source, lambda offset, length: frame[offset : offset + length], 0, len(frame)
        )
        return kept == len(frame)

    def _replaced(self) -> bool:
        """Whether the spool is not the one that the cursor was read from."""
        stream = self.stream()
        if not stream:
            return False  # gone for now: nothing to read, and where would a cursor go
        return stream != self._stream
