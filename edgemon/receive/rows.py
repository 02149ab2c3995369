"""One batch -> rows of the receiver's tables. Pure; by column, which is faster than by row.

Every store gets the same rows in the same column order (`COLUMNS`). Rules, for all tables:

- `row` is the row's number inside its batch, from 0.
- `time_ns` is wall-clock ns since 1970: t0 of the batch plus the row's t.
- Alternative columns of one name on the wire (a number here, text there) merge, or become one
  column a type.
- A column that this version does not know goes to `extra`, a JSON object; it is never thrown away.
- JSON has no NaN and no infinity: inside JSON they are the strings "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring
from typing import NamedTuple, cast

from edgemon._core.sketch import QuantileSketch
from edgemon.errors import DamagedError
from edgemon.receive.presence import refuse_constant
from edgemon.records import Batch, Column, Value

COLUMNS: dict[str, tuple[str, ...]] = {
    "predictions": (
        "row", "time_ns", "model", "version", "prediction_id", "app_time_ns",
        "output_number", "output_text", "output_vector", "latency_s", "weight", "features", "extra",
    ),
    "labels": (
        "row", "time_ns", "model", "version", "prediction_id", "app_time_ns",
        "label_number", "label_text", "extra",
    ),
    "windows": (
        "row", "start_ns", "end_ns", "model", "version", "stream",
        "n", "missing", "nan", "pinf", "ninf", "wrong_type", "mean", "m2", "min", "max",
        "p50", "p95", "p99", "sketch", "profile", "hist",
        "d", "ks_n", "ks_h", "ks_threshold", "drifted", "categories", "extra",
    ),
    "samples": ("row", "time_ns", "name", "value", "step", "extra"),
    "events": (
        "row", "time_ns", "type", "severity", "model", "version", "stream", "message", "data",
        "extra",
    ),
}  # fmt: skip
# Columns whose text is JSON already.
JSON_COLUMNS = frozenset({"features", "output_vector", "hist", "categories", "data", "extra"})

_NUMBERS = ("f8", "i8", "f4")
_INT64_MAX = 2**63 - 1
_QUANTILES = (0.5, 0.95, 0.99)

Cells = Sequence[Value]


class TableRows(NamedTuple):
    """Rows of one table, as tuples in the order of `COLUMNS[table]`."""

    table: str
    rows: list[tuple[Value, ...]]


def tables(batch: Batch) -> list[TableRows]:
    """The rows of a batch; tables without a row are left out.

    Raises DamagedError when the batch decodes but cannot be stored: unknown kind, no time column,
    numbers that no database can hold.
    """
    for name in ("seq", "wall_ns", "mono_ns", "dropped"):
        number = getattr(batch, name)
        if not -_INT64_MAX <= number <= _INT64_MAX:
            raise DamagedError(f"{name} {number} is out of range")
    builder = _BUILDERS.get(batch.kind)
    if builder is None:
        raise DamagedError(f"unknown kind {batch.kind!r}")
    if batch.rows == 0:
        return []
    return [table for table in builder(_Columns(batch)) if table.rows]


class _Columns:
    """The columns of a batch, taken by name; what nobody takes is the row's extra."""

    def __init__(self, batch: Batch) -> None:
        self.rows = batch.rows
        self._wall_ns = batch.wall_ns
        self._left: dict[str, list[Column]] = {}
        for column in batch.columns:
            if len(column.values) != batch.rows:
                raise DamagedError(
                    f"column {column.name!r} has {len(column.values)} rows of {batch.rows}"
                )
            self._left.setdefault(column.name, []).append(column)

    def take(self, name: str, types: tuple[str, ...]) -> Cells | None:
        """Values of the alternatives of these types, merged; None when the batch has none."""
        columns = self._left.get(name)
        if columns is None:
            return None
        mine = [column for column in columns if column.type.partition(":")[0] in types]
        if not mine:
            return None
        rest = [column for column in columns if not any(column is other for other in mine)]
        if rest:
            self._left[name] = rest
        else:
            del self._left[name]
        merged = mine[0].values
        for column in mine[1:]:
            merged = [a if a is not None else b for a, b in zip(merged, column.values, strict=True)]
        return merged

    def get(self, name: str, types: tuple[str, ...], default: Value = None) -> Cells:
        """`take`, with missing cells and a missing column filled."""
        cells = self.take(name, types)
        if cells is None:
            return [default] * self.rows
        if default is not None and None in cells:
            return [default if cell is None else cell for cell in cells]
        return cells

    def text(self, name: str, default: str | None = None) -> Cells:
        return self.get(name, ("str",), default)

    def number(self, name: str) -> Cells:
        return self.get(name, _NUMBERS)

    def time_ns(self) -> list[int]:
        """Wall-clock ns of each row."""
        ticks = self.take("t", ("i8",))
        if ticks is None or None in ticks:
            raise DamagedError("a row has no time (column t)")
        base = self._wall_ns
        times = [base + 1000 * tick for tick in cast(Sequence[int], ticks)]
        if min(times) < -_INT64_MAX or max(times) > _INT64_MAX:
            raise DamagedError("a time is out of range (column t)")
        return times

    def scaled_ns(self, name: str) -> Cells:
        """A column of µs, as ns; values that do not fit are None."""
        cells = self.take(name, ("i8",))
        if cells is None:
            return [None] * self.rows
        limit = _INT64_MAX // 1000
        return [
            1000 * cell if isinstance(cell, int) and -limit <= cell <= limit else None
            for cell in cells
        ]

    def names(self) -> list[str]:
        return list(self._left)

    def extra(self) -> Cells:
        """What is left, one JSON object a row, None where a row has nothing."""
        if not self._left:
            return [None] * self.rows
        fragments = [
            _fragments(name, cells)
            for name in self.names()
            if (cells := self.take(name, (*_NUMBERS, "str", "bin", "v8", "v4", "vi"))) is not None
        ]
        return [joined if joined != "{}" else None for joined in _objects(fragments, self.rows)]


def _predictions(columns: _Columns) -> list[TableRows]:
    time_ns = columns.time_ns()
    model, version = columns.text("model", ""), columns.text("version", "")
    ids, app_time = columns.text("id"), columns.scaled_ns("ts")
    label_number, label_text = columns.take("label", _NUMBERS), columns.take("label", ("str",))
    number, text = columns.number("output"), columns.text("output")
    vector = columns.take("output", ("v8", "v4", "vi"))
    latency, weight = columns.number("latency"), columns.number("w")
    features = _features(columns)
    extra = columns.extra()
    number, text = _split_nan(number, text)
    vectors: Cells = [None] * columns.rows if vector is None else _json_lists(vector)
    rows = list(
        zip(
            range(columns.rows), time_ns, model, version, ids, app_time, number, text, vectors,
            latency, weight, features, extra, strict=True,
        )
    )  # fmt: skip
    if label_number is None and label_text is None:
        return [TableRows("predictions", rows)]
    numbers: Cells = label_number or [None] * columns.rows
    texts: Cells = label_text or [None] * columns.rows
    numbers, texts = _split_nan(numbers, texts)
    every = zip(
        range(columns.rows),
        time_ns,
        model,
        version,
        ids,
        app_time,
        numbers,
        texts,
        extra,
        strict=True,
    )
    labels = [row for row in every if row[6] is not None or row[7] is not None]
    # A truth row has no output; a row with both is a prediction whose truth was known at once.
    truth_only = {
        row[0] for row in labels if rows[row[0]][6] is rows[row[0]][7] is rows[row[0]][8] is None
    }
    return [
        TableRows("predictions", [row for row in rows if row[0] not in truth_only]),
        TableRows("labels", cast("list[tuple[Value, ...]]", labels)),
    ]


def _windows(columns: _Columns) -> list[TableRows]:
    end_ns = columns.time_ns()
    durations = columns.scaled_ns("dur")
    start_ns = [
        end - duration if isinstance(duration, int) else None
        for end, duration in zip(end_ns, durations, strict=True)
    ]
    sketches = columns.get("sketch", ("bin",))
    quantiles = zip(*(_quantiles(sketch) for sketch in sketches), strict=True)
    hist = columns.take("hist", ("vi", "v8"))
    categories = columns.take("cats", ("str",))
    parts: list[Iterable[Value]] = [range(columns.rows), start_ns, end_ns]
    parts += [columns.text("model", ""), columns.text("version", ""), columns.text("stream", "")]
    for name in ("n", "missing", "nan", "pinf", "ninf", "wrong_type", "mean", "m2", "min", "max"):
        parts.append(columns.number(name))
    parts += [*quantiles, sketches, columns.text("profile", "")]
    parts.append([None] * columns.rows if hist is None else _json_lists(hist))
    for name in ("d", "ks_n", "ks_h", "ks_threshold", "drifted"):
        parts.append(columns.number(name))
    parts.append([None] * columns.rows if categories is None else _valid_json(categories))
    parts.append(columns.extra())
    return [TableRows("windows", list(zip(*parts, strict=True)))]


def _samples(columns: _Columns) -> list[TableRows]:
    """Long rows (name, value) as they are.

    Wide rows (a column a series) unpivoted, one sample a set cell.
    """
    time_ns = columns.time_ns()
    rows: list[tuple[Value, ...]] = []
    names, values = columns.take("name", ("str",)), columns.number("value")
    steps = columns.number("step")
    if names is not None:
        own_times = columns.number("ts")
        for row, name in enumerate(names):
            if name is not None:
                own = own_times[row]
                told = None if own is None else json.dumps({"ts": own})
                rows.append((row, time_ns[row], name, values[row], steps[row], told))
    for name in columns.names():
        cells = columns.take(name, _NUMBERS)
        if cells is not None:
            rows += [
                (row, time, name, cell, None, None)
                for row, (time, cell) in enumerate(zip(time_ns, cells, strict=True))
                if cell is not None
            ]
    for row, extra in enumerate(columns.extra()):
        if extra is not None:
            rows.append((row, time_ns[row], "", None, None, extra))
    # Cells are (row, time, name, …): by row, then by name. The sort is stable and never compares
    # values.
    rows.sort(key=lambda cells: (cast(int, cells[0]), cast(str, cells[2])))
    return [TableRows("samples", rows)]


def _events(columns: _Columns) -> list[TableRows]:
    data = columns.take("data", ("str",))
    parts: list[Iterable[Value]] = [range(columns.rows), columns.time_ns()]
    for name in ("type", "severity", "model", "version", "stream", "message"):
        parts.append(columns.text(name, ""))
    parts.append([None] * columns.rows if data is None else _valid_json(data))
    parts.append(columns.extra())
    return [TableRows("events", list(zip(*parts, strict=True)))]


_BUILDERS = {"pred": _predictions, "agg": _windows, "sys": _samples, "event": _events}


def _split_nan(numbers: Cells, texts: Cells) -> tuple[Cells, Cells]:
    """SQL stores NaN as NULL, which would read as "no output": keep it as the text NaN."""
    if all(number is None or number == number for number in numbers):
        return numbers, texts
    return (
        [None if number != number else number for number in numbers],
        [
            "NaN" if number is not None and number != number else text
            for number, text in zip(numbers, texts, strict=True)
        ],
    )


def _features(columns: _Columns) -> Cells:
    """The columns "f:<name>", one JSON object a row; None when the batch has no features."""
    wires = [name for name in columns.names() if name.startswith("f:")]
    taken = [(name, columns.take(name, (*_NUMBERS, "str"))) for name in wires]
    features = [(name, cells) for name, cells in taken if cells is not None]
    if not features:
        return [None] * columns.rows
    if all(_all_finite(cells) for _, cells in features):
        # The usual case: numbers everywhere. One template a batch lets C format a row at once.
        keys = (encode_basestring(name[2:]).replace("%", "%%") for name, _ in features)
        template = "{" + ",".join(f"{key}:%r" for key in keys) + "}"
        return [template % row for row in zip(*(cells for _, cells in features), strict=True)]
    return _objects([_fragments(name[2:], cells) for name, cells in features], columns.rows)


def _all_finite(cells: Cells) -> bool:
    try:
        return all(map(math.isfinite, cast(Sequence[float], cells)))
    except TypeError:  # text, or a missing cell
        return False


def _fragments(name: str, cells: Cells) -> list[str | None]:
    """`"name":value` for each set cell."""
    key = encode_basestring(name) + ":"
    return [None if cell is None else key + json_text(cell) for cell in cells]


def _objects(fragments: list[list[str | None]], rows: int) -> list[str]:
    if not fragments:
        return ["{}"] * rows
    return ["{" + ",".join(filter(None, row)) + "}" for row in zip(*fragments, strict=True)]


def json_text(value: Value) -> str:
    """A cell as JSON; bytes as base64."""
    if isinstance(value, float):
        if math.isfinite(value):
            return repr(value)
        return '"NaN"' if value != value else '"Infinity"' if value > 0 else '"-Infinity"'
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, bytes):
        return '"' + b64encode(value).decode() + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return "null" if value is None else str(value)


def _json_lists(cells: Cells) -> list[Value]:
    return [None if cell is None else json_text(cell) for cell in cells]


def _valid_json(cells: Cells) -> list[Value]:
    """JSON that a device wrote, checked: a view over it must not fail because of one bad row."""
    return [None if cell is None else valid_json(cast(str, cell)) for cell in cells]


def valid_json(text: str) -> str:
    """`text` when it is JSON, else the JSON string that holds it."""
    try:
        json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return encode_basestring(text)
    return text


def _quantiles(sketch: Value) -> tuple[float | None, ...]:
    """p50, p95, p99 of a window's values; None without a sketch, or with one of a newer format."""
    if not isinstance(sketch, bytes):
        return (None,) * len(_QUANTILES)
    try:
        decoded = QuantileSketch.from_bytes(sketch)
    except ValueError:
        return (None,) * len(_QUANTILES)
    if decoded.count == 0:
        return (None,) * len(_QUANTILES)
    return tuple(decoded.quantile(q) for q in _QUANTILES)
