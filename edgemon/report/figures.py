"""What a report shows, as plain values.

A database of a year and of a hundred devices gives the same amount as one of an hour: time is divided into
BUCKETS parts, whose rows SQLite joins, and each list has its most (MAX_*). What was left out is said in
`Report.left_out`. Of several devices of a model, rates add up, counts too; D and p95, p99 are the largest.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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


def number(value: object) -> float | None:
    """A number of an event's data, where infinities are texts; None for what is none."""
    if isinstance(value, str):
        return _NOT_FINITE.get(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)
