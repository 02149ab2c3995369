"""Whatever goes in comes out equal, bit by bit."""

from __future__ import annotations

import math
import random
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon import wire
from edgemon.records import Batch, Column, Value
from tests.wire.batches import INT64_MAX, INT64_MIN, batches, column, f32, make_batch
from tests.wire.canonical import canonical

LAYOUTS = ("columns", "plain")


def encodings(batch: Batch, encoder: wire.Encoder | None = None) -> list[str]:
    """The encoding of each column, as the body says."""
    import msgpack

    body, _ = (encoder or wire.Encoder()).body(batch)
    return [entry[2] for entry in msgpack.unpackb(body)["c"]]


def assert_returns(batch: Batch) -> None:
    for layout in LAYOUTS:
        decoded, skipped = wire.decode_report(wire.encode(batch, layout=layout))
        assert skipped == []
        assert canonical(decoded) == canonical(batch)


@settings(max_examples=300, deadline=None)
@given(batches())
def test_any_batch_comes_back_equal(batch: Batch) -> None:
    assert_returns(batch)


@settings(max_examples=60, deadline=None)
@given(st.lists(batches(), min_size=2, max_size=5))
def test_a_remembered_choice_never_changes_what_comes_back(several: list[Batch]) -> None:
    encoder = wire.Encoder()
    for batch in several:
        # The same names again and again, so that choices of other data are remembered.
        renamed = [each._replace(name=f"c{k}") for k, each in enumerate(batch.columns)]
        batch = batch._replace(columns=renamed)
        assert canonical(wire.decode(encoder.encode(batch))) == canonical(batch)


SPECIAL: dict[str, list[Value]] = {
    "i8": [INT64_MIN, INT64_MAX, 0, -1, 1, INT64_MAX, INT64_MIN],
    "f8": [
        0.0,
        -0.0,
        math.nan,
        math.inf,
        -math.inf,
        5e-324,
        -5e-324,
        1.7976931348623157e308,
        0.1,
        2.0**53 + 2,
    ],
    "f4": [
        0.0,
        -0.0,
        math.nan,
        math.inf,
        -math.inf,
        2.0**-149,
        f32(3.4e38),
        f32(0.1),
        f32(-73.967),
    ],
    "str": ["", "é", "日本語", "🙂", "\0", "\ufeffbom", "a" * 70000, "0", "00"],
    "bin": [b"", b"\0", bytes(range(256)), b"a" * 70000],
    "v8:2": [[0.0, -0.0], [math.nan, math.inf], [0.25, 0.75], [1e300, -1e300]],
    "v4:2": [[0.5, 0.5], [f32(0.1), f32(0.9)], [math.nan, -math.inf]],
    "vi:3": [[INT64_MIN, 0, INT64_MAX], [1, 2, 3]],
    "v8:0": [[], []],
    "vi:0": [[]],
}


@pytest.mark.parametrize("type_", sorted(SPECIAL))
@pytest.mark.parametrize("repeat", [1, 40])
def test_special_values_come_back(type_: str, repeat: int) -> None:
    values = SPECIAL[type_]
    assert_returns(make_batch([column(type_, values * repeat)]))
    for value in values:
        assert_returns(make_batch([column(type_, [value] * repeat)]))
        assert_returns(make_batch([column(type_, [None, value, None] * repeat)]))


@pytest.mark.parametrize("type_", sorted(SPECIAL))
def test_a_column_of_nothing_but_nulls_comes_back(type_: str) -> None:
    assert_returns(make_batch([column(type_, [None] * 17)]))


@pytest.mark.parametrize("type_", sorted(SPECIAL))
def test_no_rows_come_back(type_: str) -> None:
    assert_returns(make_batch([column(type_, [])]))
    assert_returns(make_batch([], 0))
    assert_returns(make_batch([], 5))


def _noise(rng: random.Random) -> float:
    return rng.gauss(0, 1)


def _streams() -> dict[str, tuple[str, str, list[Value]]]:
    """name -> (expected encoding, type, 500 values)."""
    rng = random.Random(5)
    n = 500
    confidences = []
    for _ in range(n):
        weights = [math.exp(rng.gauss(0, 3)) for _ in range(4)]
        confidences.append([weight / sum(weights) for weight in weights])
    patched: list[Value] = [round(rng.gauss(20, 3), 2) for _ in range(n)]
    patched[7], patched[100], patched[300] = math.nan, -0.0, rng.random()
    few = [rng.random() for _ in range(9)]
    return {
        "one value": ("c", "f8", [0.3] * n),
        "a jittering clock": ("i", "i8", [k * 100_000 + rng.randrange(900) for k in range(n)]),
        "two decimals": ("d", "f8", [round(rng.gauss(20, 3), 2) for _ in range(n)]),
        "two decimals with a few that are none": ("d", "f8", patched),
        "computed decimals": ("d", "f8", [rng.randrange(1000, 3000) * 0.001 for _ in range(n)]),
        "decimals of float32": ("d", "f8", [f32(round(rng.gauss(20, 3), 2)) for _ in range(n)]),
        "multiples of 2^-30": ("d", "f8", [rng.randrange(2**20) / 2**30 for _ in range(n)]),
        "noise of both signs": ("g", "f8", [_noise(rng) for _ in range(n)]),
        "noise of one sign": ("g", "f8", [rng.expovariate(1) for _ in range(n)]),
        "noise of float32": ("g", "f8", [f32(_noise(rng)) for _ in range(n)]),
        "noise as f4": ("g", "f4", [f32(_noise(rng)) for _ in range(n)]),
        "few different floats": ("u", "f8", [rng.choice(few) for _ in range(n)]),
        "confidences": ("q", "v8:4", list(confidences)),
        "confidences of float32": ("q", "v4:4", [[f32(p) for p in row] for row in confidences]),
        "two classes": ("q", "v8:2", [[p, 1 - p] for p in (rng.random() for _ in range(n))]),
        "few words": ("u", "str", [rng.choice(["cat", "dog", "bird"]) for _ in range(n)]),
        "counted ids": ("n", "str", [f"img-{70_000 + k}" for k in range(n)]),
        "padded ids": ("n", "str", [f"img-{95 + k:06d}" for k in range(n)]),
        "hexadecimal ids": (
            "x",
            "str",
            [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(n)],
        ),
        "odd hexadecimal ids": ("x", "str", [f"{rng.getrandbits(60):015x}" for _ in range(n)]),
        "sentences": (
            "s",
            "str",
            [
                " ".join(rng.choices(["we", "all", "went", "down", "to", "sea"], k=9))
                for _ in range(n)
            ],
        ),
        "byte strings": ("s", "bin", [rng.randbytes(rng.randrange(20)) for _ in range(n)]),
    }


@pytest.mark.parametrize("name", sorted(_streams()))
def test_a_typical_column_gets_its_encoding_and_comes_back(name: str) -> None:
    expected, type_, values = _streams()[name]
    batch = make_batch([column(type_, values)])
    assert encodings(batch) == [expected]
    assert_returns(batch)
    # With nulls, and in a batch that must fall back from the choice remembered of this one.
    sparse: list[Value] = [None if k % 3 == 0 else value for k, value in enumerate(values)]
    assert_returns(make_batch([column(type_, sparse)]))
    encoder = wire.Encoder()
    encoder.encode(batch)
    others: dict[str, Value] = {"str": "ünrelated", "bin": b"\xff", "i8": INT64_MIN}
    other = [math.inf] * int(type_[3:]) if type_[0] == "v" else others.get(type_, math.pi)
    fallen = make_batch(
        [column(type_, [*values[:200], other, *values[:2]] if type_ != "f4" else values[::-1])]
    )
    assert canonical(wire.decode(encoder.encode(fallen))) == canonical(fallen)


def test_equal_null_bitmaps_are_stored_once() -> None:
    import msgpack

    values: list[Value] = [None, 1.5, 2.5, None, 3.5]
    body, _ = wire.Encoder().body(
        make_batch([column("f8", values, "a"), column("f8", values, "b")])
    )
    (*_, first), (*_, second) = msgpack.unpackb(body)["c"]
    assert first == second


def test_a_choice_is_kept_for_sixteen_batches_and_then_made_anew() -> None:
    rng = random.Random(1)
    noise = make_batch([column("f8", [rng.gauss(0, 1) for _ in range(200)])])
    decimals = make_batch([column("f8", [round(rng.gauss(0, 1), 2) for _ in range(200)])])
    encoder = wire.Encoder()
    assert encodings(noise, encoder) == ["g"]
    assert [encodings(decimals, encoder)[0] for _ in range(17)] == ["g"] * 15 + ["d", "d"]


def test_choices_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgemon.wire import encoder as module

    monkeypatch.setattr(module, "MAX_CHOICES", 10)
    encoder = wire.Encoder()
    for k in range(50):
        encoder.encode(make_batch([column("i8", [1, 2, 5], f"c{k}")]))
    assert len(encoder._choices) <= 10


@settings(max_examples=100, deadline=None)
@given(batches(), st.sampled_from(LAYOUTS))
def test_f32_rounds_measurements_and_nothing_else(batch: Batch, layout: str) -> None:
    decoded = wire.decode(wire.encode(batch, layout=layout, precision="f32"))
    rounded = []
    for name, type_, values in batch.columns:
        narrow = type_.replace("v8:", "v4:") if type_ != "f8" else "f4"
        if batch.kind in ("pred", "sys") and narrow != type_:
            values = [_rounded(value) for value in values]
            type_ = narrow
        rounded.append(Column(name, type_, values))
    assert canonical(decoded) == canonical(batch._replace(columns=rounded))


def _rounded(value: Value) -> Value:
    if isinstance(value, list):
        return [f32(element) for element in value]
    return f32(value) if isinstance(value, float) else value


def test_lone_surrogates_become_question_marks() -> None:
    for layout in LAYOUTS:
        batch = make_batch([column("str", ["a\ud800b", "ok", "\udfff"])])._replace(device="d\ud800")
        decoded = wire.decode(wire.encode(batch, layout=layout))
        assert decoded.columns[0].values == ["a?b", "ok", "?"]
        assert decoded.device == "d?"


BAD: list[tuple[type[Exception], Batch]] = [
    (ValueError, make_batch([column("f8", [1.0])], kind="predictions")),
    (ValueError, make_batch([column("f8", [1.0]), column("f8", [1.0, 2.0], "y")])),
    (ValueError, make_batch([column("f16", [1.0])])),
    (ValueError, make_batch([column("v8:2", [[1.0]])])),
    (ValueError, make_batch([column("f8", [1.0])])._replace(stream=b"short")),
    (ValueError, make_batch([], 2**21)),
    (TypeError, make_batch([column("f8", ["text"])])),
    (TypeError, make_batch([column("f8", [True])])),
    (TypeError, make_batch([column("i8", [1.5])])),
    (TypeError, make_batch([column("str", [b"bytes"])])),
    (TypeError, make_batch([column("v8:2", [3.0])])),
    (OverflowError, make_batch([column("i8", [2**63])])),
]


@pytest.mark.parametrize(("error", "batch"), BAD)
def test_what_is_no_batch_is_its_makers_fault(error: type[Exception], batch: Batch) -> None:
    for layout in LAYOUTS:
        with pytest.raises(error):
            wire.encode(batch, layout=layout)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="layout"):
        wire.Encoder(layout="rows")
    with pytest.raises(ValueError, match="precision"):
        wire.Encoder(precision="f16")
