"""The quantile sketch: its guaranteed error, its independence of order, its bytes."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgemon._core.sketch import QuantileSketch
from tests.core.oracle import lower_quantile

LARGEST = 1.7976931348623157e308
DENORMAL = 5e-324
QUANTILES = [0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0]
# Wide enough for every double, so that nothing collapses: 37,222 bins below 1 and 35,490 above.
WIDE = 65536
anything = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, LARGEST, -LARGEST, DENORMAL]),
    st.floats(allow_nan=False),
    st.floats(-100, 100),
)


def sketch_of(
    values: list[float], relative_error: float = 0.01, max_bins: int = 1024
) -> QuantileSketch:
    sketch = QuantileSketch(relative_error, max_bins)
    for x in values:
        sketch.push(x)
    return sketch


def assert_within(sketch: QuantileSketch, values: list[float], error: float) -> None:
    for q in QUANTILES:
        x, found = lower_quantile(values, q), sketch.quantile(q)
        if math.isinf(x):
            assert found == x
        else:
            assert abs(found - x) <= error * abs(x) * (1 + 1e-9) + DENORMAL, (q, x, found)


@pytest.mark.parametrize("relative_error", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("kind", ["normal", "lognormal", "uniform", "levels", "zeros", "constant"])
def test_every_quantile_is_within_the_relative_error(relative_error: float, kind: str) -> None:
    rng = random.Random(kind)
    draws: dict[str, Callable[[], float]] = {
        "normal": lambda: rng.gauss(0, 1),
        "lognormal": lambda: rng.lognormvariate(0, 2),
        "uniform": lambda: rng.uniform(50, 60),
        "levels": lambda: float(rng.randint(-3, 3)),
        "zeros": lambda: rng.choice([0.0] * 9 + [-0.0, rng.gauss(0, 1)]),
        "constant": lambda: -17.25,
    }
    draw = draws[kind]
    values = [draw() for _ in range(5000)]
    sketch = sketch_of(values, relative_error, 32768)
    assert not sketch.collapsed
    assert_within(sketch, values, relative_error)
    for q in range(0, 1001, 7):
        x = lower_quantile(values, q / 1000)
        assert abs(sketch.quantile(q / 1000) - x) <= relative_error * abs(x) * (1 + 1e-9)


@settings(max_examples=60)
@given(st.lists(anything, min_size=1, max_size=40))
@example([LARGEST, LARGEST / 1.5, -LARGEST, -LARGEST / 1.5])
@example([DENORMAL * i for i in range(1, 200)])
def test_the_error_holds_over_the_whole_range_of_doubles(values: list[float]) -> None:
    sketch = sketch_of(values, 0.02, WIDE)
    if not sketch.collapsed:
        assert_within(sketch, values, 0.02)


@settings(max_examples=200)
@given(st.lists(anything, min_size=1, max_size=60), st.sampled_from([16, 17, 33, 64]))
def test_collapse_harms_only_the_smallest_magnitudes_of_a_sign(
    values: list[float], max_bins: int
) -> None:
    sketch = sketch_of(values, 0.05, max_bins)
    room = (1.05 / 0.95) ** (max_bins // 2 - 1)
    negatives = [-x for x in values if -math.inf < x < 0]
    positives = [x for x in values if 0 < x < math.inf]
    for q in QUANTILES:
        x, found = lower_quantile(values, q), sketch.quantile(q)
        largest = max(negatives if x < 0 else positives, default=0.0)
        if math.isinf(x) or x == 0.0:
            assert found == x
        elif abs(x) * room >= largest:
            assert abs(found - x) <= 0.05 * abs(x) * (1 + 1e-9) + DENORMAL
        else:
            assert math.copysign(1, found) == math.copysign(1, x)
            assert abs(found) * room <= largest * (1.05 / 0.95) ** 2


def test_one_sign_has_all_bins_for_itself() -> None:
    values = [1.02**-i for i in range(950)]  # 8 decades, which 512 bins could not span
    for sign in (1.0, -1.0):
        signed = [sign * x for x in values]
        sketch = sketch_of(signed)
        assert not sketch.collapsed
        assert_within(sketch, signed, 0.01)
    both = sketch_of(values + [-x for x in values])
    assert both.collapsed
    mostly_positive = [*values, -5.0, 0.0, math.inf]
    assert_within(sketch_of(mostly_positive), mostly_positive, 0.01)


@settings(max_examples=300)
@given(
    st.lists(anything, max_size=40),
    st.lists(st.lists(anything, max_size=20), max_size=4),
    st.sampled_from([16, 17, 40, 1024]),
    st.randoms(use_true_random=False),
)
def test_state_depends_on_the_values_alone_and_not_on_order_or_merges(
    values: list[float], others: list[list[float]], max_bins: int, rng: random.Random
) -> None:
    parts = [values, *others]
    whole = [x for part in parts for x in part]
    rng.shuffle(whole)
    expected = sketch_of(whole, 0.03, max_bins).to_bytes()
    rng.shuffle(parts)
    forward = QuantileSketch(0.03, max_bins)
    for part in parts:
        forward.merge(sketch_of(part, 0.03, max_bins))
    assert forward.to_bytes() == expected
    backward = QuantileSketch(0.03, max_bins)
    for part in parts:
        joined = sketch_of(part, 0.03, max_bins)
        joined.merge(backward)
        backward = joined
    assert backward.to_bytes() == expected


def test_counts_of_specials_minimum_and_maximum_are_exact() -> None:
    sketch = sketch_of([0.0, -0.0, math.inf, -math.inf, -math.inf, 3.7, -2.2])
    assert (sketch.count, sketch.zeros, sketch.pinf, sketch.ninf) == (7, 2, 1, 2)
    assert (sketch.min, sketch.max) == (-2.2, 3.7)
    assert sketch.quantile(0.0) == -math.inf
    assert sketch.quantile(1.0) == math.inf
    assert sketch.quantile(2 / 6) == -2.2
    assert sketch.quantile(5 / 6) == 3.7


def test_an_empty_sketch_has_no_quantile() -> None:
    sketch = QuantileSketch()
    assert sketch.count == 0
    for value in (sketch.quantile(0.5), sketch.min, sketch.max):
        assert math.isnan(value)
    only_infinite = sketch_of([math.inf])
    assert only_infinite.quantile(0.5) == math.inf and math.isnan(only_infinite.min)
    only_infinite.reset()
    assert only_infinite.to_bytes() == sketch.to_bytes()


def test_reset_makes_it_as_new() -> None:
    values = [math.exp(i / 10) * (-1) ** i for i in range(-300, 300)]
    sketch = sketch_of(values, 0.01, 64)
    fresh = sketch.to_bytes()
    sketch.reset()
    for x in values:
        sketch.push(x)
    assert sketch.to_bytes() == fresh


def test_memory_is_as_stated_and_fixed() -> None:
    small, large = QuantileSketch(0.01, 16), QuantileSketch(0.01, 1024)
    assert large.memory_bytes - small.memory_bytes == 8 * (1024 - 16)
    assert small.memory_bytes <= 16 * 8 + 160
    before = large.memory_bytes
    for i in range(2000):
        large.push(math.exp(i - 1000) if i < 1700 else -float(i))
    assert large.memory_bytes == before


def test_nan_is_refused_and_changes_nothing() -> None:
    sketch = sketch_of([1.0])
    before = sketch.to_bytes()
    with pytest.raises(ValueError, match="NaN"):
        sketch.push(math.nan)
    with pytest.raises(ValueError, match="NaN"):
        sketch.push_many(array("d", [1.0, math.nan]))
    assert sketch.to_bytes() == before


def test_bool_and_text_are_no_numbers() -> None:
    for wrong in (True, "1", None):
        with pytest.raises(TypeError):
            QuantileSketch().push(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        QuantileSketch().push_many(array("f", [1.0]))


@given(st.lists(anything, max_size=60))
def test_push_many_is_push(values: list[float]) -> None:
    many = QuantileSketch()
    many.push_many(array("d", values))
    assert many.to_bytes() == sketch_of(values).to_bytes()


@pytest.mark.parametrize("scale", [1.0, 1e-320, 1e300])
def test_values_that_fall_into_known_bins_are_counted_together_as_one_by_one(scale: float) -> None:
    """Many that come again, with zeros, both signs, borders of bins and infinities among them."""
    rng = random.Random(4)
    gamma = 1.01 / 0.99
    pool = [0.0, -0.0, math.inf, -math.inf, DENORMAL, -LARGEST]
    pool += [gamma**k for k in range(-40, 40)] + [-(gamma**k) for k in range(0, 40, 7)]
    pool += [scale * rng.gauss(0.0, 1.0) for _ in range(400)]
    few = rng.sample(pool[6:], 30)
    values = rng.choices(pool, k=2_000) + rng.choices(few, k=2_000) + [0.0] * 40 + pool
    for max_bins in (1024, 64):
        many = QuantileSketch(0.01, max_bins)
        many.push_many(array("d", values))
        assert many.to_bytes() == sketch_of(values, 0.01, max_bins).to_bytes()


def test_impossible_settings_are_refused() -> None:
    for error in (0.0, -0.1, 0.6, math.nan):
        with pytest.raises(ValueError, match="relative_error must be"):
            QuantileSketch(error)
    for bins in (15, 65537, -1):
        with pytest.raises(ValueError, match="max_bins must be"):
            QuantileSketch(0.01, bins)
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="within 0 and 1"):
            QuantileSketch().quantile(q)
    with pytest.raises(ValueError, match="can be merged"):
        QuantileSketch(0.01).merge(QuantileSketch(0.02))
    with pytest.raises(ValueError, match="can be merged"):
        QuantileSketch(0.01, 64).merge(QuantileSketch(0.01, 128))


def test_merge_with_itself_doubles() -> None:
    sketch = sketch_of([1.0, 2.0, -3.0])
    sketch.merge(sketch)
    assert sketch.to_bytes() == sketch_of([1.0, 2.0, -3.0] * 2).to_bytes()


# --- bytes ------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.lists(anything, max_size=60), st.sampled_from([16, 17, 1024]))
def test_bytes_make_the_same_sketch_again(values: list[float], max_bins: int) -> None:
    sketch = sketch_of(values, 0.01, max_bins)
    again = QuantileSketch.from_bytes(sketch.to_bytes())
    assert again.to_bytes() == sketch.to_bytes()
    for q in QUANTILES:
        assert again.quantile(q) == sketch.quantile(q) or not values
    extra = sketch_of([1e-9, 5.0, -7.0, 1e9], 0.01, max_bins)
    again.merge(extra)
    sketch.merge(extra)
    assert again.to_bytes() == sketch.to_bytes()


def test_bytes_are_compact() -> None:
    rng = random.Random(1)
    latency = sketch_of([rng.lognormvariate(-3, 0.5) for _ in range(1000)])
    assert len(latency.to_bytes()) < 260
    assert len(QuantileSketch().to_bytes()) == 17
    assert len(sketch_of([0.5] * 100).to_bytes()) < 42


def test_golden_bytes_of_version_1() -> None:
    golden = (
        "01 04 7b14ae47e17a843f 8008 02 01 00"  # version, flags, error, bins, zeros, ninf, pinf
        " 00000000000000c0 0000000000000840"  # min -2.0, max 3.0
        " 01 46 01 01"  # negative: one run from bin 35, of one bin, which has one value
        " 02 00 01 01 36 01 02"  # positive: bin 0 has one; after a gap of 54, bin 55 has two
    )
    sketch = sketch_of([0.0, -0.0, -math.inf, -2.0, 1.0, 3.0, 3.0])
    assert sketch.to_bytes() == bytes.fromhex(golden)


SAMPLES = [
    sketch_of([]),
    sketch_of([0.0, math.inf]),
    sketch_of([1.0, 1.5, -2.0, 0.0, 1e-3, math.inf, -math.inf, 300.0] * 200),
    sketch_of([math.exp(i) * (-1) ** i for i in range(-300, 300)], 0.01, 16),
]


@pytest.mark.parametrize("sketch", SAMPLES)
def test_every_truncation_and_every_extension_is_refused(sketch: QuantileSketch) -> None:
    whole = sketch.to_bytes()
    for size in range(len(whole)):
        with pytest.raises(ValueError, match="sketch"):
            QuantileSketch.from_bytes(whole[:size])
    with pytest.raises(ValueError, match="damaged"):
        QuantileSketch.from_bytes(whole + b"\0")


@pytest.mark.parametrize("sketch", SAMPLES)
def test_a_flipped_bit_is_refused_or_makes_a_sketch_that_works(sketch: QuantileSketch) -> None:
    whole = sketch.to_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        use(damaged)


@settings(max_examples=500)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=60).map(lambda tail: SAMPLES[0].to_bytes()[:12] + tail),
        st.tuples(st.sampled_from(SAMPLES), st.data()).map(lambda pair: pair[0].to_bytes()),
    ),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
)
def test_arbitrary_bytes_never_do_harm(data: bytes, edits: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, byte in edits:
        if place < len(damaged):
            damaged[place] = byte
    use(damaged)


def use(data: bytearray) -> None:
    """Either ValueError, or a sketch whose every method works and that survives a round trip."""
    try:
        sketch = QuantileSketch.from_bytes(data)
    except ValueError:
        return
    for q in QUANTILES:
        assert not math.isnan(sketch.quantile(q)) or sketch.count == 0
    for x in (1e-300, 1e300, -1e-300, -1e300, 1.0, math.inf):
        sketch.push(x)
    assert QuantileSketch.from_bytes(sketch.to_bytes()).to_bytes() == sketch.to_bytes()


def test_other_versions_and_flags_are_refused() -> None:
    whole = bytearray(sketch_of([1.0]).to_bytes())
    for place, byte in ((0, 0), (0, 2), (1, 0x0C), (1, 0x00), (1, 0x06)):
        damaged = bytearray(whole)
        damaged[place] = byte
        with pytest.raises(ValueError, match="sketch"):
            QuantileSketch.from_bytes(damaged)


def test_numbers_not_in_their_shortest_form_are_refused() -> None:
    whole = SAMPLES[0].to_bytes()
    assert QuantileSketch.from_bytes(whole).count == 0
    with pytest.raises(ValueError, match="damaged"):
        QuantileSketch.from_bytes(whole[:12] + b"\x80\x00" + whole[13:])


def test_counts_that_add_up_beyond_the_limit_are_refused() -> None:
    head = SAMPLES[0].to_bytes()[:12]
    most = b"\xff" * 8 + b"\x7f"  # 2^63 - 1
    assert QuantileSketch.from_bytes(head + b"\0" + most + b"\0" + b"\0\0").ninf == 2**63 - 1
    with pytest.raises(ValueError, match="damaged"):
        QuantileSketch.from_bytes(head + b"\0" + most + most + b"\0\0")
    half = QuantileSketch.from_bytes(head + b"\0" + b"\xff" * 8 + b"\x3f" + b"\0" + b"\0\0")
    half.merge(QuantileSketch.from_bytes(half.to_bytes()))
    before = half.to_bytes()
    with pytest.raises(OverflowError):
        half.merge(QuantileSketch.from_bytes(before))
    assert half.to_bytes() == before
