"""Rows become typed columns, come back equal, and never exceed what was promised of their size."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon import wire
from edgemon.records import Row, Value
from edgemon.wire import numbers, scheme, text
from tests.wire import batches
from tests.wire.batches import batch_of_rows, f32, make_batch


def types(*cells: Value) -> dict[str, list[Value]]:
    """type -> values of the columns made of these cells of one name."""
    columns = wire.columns_from_rows([{"x": cell} for cell in cells])
    assert {column.name for column in columns} <= {"x"}
    return {column.type: column.values for column in columns}


def test_ints_stay_ints_when_all_are() -> None:
    assert types(1, None, -(2**63)) == {"i8": [1, None, -(2**63)]}


def test_ints_among_floats_become_floats() -> None:
    assert types(1, 2.5) == {"f8": [1.0, 2.5]}
    assert type(types(1, 2.5)["f8"][0]) is float


def test_an_int_that_is_no_float_keeps_its_own_column() -> None:
    assert types(2**53 + 1, 2.5, 3) == {"i8": [2**53 + 1, None, None], "f8": [None, 2.5, 3.0]}


def test_an_int_beyond_int64_becomes_a_float() -> None:
    assert types(2**70, 3) == {"f8": [2.0**70, 3.0]}
    assert types(10**400, -(10**400)) == {"f8": [math.inf, -math.inf]}


def test_numbers_and_text_are_alternatives() -> None:
    assert types(1.5, "a", b"b", None) == {
        "f8": [1.5, None, None, None],
        "str": [None, "a", None, None],
        "bin": [None, None, b"b", None],
    }


def test_vectors_have_a_column_a_length() -> None:
    assert types([0.1, 0.2], [0.1, 0.2, 0.3], []) == {
        "v8:2": [[0.1, 0.2], None, None],
        "v8:3": [None, [0.1, 0.2, 0.3], None],
        "v4:0": [None, None, []],
    }


def test_vectors_of_ints_stay_ints() -> None:
    assert types([1, 2], [3, 2**63 - 1]) == {"vi:2": [[1, 2], [3, 2**63 - 1]]}
    assert types([1, 2], [3, 0.1]) == {"vi:2": [[1, 2], None], "v8:2": [None, [3.0, 0.1]]}


def test_vectors_of_float32_are_narrow() -> None:
    assert list(types([f32(0.1), 1e30, math.nan, math.inf], [1, 2.5, 3, 4])) == ["v8:4"]
    assert list(types([f32(0.1), f32(1e30), math.nan, math.inf], [1, 2.5, 3, 4])) == ["v4:4"]
    assert list(types([1e300, 0.5])) == ["v8:2"]


def test_columns_are_in_the_order_of_their_names_first_cell() -> None:
    rows: list[Row] = [{"b": None, "a": 1}, {"b": 2, "c": 3}]
    assert [column.name for column in wire.columns_from_rows(rows)] == ["a", "b", "c"]


@pytest.mark.parametrize("cell", [True, {"a": 1}, (1.0, 2.0), [True], ["a"], [None], object()])
def test_what_no_column_can_hold_is_a_type_error(cell: object) -> None:
    with pytest.raises(TypeError, match="x"):
        wire.columns_from_rows([{"x": cell}])  # type: ignore[dict-item]


@settings(max_examples=300, deadline=None)
@given(batches.rows)
def test_rows_come_back_equal_without_what_was_none(rows: list[Row]) -> None:
    decoded = wire.decode(wire.encode(batch_of_rows(rows)))
    back = wire.rows_from_columns(decoded)
    assert len(back) == len(rows)
    for row, expected in zip(back, rows, strict=True):
        for name, value in expected.items():
            assert _same(row.pop(name, None), value), name
        assert row == {}


def _same(got: Value, want: Value) -> bool:
    if isinstance(want, list):
        if not all(type(element) is int and -(2**63) <= element < 2**63 for element in want):
            want = [float(element) for element in want]
        return isinstance(got, list) and len(got) == len(want) and all(map(_same, got, want))
    if isinstance(want, float) and math.isnan(want):
        return isinstance(got, float) and math.isnan(got)
    if isinstance(want, int) and isinstance(got, float):
        # Beyond int64 an int becomes the nearest float.
        return got == want or (abs(want) >= 2**63 and got == float(want))
    if isinstance(want, float):
        return (
            isinstance(got, float)
            and got == want
            and math.copysign(1, got) == math.copysign(1, want)
        )
    return got == want


def body_bytes(rows: list[Row], layout: str) -> int:
    return len(wire.Encoder(layout=layout).body(batch_of_rows(rows))[0])


def bound_of(rows: list[Row], layout: str) -> int:
    batch = make_batch([], 0)
    bound = wire.BodyBound(batch.device, batch.fleet, batch.resource, layout)
    for row in rows:
        assert bound.try_add(row, max_bytes=10**9, max_columns=10**6)
    return bound.bytes()


def test_a_row_that_would_pass_a_limit_leaves_the_bound_as_it_was() -> None:
    bound = wire.BodyBound("dev", "fleet", {})
    assert bound.try_add({"a": 1.0}, max_bytes=10_000, max_columns=2)
    before = bound.bytes()
    assert not bound.try_add({"a": "x" * 20_000}, max_bytes=10_000, max_columns=2)
    assert not bound.try_add({"b": 1.0, "c": 2.0}, max_bytes=10_000, max_columns=2)
    assert bound.bytes() == before
    assert bound.try_add({"b": 1.0}, max_bytes=10_000, max_columns=2)


@settings(max_examples=300, deadline=None)
@given(batches.rows, st.integers(1, 60), st.sampled_from(["columns", "plain"]))
def test_no_body_is_larger_than_its_bound(rows: list[Row], times: int, layout: str) -> None:
    many = rows * times
    assert body_bytes(many, layout) <= bound_of(many, layout)


@pytest.mark.parametrize("layout", ["columns", "plain"])
def test_the_bound_holds_for_wide_sparse_and_long(layout: str) -> None:
    wide: list[Row] = [{f"name-{k}": k * 0.37 for k in range(300)}]
    sparse: list[Row] = [{f"name-{k % 90}": f"text {k}" * (k % 5)} for k in range(900)]
    long: list[Row] = [{"id": "x" * 70_000}, {"id": "y"}, {"id": "1"}, {"id": "9" * 18}]
    vectors: list[Row] = [{"output": [k * 0.1] * (k % 40)} for k in range(80)]
    for rows in (wide, sparse, long, vectors):
        assert body_bytes(rows, layout) <= bound_of(rows, layout)


def test_a_thousand_usual_rows_fit_a_batch_by_their_bound() -> None:
    rows: list[Row] = [
        {"t": k * 100_003, "model": "fraud", "version": "1", "id": f"p-{k}", "output": math.sin(k),
         "latency": math.cos(k), "w": 1.0, "f:a": math.sqrt(k), "f:b": 1 / (k + 1)}
        for k in range(1000)
    ]  # fmt: skip
    # A thousand of them fit the default batch.max_bytes, so it is max_rows that closes the batch.
    assert bound_of(rows, "columns") < 112 * 1024


def test_a_recipe_that_would_make_more_bytes_than_its_items_does_not_fit() -> None:
    stream = struct.pack("<6d", *(math.sin(k) * 10.0**k for k in range(6)))
    assert numbers.apply((scheme.UNIT_SUM, 2, 8, scheme.RAW, 8), stream, False) is None
    assert text.apply((scheme.NUMBERED,), ["1", "2", "4"] * 9 + ["9" * 18]) is None


def test_a_row_is_bounded_by_its_cells() -> None:
    assert wire.bound_row_bytes({}) == 0
    assert wire.bound_row_bytes({"a": None}) == 0
    assert wire.bound_row_bytes({"a": 1.5, "b": "é", "c": [1.0, 2.0]}) == 9 + 7 + 23
