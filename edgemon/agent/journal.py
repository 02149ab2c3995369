"""What the agent writes into the journals of its open batches, and what it makes of them after a crash.

A chunk is a msgpack array: [version, anchor, rows] for rows of the batch, each a map, or, in version 2, an array
[n, same, cells] for n rows by column (edgemon.records.Rows); [version, anchor, rows, 1] for the rows
that the open windows would give at that moment; [version, anchor, rows, 2] for windows that began since, each with
one row that counts nothing. Of the second sort the last chunk holds: it stands for all that was open then; the third
adds to it. A window that closes later has rows of the first sort behind it, which take the place of its rows in those
chunks. So after a crash each window is there once: whole, or cut, as it was at the last checkpoint or as it began.
What is cut says by `uncounted` for how long after its end, at most, predictions came that are in no window: to the
window's own end or, where both lives are of one boot, to the start of the next one.
"""

from __future__ import annotations

from edgemon._core import msgpack
from edgemon.flow.batcher import Anchor
from edgemon.records import Row, Rows
from edgemon.spool.opening import PendingJournal
from edgemon.std.collections.abc import Callable, Iterable, Iterator, Sequence
from edgemon.typed import Any, NamedTuple

_VERSION = 1
_BY_COLUMN = 2  # the version of chunks that hold rows by column
WINDOWS = "agg"
OPEN, BEGUN = 1, 2


class Replayed(NamedTuple):
    """A batch that was open. rows: in order; empty where nothing of it is left.

    cut: of them, how many are of windows that a crash cut.  dropped: rows of such windows that found no room.
    unknown: chunks that a newer agent wrote.
    """

    kind: str
    seq: int
    anchor: Anchor | None
    rows: list[Row]
    cut: int
    dropped: int
    unknown: int


def pack(anchor: Anchor, rows: Sequence[Row | Rows]) -> bytes:
    """A chunk of rows of the batch."""
    version = _BY_COLUMN if any(isinstance(part, Rows) for part in rows) else _VERSION
    packed: bytes = msgpack.packb([version, list(anchor), rows])
    return packed


def _unpacked(version: int, parts: list[Any]) -> list[Row]:
    if version == _VERSION:
        return parts
    rows: list[Row] = []
    for part in parts:
        rows += [part] if isinstance(part, dict) else Rows(*part).one_by_one()
    return rows


def pack_windows(anchor: Anchor, rows: list[Row], sort: int = OPEN) -> bytes:
    """A chunk of what the open windows hold, or of those that have begun."""
    packed: bytes = msgpack.packb([_VERSION, list(anchor), rows, sort])
    return packed


def replay(
    journals: Iterable[PendingJournal], fits: Callable[[list[Row]], bool], now: Anchor
) -> Iterator[Replayed]:
    """The batches that were open, oldest first, each under its own number.

    fits: whether such rows may be one batch. Where they may not, the windows that were cut leave their sketches
    behind, then their streams, and then themselves.  now: the clocks.
    """
    ordered = sorted(journals, key=lambda journal: (journal.kind, journal.seq))
    # Both batches of a moment in which one was handed over have windows; the later ones hold.
    last = max((journal.seq for journal in ordered if journal.kind == WINDOWS), default=0)
    cut = _Cut()
    for journal in ordered:
        rows: list[Row] = []
        anchor: Anchor | None = None
        unknown = 0
        for payload in journal.payloads:
            version, clocks, chunk, *sort = msgpack.unpackb(payload)
            if version not in (_VERSION, _BY_COLUMN):
                unknown += 1
                break
            anchor = anchor or Anchor(*clocks)
            if sort:
                cut.take(chunk, anchor, sort[0])
                continue
            chunk = _unpacked(version, chunk)
            rows += chunk
            if journal.kind == WINDOWS:
                cut.closed(chunk)
        added = dropped = 0
        if anchor is not None and journal.kind == WINDOWS and journal.seq == last:
            whole, lost = len(rows), cut.rows(anchor, now)
            rows = _joined(rows, lost, fits)
            added = len(rows) - whole
            dropped = len(lost) - added
        yield Replayed(journal.kind, journal.seq, anchor, rows, added, dropped, unknown)


class _Cut:
    """The windows that were open, by model and version, while journals are read."""

    def __init__(self) -> None:
        self._windows: dict[tuple[object, object], list[Row]] = {}
        self._anchor: Anchor | None = None

    def take(self, rows: list[Row], anchor: Anchor, sort: int) -> None:
        """A chunk of them."""
        if sort == OPEN:
            self._windows = {}
        self._since(anchor)
        for row in rows:
            self._windows.setdefault(_model(row), []).append(row)

    def closed(self, rows: list[Row]) -> None:
        """Rows of windows that closed."""
        for row in rows:
            self._windows.pop(_model(row), None)

    def rows(self, anchor: Anchor, now: Anchor) -> list[Row]:
        """What is left of them, for a batch with this anchor, where the agent is there again by now."""
        self._since(anchor)
        rows = [row for window in self._windows.values() for row in window]
        if now.boot == anchor.boot:
            until = (now.mono_ns - anchor.mono_ns) // 1000
            for row in rows:
                t, most = row["t"], row.get("uncounted")
                if isinstance(t, int) and isinstance(most, int):
                    row["uncounted"] = max(0, min(most, until - t))
        return rows

    def _since(self, anchor: Anchor) -> None:
        """Have all `t` count from another anchor."""
        before, self._anchor = self._anchor or anchor, anchor
        if before.boot == anchor.boot:
            by_us = (before.mono_ns - anchor.mono_ns) // 1000
        else:
            by_us = (before.wall_ns - anchor.wall_ns) // 1000
        for row in (row for window in self._windows.values() for row in window):
            t = row["t"]
            assert isinstance(t, int)
            row["t"] = t + by_us


def _model(row: Row) -> tuple[object, object]:
    return row.get("model"), row.get("version")


def _joined(rows: list[Row], cut: list[Row], fits: Callable[[list[Row]], bool]) -> list[Row]:
    if not cut or fits(rows + cut):
        return rows + cut
    slim = [{name: cell for name, cell in row.items() if name != "sketch"} for row in cut]
    slim.sort(key=lambda row: row.get("stream") != "")  # that a window was cut is told first
    while slim and not fits(rows + slim):
        slim.pop()
    return rows + slim
