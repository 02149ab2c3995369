"""Puts right the times of a boot whose clock was not known at first.

A device without a battery starts in 1970, or where its file system was last written, until it finds
a time server. Its batches say so: clock_error_ms is NULL. Its monotonic clock runs all the same, so
one batch of the boot with a synchronised clock dates all others of that boot:

    true wall = anchor.wall + (batch.mono - anchor.mono)

The rows' times are moved by the difference; `batches.wall_ns` stays what the device said, and
`batches.shifted_ns` says by how much its rows were moved. It happens whichever of the two comes
first, in the transaction that stores the second. Of several anchors the nearest in monotonic time
counts; a batch is moved once. Time that a device slept does not count where its monotonic clock
stands still in sleep: rows from before a sleep are then late by it.
"""

from __future__ import annotations

import sqlite3

from edgemon.records import Batch

# Tables and their columns that hold the device's wall clock.
TIMES = {
    "predictions": ("time_ns",),
    "labels": ("time_ns",),
    "windows": ("start_ns", "end_ns"),
    "samples": ("time_ns",),
    "events": ("time_ns",),
}
_LATEST_NS = 2**62  # the year 2116: no clock is right beyond, and sums stay exact

# The last dated batch before, and the first after: each one look into an index.
_ANCHORS = [
    "SELECT wall_ns, mono_ns FROM batches WHERE device = ? AND boot = ?"
    f" AND clock_error_ms IS NOT NULL AND mono_ns {side} ? ORDER BY mono_ns {order} LIMIT 1"
    for side, order in (("<=", "DESC"), (">", "ASC"))
]
_WAITING = (
    "SELECT id, wall_ns, mono_ns FROM batches WHERE device = ? AND boot = ?"
    " AND clock_error_ms IS NULL AND shifted_ns IS NULL"
)
_UPDATES = [
    f"UPDATE {table} SET {', '.join(f'{name} = {name} + :shift' for name in names)}"
    " WHERE batch = :batch"
    for table, names in TIMES.items()
]


def anchor(connection: sqlite3.Connection, batch: Batch, number: int) -> None:
    """Call after `batch` was inserted with id `number`, in the same transaction."""
    boot = batch.boot.hex()
    if batch.clock_error_ms is not None:
        waiting = connection.execute(_WAITING, (batch.device, boot)).fetchall()
        for other, wall_ns, mono_ns in waiting:
            _shift(connection, other, wall_ns, batch.wall_ns + mono_ns - batch.mono_ns)
        return
    where = (batch.device, boot, batch.mono_ns)
    found = [row for query in _ANCHORS if (row := connection.execute(query, where).fetchone())]
    if found:
        wall_ns, mono_ns = min(found, key=lambda row: abs(row[1] - batch.mono_ns))
        _shift(connection, number, batch.wall_ns, wall_ns + batch.mono_ns - mono_ns)


def _shift(connection: sqlite3.Connection, number: int, wall_ns: int, true_ns: int) -> None:
    if not (0 <= true_ns < _LATEST_NS and 0 <= wall_ns < _LATEST_NS):
        return  # a clock that cannot be right dates nothing
    shift = true_ns - wall_ns
    for update in _UPDATES:
        connection.execute(update, {"shift": shift, "batch": number})
    connection.execute("UPDATE batches SET shifted_ns = ? WHERE id = ?", (shift, number))
