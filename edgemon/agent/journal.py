"""What the agent writes into the journals of its open batches, and what it makes of them after a crash.

A chunk is a msgpack array: [version, anchor, rows] for rows of the batch, each a map, or, in version 2, an array
[n, same, cells] for n rows by column (edgemon.records.Rows); [version, anchor, rows, 1] for the rows
that the open windows would give at that moment. Of the second sort the last chunk holds: it stands for all that
was open then. A window that closes later has rows of the first sort behind it, which take the place of its rows
in that chunk. So after a crash each window is there once: whole, or as it was at the last checkpoint and cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgpack

from edgemon.flow.batcher import Anchor
from edgemon.records import Row, Rows
from edgemon.spool.opening import PendingJournal
from edgemon.typed import Any, NamedTuple

_VERSION = 1
_BY_COLUMN = 2  # the version of chunks that hold rows by column
WINDOWS = "agg"


class Replayed(NamedTuple):
    """A batch that was open. rows: in order; empty where nothing of it is left.

    cut: of them, how many are of windows that a crash cut.  unknown: chunks that a newer agent wrote.
    """

    kind: str
    seq: int
    anchor: Anchor | None
    rows: list[Row]
    cut: int
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


def pack_windows(anchor: Anchor, rows: list[Row]) -> bytes:
    """A chunk of what the open windows hold."""
    packed: bytes = msgpack.packb([_VERSION, list(anchor), rows, 1])
    return packed


def replay(
    journals: Iterable[PendingJournal], fits: Callable[[list[Row]], bool]
) -> Iterator[Replayed]:
    """The batches that were open, oldest first, each under its own number.

    fits: whether such rows may be one batch. Where they may not, the windows that were cut leave their sketches
    behind, and then themselves.
    """
    ordered = sorted(journals, key=lambda journal: (journal.kind, journal.seq))
    # Both batches of a moment in which one was handed over have windows; the later ones hold.
    last = max((journal.seq for journal in ordered if journal.kind == WINDOWS), default=0)
    cut: dict[tuple[object, object], list[Row]] = {}
    for journal in ordered:
        rows: list[Row] = []
        anchor: Anchor | None = None
        unknown = 0
        for payload in journal.payloads:
            version, clocks, chunk, *windows = msgpack.unpackb(payload)
            if version not in (_VERSION, _BY_COLUMN):
                unknown += 1
                break
            anchor = anchor or Anchor(*clocks)
            if windows:
                cut = _by_model(chunk)
                continue
            chunk = _unpacked(version, chunk)
            rows += chunk
            if journal.kind == WINDOWS:
                for row in chunk:
                    cut.pop((row.get("model"), row.get("version")), None)
        added = 0
        if journal.kind == WINDOWS and journal.seq == last:
            whole = len(rows)
            rows = _joined(rows, [row for group in cut.values() for row in group], fits)
            added = len(rows) - whole
        yield Replayed(journal.kind, journal.seq, anchor, rows, added, unknown)


def _by_model(rows: list[Row]) -> dict[tuple[object, object], list[Row]]:
    groups: dict[tuple[object, object], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.get("model"), row.get("version")), []).append(row)
    return groups


def _joined(rows: list[Row], cut: list[Row], fits: Callable[[list[Row]], bool]) -> list[Row]:
    if not cut or fits(rows + cut):
        return rows + cut
    slim = [{name: cell for name, cell in row.items() if name != "sketch"} for row in cut]
    while slim and not fits(rows + slim):
        slim.pop()
    return rows + slim
