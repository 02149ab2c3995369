"""Whatever is in a body, the answer is a batch, a skipped column, or one clear DamagedError."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgemon import wire
from edgemon.errors import DamagedError, UnsupportedError
from edgemon.records import Batch
from edgemon.wire import scheme
from tests.wire import golden
from tests.wire.batches import column, make_batch
from tests.wire.bodies import Body, changed, frame_of

BATCH = make_batch(
    [
        column("f8", [0.25, None, 0.5, 0.75], "decimals"),
        column("i8", [1, 5, 9, 100], "ints"),
        column("str", ["a-1", "a-2", "a-7", "a-9"], "ids"),
    ]
)
# Every encoding in one body, to be damaged.
RICH = wire.Encoder().body(golden.BATCHES["pred"]())[0]


def attempt(body: object) -> None:
    """Decode; only DamagedError may come out."""
    with contextlib.suppress(DamagedError):
        wire.decode_report(frame_of(body))


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(RICH) - 1), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_changed_bytes_anywhere_raise_nothing_else(changes: list[tuple[int, int]]) -> None:
    body = bytearray(RICH)
    for place, byte in changes:
        body[place] = byte
    attempt(bytes(body))


# The descriptions of columns are in front: that is where a change does most.
@settings(max_examples=1500, deadline=None)
@given(st.lists(st.tuples(st.integers(150, 1100), st.integers(0, 255)), min_size=1, max_size=3))
def test_changed_descriptions_raise_nothing_else(changes: list[tuple[int, int]]) -> None:
    body = bytearray(RICH)
    for place, byte in changes:
        body[place] = byte
    attempt(bytes(body))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(RICH) - 1))
def test_a_body_cut_short_is_damaged(length: int) -> None:
    with pytest.raises(DamagedError):
        wire.decode(frame_of(RICH[:length]))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x91" * 5000)
@example(b"\xdd\x00\x0f\xff\xff" * 2000)
@example(b"\x81\xa2em\xd6\xff\x00\x00\x00\x00")
def test_arbitrary_bodies_raise_nothing_else(body: bytes) -> None:
    attempt(body)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=8,
)


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from([*scheme.SCALAR_TYPES, "v8:2", "v4:1", "vi:3", "v8:0", "v8:9999999", "f2"]),
    st.sampled_from([*"cidrguqsnxa", "z"]),
    json_like,
    json_like,
    json_like,
)
def test_arbitrary_parameters_raise_nothing_else(
    type_: str, enc: str, params: Any, bins: Any, nulls: Any
) -> None:
    def change(body: Body) -> None:
        body["c"] = [["x", type_, enc, params, bins, nulls]]
        body["d"] = [b"", b"\0", b"\1\2\3\4", bytes(32)]

    with contextlib.suppress(DamagedError):
        wire.decode(changed(BATCH, change))


def test_every_word_of_every_description_may_be_nonsense() -> None:
    nonsense: list[Any] = [
        None,
        True,
        -1,
        0,
        7,
        2**31,
        2**63,
        -(2**63),
        2**64 - 1,
        0.5,
        "",
        "u",
        b"",
        b"xx",
        [],
        [[]],
        {},
    ]
    original = msgpack.unpackb(RICH)
    tried = 0
    for word in _words(original["c"]):
        for other in nonsense:
            body = msgpack.unpackb(RICH)
            *path, last = word
            place = body["c"]
            for step in path:
                place = place[step]
            place[last] = other
            attempt(body)
            tried += 1
    assert tried > 2000


def _words(value: Any, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    if not isinstance(value, list):
        return [path]
    inner = [word for k, element in enumerate(value) for word in _words(element, (*path, k))]
    return [path, *inner] if path else inner


def test_every_bin_may_be_shorter_or_longer() -> None:
    count = len(msgpack.unpackb(RICH)["d"])
    refused = 0
    for k in range(count):
        for change in (lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""):
            body = msgpack.unpackb(RICH)
            body["d"][k] = change(body["d"][k])
            if body["d"][k] == msgpack.unpackb(RICH)["d"][k]:
                continue
            with pytest.raises(DamagedError):
                wire.decode(frame_of(body))
            refused += 1
    assert refused > count


def _column(*parts: object) -> Any:
    return lambda body: body.update(c=[list(parts)])


MALFORMED: dict[str, Any] = {
    "no version": lambda body: body.pop("em"),
    "version 0": lambda body: body.update(em=0),
    "version as text": lambda body: body.update(em="1"),
    "req is no list": lambda body: body.update(req="all"),
    "no columns": lambda body: body.pop("c"),
    "no clock error": lambda body: body.pop("clk"),
    "clock error as text": lambda body: body.update(clk="1"),
    "negative seq": lambda body: body.update(seq=-1),
    "seq as flag": lambda body: body.update(seq=True),
    "kind as bytes": lambda body: body.update(k=b"pred"),
    "short stream": lambda body: body.update(stream=b"x"),
    "negative rows": lambda body: body.update(n=-1),
    "too many rows": lambda body: body.update(n=scheme.MAX_ROWS + 1),
    "resource with a number": lambda body: body.update(r={"a": 1}),
    "bins that are none": lambda body: body.update(d=["text"]),
    "a column that is none": lambda body: body.update(c=[1]),
    "a column without parameters": _column("x", "f8", "c"),
    "a column with a number for a name": _column(1, "f8", "c", [1.0]),
    "more rows than a constant bitmap says": lambda body: body.update(n=400),
    "too many items": lambda body: body.update(n=2**20, c=[["x", "v8:9", "c", [1.0]]]),
    "a bin that is not there": _column("x", "f8", "r", [], [99]),
    "a negative bin": _column("x", "f8", "r", [], [-1]),
    "no bin": _column("x", "f8", "r", [], []),
    "a bitmap that is not there": _column("x", "f8", "c", [1.0], [], 99),
    "a text constant among floats": _column("x", "f8", "c", ["1"]),
    "a float constant among ints": _column("x", "i8", "c", [1.5]),
    "a constant too large": _column("x", "i8", "c", [2**63]),
    "a constant of nothing": _column("x", "str", "c", [None]),
    "two constants": _column("x", "i8", "c", [1, 2]),
    "plain values too few": _column("x", "f8", "a", [1.0]),
    "plain values of another type": _column("x", "f8", "a", [1.0, "a", 1.0, 1.0]),
    "plain int too large": _column("x", "i8", "a", [1, 2, 3, 2**63]),
    "plain vectors of another length": _column("x", "v8:2", "a", [[1.0]] * 4),
    "a divisor of nothing": _column("x", "f8", "d", [0, 8, [0, 0, 0, 1, 0]], [0]),
    "a step of nothing": _column("x", "i8", "i", [0, 0, 0, 0, 0], [0]),
    "a dictionary of a dictionary": _column("x", "i8", "u", [1, "u", [], []], [0, 0]),
    "a dictionary of too many": _column("x", "i8", "u", [2**40, "c", [1], []], [0, 0]),
    "numbered strings without end": lambda body: body.update(
        n=2**20, c=[["x", "str", "n", ["p" * 1000, 0, [0, 0, 0, 1, 0]], [0]]], d=[b""]
    ),
    "templates without end": lambda body: body.update(
        n=2**20, c=[["x", "str", "x", ["p" * 1000], [0]]], d=[b""]
    ),
}


@pytest.mark.parametrize("what", sorted(MALFORMED))
def test_malformed(what: str) -> None:
    with pytest.raises(DamagedError) as raised:
        wire.decode(changed(BATCH, MALFORMED[what]))
    assert not isinstance(raised.value, UnsupportedError)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 200


def test_the_damaged_column_is_named() -> None:
    def change(body: Body) -> None:
        body["c"][1][3] = ["nonsense"]

    with pytest.raises(DamagedError, match="'ints'"):
        wire.decode(changed(BATCH, change))


def test_a_newer_format_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="format 2"):
        wire.decode(changed(BATCH, lambda body: body.update(em=2)))


def test_an_unknown_requirement_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="encryption"):
        wire.decode(changed(BATCH, lambda body: body.update(req=["encryption"])))
    assert wire.decode(changed(BATCH, lambda body: body.update(req=[]))) == BATCH


def test_an_unknown_kind_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="trace"):
        wire.decode(changed(BATCH, lambda body: body.update(k="trace")))


def test_unknown_keys_and_further_elements_are_ignored() -> None:
    def change(body: Body) -> None:
        body["new"] = {"anything": [1, msgpack.ExtType(5, b"x")]}
        body["c"][0] += ["future"]

    assert wire.decode_report(changed(BATCH, change)) == (BATCH, [])


@pytest.mark.parametrize(("place", "value"), [(2, "pco"), (1, "decimal128"), (1, "v8:x")])
def test_a_column_of_an_unknown_encoding_or_type_is_skipped_and_named(
    place: int, value: str
) -> None:
    def change(body: Body) -> None:
        body["c"][1][place] = value

    batch, skipped = wire.decode_report(changed(BATCH, change))
    assert skipped == ["ints"]
    assert batch == BATCH._replace(columns=[BATCH.columns[0], BATCH.columns[2]])
    assert wire.decode(changed(BATCH, change)) == batch


def test_many_random_batches_of_noise_raise_nothing_else() -> None:
    rng = random.Random(3)
    batch: Batch = golden.BATCHES["extremes"]()
    body = wire.Encoder().body(batch)[0]
    for _ in range(2000):
        damaged = bytearray(body)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        attempt(bytes(damaged))
