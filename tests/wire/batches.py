"""Batches for tests: a maker, and Hypothesis strategies for rows of every shape."""

from __future__ import annotations

import math
import struct

from hypothesis import strategies as st

from edgemon.records import Batch, Column, Row, Value
from edgemon.wire import columns_from_rows

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def make_batch(
    columns: list[Column], rows: int | None = None, kind: str = "pred", seq: int = 1
) -> Batch:
    """rows: needed only where there is no column."""
    return Batch(
        kind=kind,
        seq=seq,
        device="camera-07",
        fleet="default",
        stream=bytes(range(16)),
        boot=bytes(range(16, 32)),
        wall_ns=1_790_000_000_123_456_789,
        mono_ns=86_412_345_678_901,
        clock_error_ms=2.5,
        dropped=3,
        resource={"agent": "0.1.0"},
        rows=len(columns[0].values) if rows is None else rows,
        columns=columns,
    )


def batch_of_rows(rows: list[Row], kind: str = "pred") -> Batch:
    return make_batch(columns_from_rows(rows), len(rows), kind)


def column(type_: str, values: list[Value], name: str = "x") -> Column:
    return Column(name, type_, values)


ints = st.one_of(
    st.integers(-200, 200),
    st.integers(INT64_MIN, INT64_MAX),
    st.sampled_from([INT64_MIN, INT64_MAX, 0, -1]),
)
# Every float64; decimals, as sensors give them; the same computed, a few units off; float32.
floats = st.one_of(
    st.floats(),
    st.builds(lambda a, digits: a / 10**digits, st.integers(-(10**9), 10**9), st.integers(0, 12)),
    st.builds(lambda a: a * 0.1, st.integers(-10000, 10000)),
    st.floats(width=32),
    st.sampled_from(
        [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 2.0**53]
    ),
)
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "a", "é", "日本", "🙂", "\0", "0", "00", "p-1", "p-2", "p-02"]),
    st.builds(lambda n: f"img-{n}", st.integers(0, 10**20)),
    st.builds(lambda n: f"{n:032x}", st.integers(0, 2**128 - 1)),
)
values: dict[str, st.SearchStrategy[Value]] = {
    "i8": ints,
    "f8": floats,
    "f4": st.floats(width=32),
    "str": texts,
    "bin": st.binary(max_size=12),
    "v8:2": st.lists(floats, min_size=2, max_size=2),
    "v4:3": st.lists(st.floats(width=32), min_size=3, max_size=3),
    "vi:2": st.lists(ints, min_size=2, max_size=2),
    "v8:0": st.just([]),
}


@st.composite
def columns(draw: st.DrawFn, rows: int, name: str) -> Column:
    """One column of any type; of few different values, of unrelated ones, or a repeated stretch."""
    type_ = draw(st.sampled_from(sorted(values)))
    cell: st.SearchStrategy[Value] = values[type_]
    if draw(st.booleans()):
        cell = st.sampled_from(draw(st.lists(cell, min_size=1, max_size=3)))
    if draw(st.booleans()):
        cell = st.one_of(st.none(), cell)
    short = draw(st.lists(cell, min_size=min(rows, 1), max_size=min(rows, 12)))
    return Column(name, type_, (short * (rows // max(1, len(short)) + 1))[:rows])


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    rows = draw(st.sampled_from([0, 1, 2, 7, 8, 9, 40, 100]))
    names = draw(st.lists(st.text(max_size=4), max_size=4, unique=True))
    kind = draw(st.sampled_from(["pred", "agg", "sys", "event"]))
    return make_batch([draw(columns(rows, name)) for name in names], rows, kind)


cells: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    floats,
    texts,
    st.binary(max_size=8),
    st.lists(floats, max_size=3),
    st.lists(ints, max_size=3),
    st.lists(st.one_of(ints, floats), max_size=2),
)
rows = st.lists(st.dictionaries(st.sampled_from(["t", "output", "f:a", "é"]), cells), max_size=20)


def f32(value: float) -> float:
    """Rounded to float32; what is too large becomes infinite."""
    try:
        single: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return single
