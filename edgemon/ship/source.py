"""The spool as the shipper sees it: batches, a cursor, and a folder for what is refused."""

from __future__ import annotations

from collections.abc import Callable

from edgemon.records import KINDS
from edgemon.ship.sink import Parcel
from edgemon.spool import layout
from edgemon.spool.cursor import Cursor
from edgemon.spool.fs import FileSystem, join
from edgemon.spool.quarantine import Quarantine
from edgemon.spool.reader import SpoolReader

_STREAM_DIGITS = 32


class SpoolSource:
    """The shipper's Source over a spool directory, which need not exist yet.

    A spool that is wiped and made anew counts from 1 again, under another stream id. The old cursor
    must then never be stored: the agent would free what nobody has.

    on_stored: called after the cursor moved on disk; there may be segments to free.
    note: writes down that a batch will not arrive (kind, stream, seq, rows, reason); False when it
    cannot now.
    """

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        quarantine_limit_bytes: int,
        on_stored: Callable[[], object] = lambda: None,
        note: Callable[[Parcel, str], bool] = lambda _parcel, _reason: True,
    ) -> None:
        self._fs = fs
        self._on_stored = on_stored
        self._note = note
        self._directory = directory
        self._quarantine = Quarantine(fs, directory, quarantine_limit_bytes)
        self._open()

    def _open(self) -> None:
        self._stream = self.stream()
        self._reader = SpoolReader(self._fs, self._directory)
        self._fresh_reader = SpoolReader(self._fs, self._directory)
        self._cursor = Cursor(self._fs, self._directory)

    def stream(self) -> str:
        """The id of the numbering, 32 hex digits; "" while there is no spool."""
        try:
            text = self._fs.read(join(self._directory, layout.STREAM), 0, _STREAM_DIGITS)
        except OSError:
            return ""
        return text.decode("ascii", "replace") if len(text) == _STREAM_DIGITS else ""

    def next(self, kind: str, after_seq: int, *, fresh: bool = False) -> Parcel | None:
        record = (self._fresh_reader if fresh else self._reader).next(kind, after_seq)
        if record is None:
            return None
        stream = record.stream.hex()
        return Parcel(kind, record.seq, stream, record.frame, record.first_wall_ms, record.rows)

    def numbering(self) -> str:
        return self._stream

    def durable(self, kind: str) -> int:
        return self._reader.watermark().durable[kind]

    def acked(self) -> dict[str, int]:
        return {kind: self._cursor.acked(kind) for kind in KINDS}

    def restarted(self) -> bool:
        if not self._replaced():
            return False
        self._open()
        return True

    def advance(self, kind: str, seq: int) -> None:
        self._cursor.advance(kind, seq)

    def store(self) -> None:
        if not self._replaced():
            self._cursor.store()
            self._on_stored()

    def quarantine(self, parcel: Parcel, reason: str) -> bool:
        if not self._note(parcel, reason):
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
