"""What a report shows, read from the tables of edgemon/receive/schema.sql as plain values.

A database of a year and of a hundred devices gives the same amount as one of an hour: time is divided into
BUCKETS parts, whose rows SQLite joins, and each list has its most (MAX_*). What was left out is said in
`Report.left_out`. Of several devices of a model, rates add up, counts too; D and p95, p99 are the largest.
"""

from __future__ import annotations

import json
import math
import sqlite3
from typing import Any, NamedTuple

from edgemon.cli._terminal import printable
from edgemon.errors import DamagedError, StorageError, UsageError
from edgemon.report import performance, standing
from edgemon.report.performance import Performance
from edgemon.report.standing import Standing

BUCKETS = 200
MAX_MODELS = 16
MAX_STREAMS = 24  # of one model
MAX_EVENTS = 200
MAX_DEVICES = 6  # whose series are drawn
MAX_SERIES = 24  # of one device
MAX_GAPS = 100
MAX_FAULTS = 24  # of the data of a model
MAX_NAMES = 200  # of devices in the list
_LATEST_WINDOWS = 20  # that a histogram of now adds up
# Values of a window: numbers, or texts by category.
_COUNT = "coalesce(w.n, 0) + coalesce((SELECT sum(value) FROM json_each(w.categories)), 0)"
_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf}


class Selection(NamedTuple):
    """ "" and 0: all.  since_ns: wall clock."""

    model: str = ""
    device: str = ""
    since_ns: int = 0


class Point(NamedTuple):
    """One part of the time; None where nothing is known."""

    bucket: int
    value: float | None


class Stream(NamedTuple):
    """A stream of a model. drift: Points of D.  limit: Points of the D at which an alarm comes.  bad: share of
    values that were missing, NaN or of a wrong type.  hist: counts of now against the profile's bins.
    alarm: data of the latest drift.started event.  drifted: at the end.
    """

    name: str
    n: int
    missing: int
    nan: int
    infinite: int
    wrong_type: int
    mean: float | None
    low: float | None
    high: float | None
    drift: list[Point]
    limit: list[Point]
    bad: list[Point]
    drifted_buckets: list[int]
    drifted: bool
    hist: list[int]
    alarm: dict[str, Any] | None
    alarm_ns: int
    categories: dict[str, int]


class Model(NamedTuple):
    """A version of a model, all its devices together."""

    model: str
    version: str
    devices: int
    predictions: int
    first_ns: int
    last_ns: int
    rate: list[Point]
    p50: list[Point]
    p95: list[Point]
    p99: list[Point]
    streams: list[Stream]
    left_out: int
    performance: Performance
    faults: list[tuple[str, str, int]]  # of its data, on at the end: kind, stream, since
    past_faults: list[tuple[str, str]]  # those that are over


class Series(NamedTuple):
    """One series of a device or of an application."""

    device: str
    name: str
    mean: list[Point]
    high: list[Point]
    last: float | None


class Report(NamedTuple):
    """All of it. Times are wall-clock nanoseconds."""

    first_ns: int
    last_ns: int
    devices: list[tuple[str, str, int | None, int | None]]  # fleet, name, online, last seen
    device_count: int
    batches: int
    frame_bytes: int
    models: list[Model]
    series: list[Series]
    events: list[tuple[int, str, str, str, str, str, str, str]]
    event_count: int
    gaps: list[tuple[str, str, int, int, int]]
    gap_batches: int
    reported: list[tuple[str, str, str, int, int]]
    standing: list[Standing]
    left_out: list[str]

    def time_ns(self, bucket: float) -> float:
        """The middle of a bucket."""
        return self.first_ns + (bucket + 0.5) * self.width_ns

    @property
    def width_ns(self) -> float:
        """How long a bucket is."""
        return max(1.0, (self.last_ns - self.first_ns) / BUCKETS)


def read(path: str, selection: Selection) -> Report:
    """UsageError when it is no database of a receiver, StorageError when it cannot be read."""
    try:
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {error}") from None
    try:
        connection.execute("PRAGMA busy_timeout = 10000")
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


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


class _Reader:
    def __init__(self, connection: sqlite3.Connection, selection: Selection) -> None:
        self._all = connection.execute
        self._selection = selection
        self._left_out: list[str] = []
        self._first = self._width = 0

    def report(self) -> Report:
        first, last = self._span()
        # At least a nanosecond, so that one single row has its bucket too.
        self._first, self._width = first, max(1, (last - first) // BUCKETS + 1)
        self._check_selection()
        devices = self._devices()
        where, values = self._where("b.wall_ns", "")
        batches, frame_bytes = self._all(
            f"SELECT count(*), coalesce(sum(frame_bytes), 0) FROM batches AS b WHERE {where}",
            values,
        ).fetchone()
        events, event_count = self._events()
        gaps, gap_batches = self._gaps()
        models = self._models()
        series = self._series()
        return Report(
            first, first + self._width * BUCKETS, devices[:MAX_NAMES], len(devices), batches, frame_bytes,
            models, series, events, event_count, gaps, gap_batches, self._reported(),
            standing.read(self._all, *self._where("e.time_ns", "e.model")), self._left_out,
        )  # fmt: skip

    def _where(self, time: str, model: str) -> tuple[str, tuple[object, ...]]:
        """Conditions of the selection on `time` and, where there is one, the column `model`."""
        parts, values = ["1"], []
        if self._selection.device:
            parts.append("b.device = ?")
            values.append(self._selection.device)
        if self._selection.model and model:
            parts.append(f"{model} = ?")
            values.append(self._selection.model)
        if self._selection.since_ns:
            parts.append(f"{time} >= {self._selection.since_ns:d}")
        return " AND ".join(parts), tuple(values)

    def _check_selection(self) -> None:
        """UsageError where a name that was asked for is not there."""
        for asked, column, table in (
            (self._selection.model, "model", "windows"),
            (self._selection.device, "device", "batches"),
        ):
            if (
                not asked
                or self._all(
                    f"SELECT 1 FROM {table} WHERE {column} = ? LIMIT 1", (asked,)
                ).fetchone()
            ):
                continue
            names = self._all(
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
            where, values = self._where(f"x.{time}", model)
            low, high = self._all(
                f"SELECT min(x.{time}), max(x.{time}) FROM {table} AS x"
                f" JOIN batches AS b ON b.id = x.batch WHERE {where}",
                values,
            ).fetchone()
            ends += [end for end in (low, high) if end is not None]
        if not ends:
            return 0, 0
        return max(min(ends), self._selection.since_ns), max(ends)

    def _devices(self) -> list[tuple[str, str, int | None, int | None]]:
        where, values = self._where("b.received_ns", "")
        found = self._all(
            "SELECT b.fleet, b.device, d.online, coalesce(d.last_seen_ns, max(b.received_ns))"
            " FROM batches AS b LEFT JOIN devices AS d ON d.fleet = b.fleet AND d.device = b.device"
            f" WHERE {where} GROUP BY b.fleet, b.device ORDER BY b.fleet, b.device",
            values,
        ).fetchall()
        if len(found) > MAX_NAMES:
            self._left_out.append(f"{len(found) - MAX_NAMES} devices of the list")
        return found

    # -- models

    def _models(self) -> list[Model]:
        where, values = self._where("w.end_ns", "w.model")
        found = self._all(
            "SELECT w.model, w.version, count(DISTINCT b.device),"
            " sum(CASE WHEN w.stream = '' THEN w.n END), min(w.end_ns), max(w.end_ns), max(w.drifted)"
            f" FROM windows AS w JOIN batches AS b ON b.id = w.batch WHERE {where}"
            " GROUP BY w.model, w.version ORDER BY 7 DESC, 4 DESC, 1, 2",
            values,
        ).fetchall()
        if len(found) > MAX_MODELS:
            self._left_out.append(
                f"{len(found) - MAX_MODELS} versions of models, those that did not drift and had the fewest"
                " predictions (--model NAME chooses one)"
            )
        return [self._model(*row[:6]) for row in found[:MAX_MODELS]]

    def _model(
        self, model: str, version: str, devices: int, predictions: int | None, first: int, last: int
    ) -> Model:
        where, values = self._where("w.end_ns", "")
        where = f"w.model = ? AND w.version = ? AND {where}"
        values = (model, version, *values)
        joined = f"FROM windows AS w JOIN batches AS b ON b.id = w.batch WHERE {where}"
        bucket = f"(w.end_ns - {self._first}) / {self._width}"
        rates: dict[int, float] = {}
        for at, n, ns in self._all(
            f"SELECT {bucket}, sum(w.n), sum(w.end_ns - w.start_ns) {joined} AND w.stream = ''"
            " AND w.start_ns IS NOT NULL GROUP BY 1, b.device",
            values,
        ):
            if ns:
                rates[at] = rates.get(at, 0.0) + 1e9 * (n or 0) / ns
        latency = self._all(
            f"SELECT {bucket}, sum(w.n * w.p50) / sum(w.n), max(w.p95), max(w.p99) {joined}"
            " AND w.stream = 'latency' AND w.n > 0 GROUP BY 1",
            values,
        ).fetchall()
        streams = self._streams(joined, values, bucket, self._alarms(model, version))
        left_out = max(0, len(streams) - MAX_STREAMS)
        if left_out:
            self._left_out.append(
                f"{left_out} streams of {model} {version}, those furthest from an alarm"
            )
        p50, p95, p99 = (self._points({row[0]: row[i] for row in latency}) for i in (1, 2, 3))
        detailed = [self._with_details(stream, model, version) for stream in streams[:MAX_STREAMS]]
        return Model(
            model, version, devices, predictions or 0, first, last,
            self._points(rates), p50, p95, p99, detailed, left_out,
            performance.read(self._all, joined, values, bucket, self._told(model, version)),
            *self._faults(model, version),
        )  # fmt: skip

    def _faults(
        self, model: str, version: str
    ) -> tuple[list[tuple[str, str, int]], list[tuple[str, str]]]:
        """Faults of the data that were told and did not end, device by device, the latest first; and those that did."""
        where, values = self._where("e.time_ns", "")
        over: dict[tuple[str, str], None] = {}
        on: dict[tuple[object, str, str], int] = {}
        for device, type_, stream, kind, at in self._all(
            "SELECT b.device, e.type, coalesce(e.stream, ''), json_extract(e.data, '$.kind'), e.time_ns"
            " FROM events AS e JOIN batches AS b ON b.id = e.batch WHERE e.type LIKE 'quality.%'"
            " AND json_valid(e.data) AND json_extract(e.data, '$.added') IS NULL"
            f" AND e.model = ? AND e.version = ? AND {where} ORDER BY e.time_ns",
            (model, version, *values),
        ):
            if type_ == "quality.recovered":
                on.pop((device, str(kind), stream), None)
                over[str(kind), stream] = None
            else:
                on.setdefault((device, str(kind), stream), at)
        first: dict[tuple[str, str], int] = {}
        for (_, kind, stream), at in on.items():
            first[kind, stream] = min(at, first.get((kind, stream), at))
        now = sorted(((*which, at) for which, at in first.items()), key=lambda one: -one[2])
        return now[:MAX_FAULTS], [one for one in over if one not in first][:MAX_FAULTS]

    def _told(self, model: str, version: str) -> dict[str, int]:
        """Event type -> when it was told last of this version."""
        where, values = self._where("e.time_ns", "")
        return dict(
            self._all(
                "SELECT e.type, max(e.time_ns) FROM events AS e JOIN batches AS b ON b.id = e.batch"
                f" WHERE e.type LIKE 'performance.%' AND e.model = ? AND e.version = ? AND {where} GROUP BY 1",
                (model, version, *values),
            ).fetchall()
        )

    def _alarms(self, model: str, version: str) -> dict[str, dict[str, int]]:
        """Stream -> when an alarm was last started and cleared."""
        where, values = self._where("e.time_ns", "")
        found: dict[str, dict[str, int]] = {}
        for stream, kind, at in self._all(
            "SELECT e.stream, e.type, max(e.time_ns) FROM events AS e JOIN batches AS b ON b.id = e.batch"
            " WHERE e.type IN ('drift.started', 'drift.cleared') AND e.model = ? AND e.version = ?"
            f" AND {where} GROUP BY 1, 2",
            (model, version, *values),
        ):
            found.setdefault(stream, {})[kind] = at
        return found

    def _streams(
        self,
        joined: str,
        values: tuple[object, ...],
        bucket: str,
        alarms: dict[str, dict[str, int]],
    ) -> list[Stream]:
        """Without details; drifted ones first, then by their largest D."""
        full = dict(
            self._all(f"SELECT w.stream, max(w.ks_n) {joined} GROUP BY 1", values).fetchall()
        )
        found: dict[str, dict[int, list[Any]]] = {}
        totals = self._all(
            f"SELECT w.stream, sum({_COUNT}),"
            " sum(w.missing), sum(w.nan),"
            " sum(coalesce(w.pinf, 0) + coalesce(w.ninf, 0)), sum(w.wrong_type),"
            f" sum(w.n * w.mean) / sum(w.n), min(w.min), max(w.max) {joined} AND w.stream NOT IN ('', 'truth')"
            " GROUP BY 1",
            values,
        ).fetchall()
        # Before a detector's window is full its D says nothing: those rows give counts alone.
        for stream, at, ks_n, d, limit, drifted, n, bad in self._all(
            f"SELECT w.stream, {bucket}, w.ks_n, max(w.d),"
            " max(CASE WHEN w.ks_h > 0 THEN w.ks_threshold * w.d / w.ks_h END), max(w.drifted),"
            f" sum({_COUNT}), sum(coalesce(w.missing, 0) + coalesce(w.nan, 0) + coalesce(w.wrong_type, 0))"
            f" {joined} AND w.stream NOT IN ('', 'truth') GROUP BY 1, 2, 3",
            values,
        ):
            known = found.setdefault(stream, {}).setdefault(at, [None, None, 0, 0, 0])
            if ks_n is not None and ks_n == full.get(stream):
                known[0] = max(known[0] or 0.0, d or 0.0)
                known[1] = max(known[1] or 0.0, limit) if limit is not None else known[1]
            known[2] = max(known[2], drifted or 0)
            known[3] += n or 0
            known[4] += bad or 0
        streams = []
        for name, n, missing, nan, infinite, wrong, mean, low, high in totals:
            parts = found.get(name, {})
            drifted_buckets = sorted(at for at, part in parts.items() if part[2])
            drifted = bool(parts and parts[max(parts)][2])
            # Windows of texts do not say whether their alarm is on: events do.
            told = alarms.get(name, {}) if name not in full or full[name] is None else {}
            if started := told.get("drift.started"):
                drifted_buckets = [(started - self._first) // self._width]
                drifted = started > told.get("drift.cleared", 0)
            bad = {at: part[4] / max(1, part[3] + part[4]) for at, part in parts.items()}
            streams.append(
                Stream(
                    name=name,
                    n=n or 0,
                    missing=missing or 0,
                    nan=nan or 0,
                    infinite=infinite or 0,
                    wrong_type=wrong or 0,
                    mean=mean,
                    low=low,
                    high=high,
                    drift=self._points({at: part[0] for at, part in parts.items()}),
                    limit=self._points({at: part[1] for at, part in parts.items()}),
                    bad=self._points(bad),
                    drifted_buckets=drifted_buckets,
                    drifted=drifted,
                    hist=[],
                    alarm=None,
                    alarm_ns=0,
                    categories={},
                )
            )
        return sorted(
            streams,
            key=lambda stream: (
                not stream.drifted,
                not stream.drifted_buckets,
                -max((point.value or 0.0 for point in stream.drift), default=0.0),
                stream.name,
            ),
        )

    def _with_details(self, stream: Stream, model: str, version: str) -> Stream:
        where, values = self._where("w.end_ns", "")
        key = (model, stream.name, version, *values)
        hist: list[int] = []
        profile = None
        categories: dict[str, int] = {}
        for text, of, cats in self._all(
            "SELECT w.hist, w.profile, w.categories FROM windows AS w JOIN batches AS b ON b.id = w.batch"
            f" WHERE w.model = ? AND w.stream = ? AND w.version = ? AND {where}"
            f" ORDER BY w.end_ns DESC LIMIT {_LATEST_WINDOWS}",
            key,
        ):
            counts = json.loads(text) if text else None
            profile = profile or of
            if counts and of == profile and len(counts) == len(hist or counts):
                hist = [a + b for a, b in zip(hist or [0] * len(counts), counts, strict=True)]
            for name, count in (json.loads(cats) if cats else {}).items():
                categories[name] = categories.get(name, 0) + int(count)
        where, values = self._where("e.time_ns", "")
        alarm = self._all(
            "SELECT e.data, e.time_ns FROM events AS e JOIN batches AS b ON b.id = e.batch"
            " WHERE e.type = 'drift.started' AND e.model = ? AND e.stream = ? AND e.version = ?"
            f" AND {where} ORDER BY e.time_ns DESC LIMIT 1",
            (model, stream.name, version, *values),
        ).fetchone()
        data = json.loads(alarm[0]) if alarm and alarm[0] else None
        return stream._replace(
            hist=hist,
            alarm=data if isinstance(data, dict) else None,
            alarm_ns=alarm[1] if alarm else 0,
            categories=categories,
        )

    def _points(self, of: dict[int, Any]) -> list[Point]:
        return [Point(at, _finite(of[at])) for at in sorted(of)]

    # -- the rest

    def _series(self) -> list[Series]:
        where, values = self._where("s.time_ns", "")
        found: dict[tuple[str, str], list[tuple[int, Any, Any]]] = {}
        devices: set[str] = set()
        left: set[str] = set()
        for device, name, at, mean, high in self._all(
            f"SELECT b.device, s.name, (s.time_ns - {self._first}) / {self._width},"
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
            self._left_out.append(f"{len(left)} series of devices (--device NAME chooses one)")
        return [
            Series(
                device, name,
                self._points({at: mean for at, mean, _ in rows}),
                self._points({at: high for at, _, high in rows}),
                _finite(rows[-1][1]),
            )
            for (device, name), rows in found.items()
        ]  # fmt: skip

    def _events(self) -> tuple[list[tuple[int, str, str, str, str, str, str, str]], int]:
        where, values = self._where("e.time_ns", "e.model")
        joined = f"FROM events AS e JOIN batches AS b ON b.id = e.batch WHERE {where}"
        count = self._all(f"SELECT count(*) {joined}", values).fetchone()[0]
        rows = self._all(
            f"SELECT e.time_ns, e.severity, e.type, b.device, e.model, e.version, e.stream, e.message {joined}"
            f" ORDER BY e.time_ns DESC LIMIT {MAX_EVENTS}",
            values,
        ).fetchall()
        if count > len(rows):
            self._left_out.append(f"{count - len(rows)} older events")
        return rows, count

    def _gaps(self) -> tuple[list[tuple[str, str, int, int, int]], int]:
        where = "WHERE device = ?" if self._selection.device else ""
        values = (self._selection.device,) if self._selection.device else ()
        ranges, total = self._all(
            f"SELECT count(*), coalesce(sum(batches), 0) FROM gaps {where}", values
        ).fetchone()
        rows = self._all(
            f"SELECT device, kind, from_seq, to_seq, batches FROM gaps {where} LIMIT {MAX_GAPS}",
            values,
        ).fetchall()
        if ranges > len(rows):
            self._left_out.append(f"{ranges - len(rows)} ranges of missing batches")
        return rows, total

    def _reported(self) -> list[tuple[str, str, str, int, int]]:
        where = "WHERE device = ?" if self._selection.device else ""
        values = (self._selection.device,) if self._selection.device else ()
        return self._all(
            "SELECT device, kind, reason, sum(to_seq - from_seq + 1), sum(rows) FROM reported_gaps"
            f" {where} GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT {MAX_GAPS}",
            values,
        ).fetchall()


def number(value: object) -> float | None:
    """A number of an event's data, where infinities are texts; None for what is none."""
    if isinstance(value, str):
        return _NOT_FINITE.get(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def _finite(value: object) -> float | None:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None
