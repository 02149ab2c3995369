"""Plain values that flow from the socket to the store. No behaviour beyond what they say of themselves.

They are NamedTuples and not dataclasses: importing `dataclasses` costs the agent 1.3 MB of memory.
"""

from __future__ import annotations

from edgemon.typed import NamedTuple

# A batch holds rows of one kind. The order is the priority: the first leaves first, the last is evicted first.
KINDS = ("event", "agg", "sys", "pred")

Number = float | int
# What one cell of a batch column can hold. A list is a vector: all floats (f8) or all ints (i8).
Value = int | float | str | bytes | list[float] | list[int] | None
# One row of an open batch: column name -> value. Absent and None are the same.
Row = dict[str, Value]


# A cell of rows that come together, until they join a batch: when each happened. Then it is `t`.
MONO_NS = "mono_ns"


class Rows(NamedTuple):
    """n rows that come together, by column. same: what all have.  cells: name -> a value of each row, or None."""

    n: int
    same: Row
    cells: dict[str, list[Value]]

    def part(self, start: int, end: int) -> Rows:
        """Rows start to end - 1."""
        cells = {name: values[start:end] for name, values in self.cells.items()}
        return Rows(end - start, self.same, cells)

    def one_by_one(self) -> list[Row]:
        """As rows of their own."""
        rows = [dict(self.same) for _ in range(self.n)]
        for name, values in self.cells.items():
            for row, value in zip(rows, values, strict=True):
                if value is not None:
                    row[name] = value
        return rows


class Prediction(NamedTuple):
    """One prediction as the application reported it.

    features: name -> number, text or None (missing); an unnamed list arrives as f0, f1, ….
    output: a number, a class name or a vector of confidences.  latency_s: seconds.
    ts: the application's own wall clock, seconds since 1970, or None.
    """

    model: str
    version: str
    features: dict[str, float | str | None]
    output: float | str | list[float] | None
    latency_s: float | None
    id: str | None
    ts: float | None


class Label(NamedTuple):
    """The truth about an earlier prediction, joined to it by id."""

    model: str
    version: str
    id: str
    label: float | str
    ts: float | None


class Failure(NamedTuple):
    """A prediction that did not come about, as the application says. error: what failed, e.g. "timeout"."""

    model: str
    version: str
    error: str
    id: str | None
    ts: float | None


class Metric(NamedTuple):
    """A number that the application wants kept as a series."""

    name: str
    value: float
    step: int | None
    ts: float | None


class AckRequest(NamedTuple):
    """`{"ack": token, "level": …}`: answer once all before it is in memory, or on disk."""

    token: int | str
    level: str  # "memory" | "disk"


class Event(NamedTuple):
    """Something that a person may want to know, e.g. drift began.

    type: dotted lower case, e.g. ``drift.started``.  severity: "info" | "warning" | "alarm".
    data: what explains it; JSON-serialisable.
    """

    type: str
    severity: str
    message: str
    model: str = ""
    version: str = ""
    stream: str = ""
    data: dict[str, object] | None = None


class Column(NamedTuple):
    """One typed column of a batch: `values` has one entry a row, None where the row has none.

    type: "i8" int64 · "f8" float64 · "f4" float32 · "str" · "bin" bytes ·
    "v8:m" and "v4:m" vectors of m floats · "vi:m" vectors of m int64.
    Two columns of one name and different types are alternatives: at most one is set in a row.
    """

    name: str
    type: str
    values: list[Value]


class Batch(NamedTuple):
    """Rows of one kind, on their way. (device, stream, kind, seq) is the dedupe key everywhere.

    stream: 16 bytes, the id of the spool that numbered it.  seq: from 1, per (device, stream, kind).
    boot: 16 bytes.  wall_ns, mono_ns: the two clocks at one instant (t0, m0).
    clock_error_ms: estimated error of the wall clock, None = not synchronised.
    dropped: rows of this kind lost since the batch before.  resource: agent version, config hash, ….
    """

    kind: str
    seq: int
    device: str
    fleet: str
    stream: bytes
    boot: bytes
    wall_ns: int
    mono_ns: int
    clock_error_ms: float | None
    dropped: int
    resource: dict[str, str]
    rows: int
    columns: list[Column]
