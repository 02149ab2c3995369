"""What a report shows of models and their streams, read from a receiver's windows and events."""

from __future__ import annotations

import json
from typing import Any

from edgemon.report import performance
from edgemon.report.figures import MAX_FAULTS, MAX_MODELS, MAX_STREAMS, Model, Stream
from edgemon.report.query import Query, points

_LATEST_WINDOWS = 20  # that a histogram of now adds up
# Values of a window: numbers, or texts by category.
_COUNT = "coalesce(w.n, 0) + coalesce((SELECT sum(value) FROM json_each(w.categories)), 0)"


class ModelReader:
    def __init__(self, query: Query) -> None:
        self._query = query

    def read(self) -> list[Model]:
        where, values = self._query.where("w.end_ns", "w.model")
        found = self._query.all(
            "SELECT w.model, w.version, count(DISTINCT b.device),"
            " sum(CASE WHEN w.stream = '' THEN w.n END), min(w.end_ns), max(w.end_ns), max(w.drifted)"
            f" FROM windows AS w JOIN batches AS b ON b.id = w.batch WHERE {where}"
            " GROUP BY w.model, w.version ORDER BY 7 DESC, 4 DESC, 1, 2",
            values,
        ).fetchall()
        if len(found) > MAX_MODELS:
            self._query.left_out.append(
                f"{len(found) - MAX_MODELS} versions of models, those that did not drift and had the fewest"
                " predictions (--model NAME chooses one)"
            )
        return [self._model(*row[:6]) for row in found[:MAX_MODELS]]

    def _model(
        self, model: str, version: str, devices: int, predictions: int | None, first: int, last: int
    ) -> Model:
        where, values = self._query.where("w.end_ns", "")
        where = f"w.model = ? AND w.version = ? AND {where}"
        values = (model, version, *values)
        joined = f"FROM windows AS w JOIN batches AS b ON b.id = w.batch WHERE {where}"
        bucket = self._query.bucket("w.end_ns")
        rates: dict[int, float] = {}
        for at, n, ns in self._query.all(
            f"SELECT {bucket}, sum(w.n), sum(w.end_ns - w.start_ns) {joined} AND w.stream = ''"
            " AND w.start_ns IS NOT NULL GROUP BY 1, b.device",
            values,
        ):
            if ns:
                rates[at] = rates.get(at, 0.0) + 1e9 * (n or 0) / ns
        latency = self._query.all(
            f"SELECT {bucket}, sum(w.n * w.p50) / sum(w.n), max(w.p95), max(w.p99) {joined}"
            " AND w.stream = 'latency' AND w.n > 0 GROUP BY 1",
            values,
        ).fetchall()
        streams = self._streams(joined, values, bucket, self._alarms(model, version))
        left_out = max(0, len(streams) - MAX_STREAMS)
        if left_out:
            self._query.left_out.append(
                f"{left_out} streams of {model} {version}, those furthest from an alarm"
            )
        p50, p95, p99 = (points({row[0]: row[i] for row in latency}) for i in (1, 2, 3))
        detailed = [self._with_details(stream, model, version) for stream in streams[:MAX_STREAMS]]
        return Model(
            model, version, devices, predictions or 0, first, last,
            points(rates), p50, p95, p99, detailed, left_out,
            performance.read(self._query.all, joined, values, bucket),
            *self._faults(model, version),
        )  # fmt: skip

    def _faults(
        self, model: str, version: str
    ) -> tuple[list[tuple[str, str, int]], list[tuple[str, str]]]:
        """Faults of the data that were told and did not end, device by device, the latest first; and those that did.
        With a version that was let go end those that it had."""
        where, values = self._query.where("e.time_ns", "")
        over: dict[tuple[str, str], None] = {}
        on: dict[tuple[object, str, str], int] = {}
        for device, type_, stream, kind, at in self._query.all(
            "SELECT b.device, e.type, coalesce(e.stream, ''), json_extract(e.data, '$.kind'), e.time_ns"
            " FROM events AS e JOIN batches AS b ON b.id = e.batch WHERE (e.type = 'model.retired' OR"
            " e.type LIKE 'quality.%' AND json_valid(e.data) AND json_extract(e.data, '$.added') IS NULL)"
            f" AND e.model = ? AND e.version = ? AND {where} ORDER BY e.time_ns",
            (model, version, *values),
        ):
            if type_ == "model.retired":
                gone = [which for which in on if which[0] == device]
            elif type_ == "quality.recovered":
                gone = [(device, str(kind), stream)]
            else:
                gone = []
                on.setdefault((device, str(kind), stream), at)
            for which in gone:
                on.pop(which, None)
                over[which[1:]] = None
        first: dict[tuple[str, str], int] = {}
        for (_, kind, stream), at in on.items():
            first[kind, stream] = min(at, first.get((kind, stream), at))
        now = sorted(((*which, at) for which, at in first.items()), key=lambda one: -one[2])
        return now[:MAX_FAULTS], [one for one in over if one not in first][:MAX_FAULTS]

    def _alarms(self, model: str, version: str) -> dict[str, dict[str, int]]:
        """Stream -> when an alarm was last started and cleared."""
        where, values = self._query.where("e.time_ns", "")
        found: dict[str, dict[str, int]] = {}
        for stream, kind, at in self._query.all(
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
            self._query.all(f"SELECT w.stream, max(w.ks_n) {joined} GROUP BY 1", values).fetchall()
        )
        found: dict[str, dict[int, list[Any]]] = {}
        totals = self._query.all(
            f"SELECT w.stream, sum({_COUNT}),"
            " sum(w.missing), sum(w.nan),"
            " sum(coalesce(w.pinf, 0) + coalesce(w.ninf, 0)), sum(w.wrong_type),"
            f" sum(w.n * w.mean) / sum(w.n), min(w.min), max(w.max) {joined} AND w.stream NOT IN ('', 'truth')"
            " GROUP BY 1",
            values,
        ).fetchall()
        # Before a detector's window is full its D says nothing: those rows give counts alone.
        for stream, at, ks_n, d, limit, drifted, n, bad in self._query.all(
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
                drifted_buckets = [(started - self._query.first_ns) // self._query.width_ns]
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
                    drift=points({at: part[0] for at, part in parts.items()}),
                    limit=points({at: part[1] for at, part in parts.items()}),
                    bad=points(bad),
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
        where, values = self._query.where("w.end_ns", "")
        key = (model, stream.name, version, *values)
        hist: list[int] = []
        profile = None
        categories: dict[str, int] = {}
        for text, of, cats in self._query.all(
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
        where, values = self._query.where("e.time_ns", "")
        alarm = self._query.all(
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
