"""A receiver's database, read for a report."""

from __future__ import annotations

import sqlite3
from typing import Any

from edgemon.errors import DamagedError, StorageError, UsageError
from edgemon.receive.sqlite import read_only
from edgemon.report import standing
from edgemon.report.figures import (
    BUCKETS,
    MAX_DEVICES,
    MAX_EVENTS,
    MAX_GAPS,
    MAX_NAMES,
    MAX_SERIES,
    Report,
    Selection,
    Series,
)
from edgemon.report.models import ModelReader
from edgemon.report.query import Query, finite, points

_TIMEOUT_S = 10.0  # for a receiver that writes just then


def read(path: str, selection: Selection) -> Report:
    """UsageError when it is no database of a receiver, StorageError when it cannot be read."""
    try:
        connection = read_only(path, _TIMEOUT_S)
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {error}") from None
    try:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if not {"batches", "windows", "events", "samples"} <= tables:
            raise UsageError(f"{path}: not a database of edgemon receive")
        with connection:  # one transaction: a receiver may write meanwhile
            connection.execute("BEGIN")
            return _Reader(connection, selection).report()
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise UsageError(f"{path}: not a database of edgemon receive") from None
        if "malformed" in str(error):
            raise DamagedError(f"{path}: {error}") from None
        raise StorageError(f"{path}: {error}") from None
    finally:
        connection.close()


class _Reader:
    def __init__(self, connection: sqlite3.Connection, selection: Selection) -> None:
        self._query = Query(connection, selection)

    def report(self) -> Report:
        first = self._query.first_ns
        devices = self._devices()
        where, values = self._query.where("b.wall_ns", "")
        batches, frame_bytes = self._query.all(
            f"SELECT count(*), coalesce(sum(frame_bytes), 0) FROM batches AS b WHERE {where}",
            values,
        ).fetchone()
        events, event_count = self._events()
        gaps, gap_batches = self._gaps()
        models = ModelReader(self._query).read()
        series = self._series()
        return Report(
            first, first + self._query.width_ns * BUCKETS, devices[:MAX_NAMES], len(devices), batches, frame_bytes,
            models, series, events, event_count, gaps, gap_batches, self._reported(),
            standing.read(self._query.all, *self._query.where("e.time_ns", "e.model")), self._query.left_out,
        )  # fmt: skip

    def _devices(self) -> list[tuple[str, str, int | None, int | None]]:
        where, values = self._query.where("b.received_ns", "")
        found = self._query.all(
            "SELECT b.fleet, b.device, d.online, coalesce(d.last_seen_ns, max(b.received_ns))"
            " FROM batches AS b LEFT JOIN devices AS d ON d.fleet = b.fleet AND d.device = b.device"
            f" WHERE {where} GROUP BY b.fleet, b.device ORDER BY b.fleet, b.device",
            values,
        ).fetchall()
        if len(found) > MAX_NAMES:
            self._query.left_out.append(f"{len(found) - MAX_NAMES} devices of the list")
        return found

    def _series(self) -> list[Series]:
        where, values = self._query.where("s.time_ns", "")
        found: dict[tuple[str, str], list[tuple[int, Any, Any]]] = {}
        devices: set[str] = set()
        left: set[str] = set()
        for device, name, at, mean, high in self._query.all(
            f"SELECT b.device, s.name, {self._query.bucket('s.time_ns')},"
            " avg(s.value), max(s.value)"
            f" FROM samples AS s JOIN batches AS b ON b.id = s.batch WHERE {where} GROUP BY 1, 2, 3"
            " ORDER BY 1, 2, 3",
            values,
        ):
            key = (device, name)
            if key not in found:
                of_device = sum(known == device for known, _ in found)
                if (
                    len(devices) >= MAX_DEVICES and device not in devices
                ) or of_device >= MAX_SERIES:
                    left.add(f"{device}/{name}")
                    continue
                devices.add(device)
            found.setdefault(key, []).append((at, mean, high))
        if left:
            self._query.left_out.append(
                f"{len(left)} series of devices (--device NAME chooses one)"
            )
        return [
            Series(
                device, name,
                points({at: mean for at, mean, _ in rows}),
                points({at: high for at, _, high in rows}),
                finite(rows[-1][1]),
            )
            for (device, name), rows in found.items()
        ]  # fmt: skip

    def _events(self) -> tuple[list[tuple[int, str, str, str, str, str, str, str]], int]:
        where, values = self._query.where("e.time_ns", "e.model")
        joined = f"FROM events AS e JOIN batches AS b ON b.id = e.batch WHERE {where}"
        count = self._query.all(f"SELECT count(*) {joined}", values).fetchone()[0]
        rows = self._query.all(
            f"SELECT e.time_ns, e.severity, e.type, b.device, e.model, e.version, e.stream, e.message {joined}"
            f" ORDER BY e.time_ns DESC LIMIT {MAX_EVENTS}",
            values,
        ).fetchall()
        if count > len(rows):
            self._query.left_out.append(f"{count - len(rows)} older events")
        return rows, count

    def _gaps(self) -> tuple[list[tuple[str, str, int, int, int]], int]:
        where = "WHERE device = ?" if self._query.selection.device else ""
        values = (self._query.selection.device,) if self._query.selection.device else ()
        ranges, total = self._query.all(
            f"SELECT count(*), coalesce(sum(batches), 0) FROM gaps {where}", values
        ).fetchone()
        rows = self._query.all(
            f"SELECT device, kind, from_seq, to_seq, batches FROM gaps {where} LIMIT {MAX_GAPS}",
            values,
        ).fetchall()
        if ranges > len(rows):
            self._query.left_out.append(f"{ranges - len(rows)} ranges of missing batches")
        return rows, total

    def _reported(self) -> list[tuple[str, str, str, int, int]]:
        where = "WHERE device = ?" if self._query.selection.device else ""
        values = (self._query.selection.device,) if self._query.selection.device else ()
        return self._query.all(
            "SELECT device, kind, reason, sum(to_seq - from_seq + 1), sum(rows) FROM reported_gaps"
            f" {where} GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT {MAX_GAPS}",
            values,
        ).fetchall()
