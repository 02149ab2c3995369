"""The one table of figures: what a rule can name, with unit and meaning. docs/rules.md is made from it.

To add a figure: a row here. Of a window, `take` reads it from the rows that the window gives (the `agg` vocabulary of
edgemon.wire); what is looked at from time to time is put under its name by the agent (edgemon/agent/rules.py).
"""

from __future__ import annotations

import math
import re

from edgemon.records import Row
from edgemon.rules.units import (
    ANY,
    BYTES,
    NUMBER,
    PER_SECOND,
    PERCENT,
    SECONDS,
    SHARE,
    Unit,
    unit_of_series,
)
from edgemon.std import json
from edgemon.std.collections.abc import Callable, Iterator
from edgemon.typed import NamedTuple

# Whose figure it is; a rule holds once for each of the finest that it names.
DEVICE, MODEL, VERSION, STREAM = "device", "model", "version", "stream"
SCOPES = (DEVICE, MODEL, VERSION, STREAM)
# When it has a new value: at a window's end, with a sample of the device, when it is reported, or when it is looked at.
WINDOW, SAMPLE, REPORT, LOOK = "window", "sample", "report", "look"

Take = Callable[[Row], float | None]


class Figure(NamedTuple):
    """One figure.

    of: the stream whose row it is taken from, "" for the model's own; a figure of scope STREAM is taken from each.
    """

    name: str
    unit: Unit
    scope: str
    source: str
    meaning: str
    take: Take | None = None
    of: str = ""


def _number(row: Row, column: str) -> float | None:
    value = row.get(column)
    return float(value) if isinstance(value, (int, float)) else None


def _column(column: str) -> Take:
    return lambda row: _number(row, column)


def _quantile(q: float) -> Take:
    def take(row: Row) -> float | None:
        from edgemon._core.sketch import (
            QuantileSketch,
        )  # the shipper reads the rules too, and has no windows

        sketch = row.get("sketch")
        if not isinstance(sketch, bytes):
            return None
        return QuantileSketch.from_bytes(sketch).quantile(q)

    return take


def _rate(row: Row) -> float | None:
    n, span_us = _number(row, "n"), _number(row, "dur")
    return n / (span_us / 1e6) if n is not None and span_us else None


def _count(column: str) -> Take:
    """A count that is absent where it is 0."""
    return lambda row: _number(row, column) or 0.0


def _failed_share(row: Row) -> float | None:
    failed = _number(row, "errors") or 0.0
    total = failed + (_number(row, "n") or 0.0)
    return failed / total if total else None


def _distance(row: Row) -> float | None:
    """None until the tested window is full: a few values are far from any profile."""
    return _number(row, "d") if _number(row, "ks_threshold") else None


def _reach(row: Row) -> float | None:
    h, threshold = _number(row, "ks_h"), _number(row, "ks_threshold")
    return h / threshold if h is not None and threshold else None


def _deviation(row: Row) -> float | None:
    n, m2 = _number(row, "n"), _number(row, "m2")
    return (m2 / n) ** 0.5 if n and m2 is not None else None


def _part(column: str) -> Take:
    """Of the predictions of the window."""

    def take(row: Row) -> float | None:
        n = _number(row, "n")
        return (_number(row, column) or 0.0) / n if n else None

    return take


def _score(name: str) -> Take:
    """Of the predictions that met their truth; see edgemon/performance/scores.py."""

    def take(row: Row) -> float | None:
        from edgemon.performance.scores import (  # who names none of them does not load it
            figures,
            merge,
        )

        value = figures(merge({}, row)).get(name)
        return float(value) if value is not None else None

    return take


def _estimated(row: Row) -> float | None:
    n, correct = _number(row, "est_n"), _number(row, "est_correct")
    return correct / n if n and correct is not None else None


_NO_NUMBER = ("nan", "pinf", "ninf", "wrong_type")


def _share_of(*columns: str) -> Take:
    """Of all values of the stream, missing ones too. Those beyond the normal are among the finite ones."""

    def take(row: Row) -> float | None:
        counts = {name: _number(row, name) or 0.0 for name in ("n", "missing", *_NO_NUMBER)}
        cats = row.get("cats")
        if isinstance(cats, str):  # text has no finite values: its categories are counted
            counts["n"] = float(sum(json.loads(cats).values()))
        total = sum(counts.values())
        return sum(_number(row, name) or 0.0 for name in columns) / total if total else None

    return take


# A table: rows stand as they read best.
# fmt: off
FIGURES: tuple[Figure, ...] = (
    Figure("drift.d", NUMBER, STREAM, WINDOW,
           "Distance D between the latest `drift.window` values and the profile, 0 to 1.", _distance),
    Figure("drift.ratio", NUMBER, STREAM, WINDOW,
           "The test's statistic over its threshold; above 1 there is drift.", _reach),
    Figure("drift.drifted", NUMBER, STREAM, WINDOW,
           "1 while the drift alarm is latched, else 0.", _column("drifted")),
    Figure("missing", SHARE, STREAM, WINDOW,
           "Share of predictions without the value.", _share_of("missing")),
    Figure("invalid", SHARE, STREAM, WINDOW,
           "Share of values that are NaN, infinite or of the wrong type.", _share_of(*_NO_NUMBER)),
    Figure("out_of_range", SHARE, STREAM, WINDOW,
           "Share of values beyond what is normal (quality.md).", _share_of("out_of_range")),
    Figure("new_category", SHARE, STREAM, WINDOW,
           "Share of texts that were not there before.", _share_of("new_category")),
    Figure("longest_run", NUMBER, STREAM, WINDOW,
           "Equal numbers in a row, 0 below 50.", _count("longest_run")),
    Figure("value.mean", NUMBER, STREAM, WINDOW, "Mean of the finite values.", _column("mean")),
    Figure("value.deviation", NUMBER, STREAM, WINDOW, "Their standard deviation.", _deviation),
    Figure("value.min", NUMBER, STREAM, WINDOW, "The smallest of them.", _column("min")),
    Figure("value.max", NUMBER, STREAM, WINDOW, "The largest of them.", _column("max")),
    Figure("value.p50", NUMBER, STREAM, WINDOW, "Their median, within 1 %.", _quantile(0.50)),
    Figure("value.p95", NUMBER, STREAM, WINDOW, "Their 95 % quantile, within 1 %.", _quantile(0.95)),
    Figure("value.p99", NUMBER, STREAM, WINDOW, "Their 99 % quantile, within 1 %.", _quantile(0.99)),
    Figure("latency.mean", SECONDS, VERSION, WINDOW,
           "Mean latency of the predictions.", _column("mean"), "latency"),
    Figure("latency.p50", SECONDS, VERSION, WINDOW,
           "Its median, within 1 %.", _quantile(0.50), "latency"),
    Figure("latency.p95", SECONDS, VERSION, WINDOW,
           "Its 95 % quantile, within 1 %.", _quantile(0.95), "latency"),
    Figure("latency.p99", SECONDS, VERSION, WINDOW,
           "Its 99 % quantile, within 1 %.", _quantile(0.99), "latency"),
    Figure("latency.max", SECONDS, VERSION, WINDOW,
           "The longest.", _column("max"), "latency"),
    Figure("rate", PER_SECOND, VERSION, WINDOW,
           "Predictions a second; 0 in a window without any.", _rate),
    Figure("errors", NUMBER, VERSION, WINDOW,
           "Predictions that failed, as the application said.", _count("errors")),
    Figure("errors.share", SHARE, VERSION, WINDOW,
           "Their share of all predictions.", _failed_share),
    Figure("features_changed", SHARE, VERSION, WINDOW,
           "Share of predictions that lack features.", _part("features_changed")),
    Figure("repeated", SHARE, VERSION, WINDOW,
           "Share of predictions that repeat the one before.", _part("repeated")),
    Figure("late", SHARE, VERSION, WINDOW,
           "Share of predictions whose own time is far behind the clock.", _part("late")),
    Figure("early", SHARE, VERSION, WINDOW,
           "Share of predictions whose own time is ahead of it.", _part("early")),
    Figure("out_of_order", SHARE, VERSION, WINDOW,
           "Share of predictions whose own time is before that of the one before.", _part("out_of_order")),
    Figure("truths", NUMBER, VERSION, WINDOW,
           "Predictions that met their truth.", _column("n"), "truth"),
    Figure("accuracy", SHARE, VERSION, WINDOW,
           "Share of them that was right.", _score("accuracy"), "truth"),
    Figure("accuracy.estimated", SHARE, VERSION, WINDOW,
           "Share of all that is right, estimated from calibrated confidences.", _estimated),
    Figure("brier", NUMBER, VERSION, WINDOW,
           "Brier score of the confidences of those.", _score("brier"), "truth"),
    Figure("ece", NUMBER, VERSION, WINDOW,
           "Expected calibration error of their confidences.", _score("ece"), "truth"),
    Figure("mae", NUMBER, VERSION, WINDOW,
           "Mean absolute error of a quantity.", _score("mae"), "truth"),
    Figure("rmse", NUMBER, VERSION, WINDOW,
           "Root of its mean squared error.", _score("rmse"), "truth"),
    Figure("bias", NUMBER, VERSION, WINDOW,
           "Mean of prediction minus truth.", _score("bias"), "truth"),
    Figure("silence", SECONDS, MODEL, LOOK,
           "Time since the model's last prediction, whatever its version."),
    Figure("clients", NUMBER, DEVICE, LOOK, "Applications that are connected."),
    Figure("ingest.errors", NUMBER, DEVICE, LOOK,
           "Events and values of applications that were refused or dropped in the last minute."),
    Figure("spool.fill", PERCENT, DEVICE, LOOK, "Used part of `spool.max_size`."),
    Figure("spool.bytes", BYTES, DEVICE, LOOK, "Size of the spool."),
    Figure("spool.waiting", NUMBER, DEVICE, LOOK, "Batches that are not acknowledged."),
    Figure("spool.oldest", SECONDS, DEVICE, LOOK, "Age of the oldest of them; 0 when there is none."),
    Figure("spool.drops", NUMBER, DEVICE, LOOK, "Rows that the spool lost in the last minute."),
    Figure("spool.failing", NUMBER, DEVICE, LOOK, "1 while the disk does not take writes, else 0."),
    Figure("agent.memory", BYTES, DEVICE, LOOK, "Resident memory of the agent."),
)
# fmt: on
BY_NAME = {figure.name: figure for figure in FIGURES}

SYSTEM, PLUGIN, METRIC = "system.", "plugin.", "metric."

# Series of the collectors, as docs/device.md has them; those with a * are as many as the device has.
SERIES = (
    "cpu_percent", "cpu_iowait_percent", "load_1m",
    "memory_available_bytes", "memory_used_percent", "swap_used_bytes", "swap_in_bytes_per_s",
    "swap_out_bytes_per_s", "oom_kills",
    "disk_free_bytes", "disk_used_percent", "disk_inodes_used_percent", "disk_read_bytes_per_s",
    "disk_written_bytes_per_s", "disk_busy_percent",
    "net_received_bytes_per_s", "net_sent_bytes_per_s", "net_errors_per_s",
    "temperature_*_celsius",
    "throttle_undervoltage", "throttle_frequency_capped", "throttle_throttled",
    "throttle_temperature_limit", "throttle_cooling_ratio", "throttle_gpu*",
    "gpu*_percent", "gpu*_memory_used_bytes", "gpu*_memory_used_percent",
    "power_*_watts", "battery*_percent", "battery*_watts",
    "mains_online",
    "process_memory_bytes.*", "process_cpu_percent.*",
)  # fmt: skip

_WILD = re.compile(r"[*?]")
# Plain numbers from 0 to 1.
_TO_ONE = frozenset({"drift.d", "drift.drifted", "ece", "spool.failing"})
_PROCESS_CPU = SYSTEM + "process_cpu_percent"  # 100 is one core


def find(name: str) -> Figure | None:
    """The figure of that name; None where there is none.

    A series of the device or a metric of an application may have * and ? in it: then each that matches is meant.
    """
    if name.startswith(METRIC) and len(name) > len(METRIC):
        return Figure(name, ANY, DEVICE, REPORT, "The latest value that an application reported.")
    if name.startswith(SYSTEM) and (series := name[len(SYSTEM) :]):
        known = [one for one in SERIES if may_be(series, one)]
        if not known:
            return None
        unit = unit_of_series(series)
        if unit is NUMBER and is_wild(series):
            unit = unit_of_series(known[0])
        return Figure(name, unit, DEVICE, SAMPLE, "A series of the device.")
    if name.startswith(PLUGIN) and (series := name[len(PLUGIN) :]):
        return Figure(name, unit_of_series(series), DEVICE, SAMPLE, "A series of a plugin.")
    return BY_NAME.get(name)


def bounds(figure: Figure) -> tuple[float, float]:
    """Between which two every value of it lies, as far as that is known of the figure.

    >>> bounds(BY_NAME["accuracy"]), bounds(BY_NAME["rate"])
    ((0.0, 1.0), (0.0, inf))
    """
    if figure.name in _TO_ONE or figure.unit is SHARE:
        return 0.0, 1.0
    if figure.unit is PERCENT and not figure.name.startswith((_PROCESS_CPU, PLUGIN)):
        return 0.0, 100.0
    return (0.0 if figure.unit is PER_SECOND else -math.inf), math.inf


def is_wild(name: str) -> bool:
    """Whether it stands for several."""
    return _WILD.search(name) is not None


def may_be(series: str, known: str) -> bool:
    """Whether a series, or a pattern of series, can be one of `known`, which may be a pattern too.

    >>> may_be("temperature_cpu_celsius", "temperature_*_celsius"), may_be("temperature_*", "temperature_*_celsius")
    (True, True)
    """
    if not is_wild(series):
        return re.fullmatch(re.escape(known).replace(r"\*", ".*"), series) is not None
    if not is_wild(known):
        return (
            re.fullmatch(re.escape(series).replace(r"\*", ".*").replace(r"\?", "."), known)
            is not None
        )
    ours, theirs = (_WILD.split(one)[0] for one in (series, known))
    return ours.startswith(theirs) or theirs.startswith(ours)


def names() -> list[str]:
    """All that can be named, patterns as such: for the nearest one to a misspelt name."""
    return [*BY_NAME, *(SYSTEM + one for one in SERIES)]


def rows() -> Iterator[tuple[str, str, str, str]]:
    """(name, unit, whose, meaning) of each, for people."""
    for figure in FIGURES:
        yield figure.name, figure.unit.name or "–", figure.scope, figure.meaning
    for series in SERIES:
        unit = unit_of_series(series).name or "–"
        yield SYSTEM + series, unit, DEVICE, "The series of that name (device.md)."
    yield PLUGIN + "SERIES", "by its name", DEVICE, "A series of a plugin (plugins.md)."
    yield METRIC + "NAME", "its own", DEVICE, "The latest value that applications reported of it."


def markdown() -> str:
    """The table of docs/rules.md."""
    lines = ["| figure | unit | of each | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {unit} | {scope} | {meaning} |" for name, unit, scope, meaning in rows()
    ]
    return "\n".join(lines) + "\n"
