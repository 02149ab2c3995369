"""What the client packs is what msgpack packs, byte for byte, and what the agent understands."""

from __future__ import annotations

import array
import collections
import decimal
import fractions
import math
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgemon._core.client import pack_prediction
from edgemon.ingest.protocol import Connection, Limits
from edgemon.metrics import Counters
from edgemon.records import Prediction

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
integers = st.integers(-(2**63), 2**64 - 1)
numbers = st.floats() | integers | st.booleans()
values = numbers | texts | st.none()
outputs = numbers | texts | st.none() | st.lists(numbers, min_size=1, max_size=40)
features = st.none() | st.dictionaries(names, values, max_size=40) | st.lists(values, max_size=40)
identifiers = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=256) | integers
seconds = st.none() | st.floats(allow_nan=False, allow_infinity=False) | integers


def compact(*fields: object) -> bytes:
    """[model, output, features, latency, id, ts, version] by msgpack itself."""
    kept = list(fields)
    while len(kept) > 2 and kept[-1] is None:
        kept.pop()
    packed: bytes = msgpack.packb(kept)
    return packed


@given(names, outputs, features, seconds, identifiers, seconds, identifiers)
@example("m", 1.0, dict.fromkeys([f"n{i}" for i in range(16)], 0.5), None, None, None, None)
@example("m", 1.0, [0.5] * 256, None, None, None, "")
@example("x" * 256, "y" * 60_000, None, 0, 2**63, 0.0, None)
def test_an_event_is_what_msgpack_makes_of_it(
    model: str, output: Any, row: Any, latency: Any, identifier: Any, ts: Any, version: Any
) -> None:
    # Seconds are always sent as a float.
    latency = None if latency is None else float(latency)
    ts = None if ts is None else float(ts)
    expected = compact(model, output, row, latency, identifier, ts, version)
    if len(expected) > 65536:
        with pytest.raises(ValueError, match="at most 65536 bytes"):
            pack_prediction(
                model, output, row, latency=latency, id=identifier, ts=ts, version=version
            )
        return
    packed = pack_prediction(
        model, output, row, latency=latency, id=identifier, ts=ts, version=version
    )
    assert packed == expected


@given(
    names,
    st.floats() | texts | st.lists(st.floats(), min_size=1, max_size=20),
    st.dictionaries(names, st.floats() | texts | st.none(), max_size=20),
)
def test_the_agent_understands_it(model: str, output: Any, row: dict[str, Any]) -> None:
    connection = Connection(Limits(), Counters())
    (record,) = connection.feed(
        pack_prediction(model, output, row, version=7, id="a", ts=1.5, latency=0.25)
    )
    assert isinstance(record, Prediction)
    assert repr(record) == repr(Prediction(model, "7", row, output, 0.25, "a", 1.5))
    assert connection.complaint is None


@pytest.mark.parametrize(
    "dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
)
@pytest.mark.parametrize("stride", [1, 2, -1])
def test_arrays_of_any_number_and_any_stride_are_features(dtype: str, stride: int) -> None:
    whole = np.array([0, 1, 2, 3, 100, 77]).astype(dtype)
    if dtype.startswith("f"):
        whole = (whole / 3).astype(dtype)
    elif dtype.startswith("i"):
        whole[1] = np.iinfo(dtype).min
    elif dtype.startswith("u"):
        whole[1] = np.iinfo(dtype).max
    row = whole[::stride]
    frame = msgpack.unpackb(pack_prediction("m", row, row))
    assert frame[1] == frame[2] == row.tolist()
    one = msgpack.unpackb(pack_prediction("m", row[:1], row.reshape(1, -1)))
    assert one[1] == row[0]  # an array of one number is a number
    assert one[2] == row.tolist()


def test_what_is_no_native_number_goes_by_way_of_python() -> None:
    swapped = np.array([1.5, 2.5], dtype=">f8")
    assert msgpack.unpackb(pack_prediction("m", 0, swapped))[2] == [1.5, 2.5]
    mixed = np.array([1.5, "DE", None], dtype=object)
    assert msgpack.unpackb(pack_prediction("m", 0, mixed))[2] == [1.5, "DE", None]
    words = np.array(["a", "bb"])
    assert msgpack.unpackb(pack_prediction("m", 0, words))[2] == ["a", "bb"]


class Tensor:
    """Of a library that shares its memory through numpy's protocol."""

    def __array__(self) -> Any:
        return np.array([0.25, 0.75], dtype=np.float32)


class Index:
    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((1, 2.5), [1, 2.5]),
        (array.array("f", [0.5, 1.5]), [0.5, 1.5]),
        (memoryview(b"\x01\x02"), [1, 2]),
        (Tensor(), [0.25, 0.75]),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.ChainMap({"a": 1}), {"a": 1}),
        ({"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True)}, {"a": 0.5, "b": 3, "c": 1}),
        ([decimal.Decimal("0.5"), fractions.Fraction(1, 4), Index()], [0.5, 0.25, 7]),
        ({"a": 10**30, "b": np.str_("x")}, {"a": 1e30, "b": "x"}),
        # A value that is none is missing; the others stay.
        (
            {"a": [1], "b": 10**400, "c": b"x", "d": 1j, "e": 5},
            {"a": None, "b": None, "c": None, "d": None, "e": 5},
        ),
    ],
)
def test_features_come_in_many_forms(row: Any, expected: Any) -> None:
    assert msgpack.unpackb(pack_prediction("m", 0, row))[2] == expected


def test_outputs_come_in_many_forms() -> None:
    def packed(output: Any) -> Any:
        return msgpack.unpackb(pack_prediction("m", output))[1]

    assert packed(np.float32(0.1)) == float(np.float32(0.1))
    assert packed(np.array(0.5)) == 0.5
    assert packed(np.array([[0.25, 0.75]])) == [0.25, 0.75]
    assert packed((np.float64(0.25), 1)) == [0.25, 1]
    assert packed(np.str_("cat")) == "cat"
    assert math.isnan(packed(float("nan")))
    assert packed(10**25) == 1e25


def test_a_dict_that_changes_while_it_is_packed_makes_no_broken_event() -> None:
    class Meddler:
        def __float__(self) -> float:
            row["late"] = 1.0
            return 0.5

    row: dict[str, Any] = {"a": 1.0, "b": Meddler(), "c": 2.0}
    assert msgpack.unpackb(pack_prediction("m", 0, row))[2] == {"a": 1.0, "b": 0.5, "c": 2.0}


def test_seconds_that_are_not_finite_are_left_out() -> None:
    assert msgpack.unpackb(pack_prediction("m", 0, latency=math.nan, ts=math.inf))[2:] == [
        None,
        None,
        None,
        None,
    ]


BAD: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((None, 1), {}),
    (("", 1), {}),
    (("x" * 257, 1), {}),
    (("\ud800", 1), {}),
    (("m", b"bytes"), {}),
    (("m", []), {}),
    (("m", [1.0] * 1025), {}),
    (("m", ["a"]), {}),
    (("m", {"a": 1}), {}),
    (("m", object()), {}),
    (("m", 10**400), {}),
    (("m", np.zeros((2, 2))), {}),
    (("m", np.zeros((1, 0))), {}),
    (("m", np.zeros(0)), {}),
    (("m", 1, "features"), {}),
    (("m", 1, b"features"), {}),
    (("m", 1, 5), {}),
    (("m", 1, {1: 2}), {}),
    (("m", 1, {"": 2}), {}),
    (("m", 1, {"x" * 257: 2}), {}),
    (("m", 1, {"a": "\udfff"}), {}),
    (("m", 1, np.zeros((2, 2))), {}),
    (("m", 1, np.zeros((1, 2, 2))), {}),
    (("m", 1), {"id": 1.5}),
    (("m", 1), {"id": True}),
    (("m", 1), {"id": "x" * 257}),
    (("m", 1), {"version": []}),
    (("m", 1), {"ts": "yesterday"}),
    (("m", 1), {"latency": True}),
]


@pytest.mark.parametrize(("arguments", "options"), BAD)
def test_what_the_protocol_does_not_allow_is_named(
    arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        pack_prediction(*arguments, **options)
