"""Questions to the tables of edgemon/receive/schema.sql: what was selected of them, and time in parts."""

from __future__ import annotations

import math
import sqlite3
from typing import Any

from edgemon.cli._terminal import printable
from edgemon.errors import UsageError
from edgemon.report.figures import BUCKETS, Point, Selection


class Query:
    """left_out: what was not read because there is too much of it, for a person."""

    def __init__(self, connection: sqlite3.Connection, selection: Selection) -> None:
        self.all = connection.execute
        self.selection = selection
        self.left_out: list[str] = []
        first, last = self._span()
        # At least a nanosecond, so that one single row has its bucket too.
        self.first_ns, self.width_ns = first, max(1, (last - first) // BUCKETS + 1)
        self._check_selection()

    def bucket(self, time: str) -> str:
        """The expression of the part of the time."""
        return f"({time} - {self.first_ns}) / {self.width_ns}"

    def where(self, time: str, model: str) -> tuple[str, tuple[object, ...]]:
        """Conditions of the selection on `time` and, where there is one, the column `model`."""
        parts, values = ["1"], []
        if self.selection.device:
            parts.append("b.device = ?")
            values.append(self.selection.device)
        if self.selection.model and model:
            parts.append(f"{model} = ?")
            values.append(self.selection.model)
        if self.selection.since_ns:
            parts.append(f"{time} >= {self.selection.since_ns:d}")
        return " AND ".join(parts), tuple(values)

    def _check_selection(self) -> None:
        """UsageError where a name that was asked for is not there."""
        for asked, column, table in (
            (self.selection.model, "model", "windows"),
            (self.selection.device, "device", "batches"),
        ):
            if (
                not asked
                or self.all(
                    f"SELECT 1 FROM {table} WHERE {column} = ? LIMIT 1", (asked,)
                ).fetchone()
            ):
                continue
            names = self.all(
                f"SELECT DISTINCT {column} FROM {table} ORDER BY 1 LIMIT 11"
            ).fetchall()
            there = ", ".join(printable(name) for (name,) in names[:10]) + (
                " …" if len(names) > 10 else ""
            )
            raise UsageError(f"no {column} {asked} there; there are: {there or 'none yet'}")

    def _span(self) -> tuple[int, int]:
        ends: list[int] = []
        for table, time, model in (
            ("windows", "end_ns", "x.model"),
            ("events", "time_ns", "x.model"),
            ("samples", "time_ns", ""),
            ("predictions", "time_ns", "x.model"),
        ):
            where, values = self.where(f"x.{time}", model)
            low, high = self.all(
                f"SELECT min(x.{time}), max(x.{time}) FROM {table} AS x"
                f" JOIN batches AS b ON b.id = x.batch WHERE {where}",
                values,
            ).fetchone()
            ends += [end for end in (low, high) if end is not None]
        if not ends:
            return 0, 0
        return max(min(ends), self.selection.since_ns), max(ends)


def points(of: dict[int, Any]) -> list[Point]:
    """By bucket."""
    return [Point(at, finite(of[at])) for at in sorted(of)]


def finite(value: object) -> float | None:
    """A number that can be drawn."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None
