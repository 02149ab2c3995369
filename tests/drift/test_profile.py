from __future__ import annotations

import math
import subprocess
import sys
from array import array
from bisect import bisect_right

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edgemon.drift.build import (
    KEPT_PER_POINT,
    MAX_CATEGORIES,
    KindError,
    ProfileBuilder,
    distinct,
    numeric_feature,
)
from edgemon.drift.profile import BINS, Profile, reduce_sorted
from edgemon.errors import DamagedError, UnsupportedError
from tests.drift.data import normal, profile_of

values = st.floats(allow_nan=False)
few_levels = st.integers(-3, 3).map(float)
samples = st.lists(values | few_levels, min_size=1, max_size=200)


def small_profile() -> Profile:
    return profile_of(output=normal(1, 300), f_a=[1.0, 1.0, 2.0, math.inf], f_c=["x", "y", "x"])


@given(samples)
@example([0.0, -0.0, math.inf, -math.inf])
def test_a_profile_comes_back_from_its_bytes_as_it_was(sample: list[float]) -> None:
    profile = profile_of(output=sample, f_c=["a", "b"])
    data = profile.to_bytes()
    again = Profile.from_bytes(data)
    assert (again.name, again.rows, again.max_points) == ("model", profile.rows, 10_000)
    assert again.features == profile.features
    assert again.hash == profile.hash
    assert again.to_bytes() == data


@given(samples)
def test_the_reference_is_the_sorted_distinct_sample_with_its_multiplicities(
    sample: list[float],
) -> None:
    feature = numeric_feature("output", sample)
    assert list(feature.values) == sorted(set(sample))
    assert [sample.count(value) for value in feature.values] == list(feature.counts)
    assert (feature.low, feature.high) == (min(sample), max(sample))


def test_minus_zero_is_zero() -> None:
    assert profile_of(output=[-0.0, 1.0]).hash == profile_of(output=[0.0, 1.0]).hash


@given(samples)
def test_edges_are_the_inverse_distribution_function_at_each_twentieth(
    sample: list[float],
) -> None:
    feature = numeric_feature("output", sample)
    ordered = sorted(sample)
    assert len(feature.edges) == BINS - 1
    for k, edge in enumerate(feature.edges, 1):
        at_or_below = bisect_right(ordered, edge)
        assert 20 * at_or_below >= k * len(sample) - 1e-6
        assert edge in ordered
        below = [value for value in ordered if value < edge]
        assert 20 * len(below) < k * len(sample) + 1e-6
    assert sum(feature.histogram()) == len(sample)


def test_the_same_data_give_the_same_bytes_in_another_process() -> None:
    code = (
        "from tests.drift.test_profile import small_profile; "
        "print(small_profile().to_bytes().hex())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert bytes.fromhex(printed) == small_profile().to_bytes()


def test_the_format_of_version_1_is_what_it_was() -> None:
    profile = profile_of(output=[3.0, 1.0, 2.0, 2.0], f_c=["b", "a", "b"])
    assert profile.hash == "0b3a7cf50294a588"


def test_different_data_have_different_hashes() -> None:
    assert profile_of(output=[1.0, 2.0]).hash != profile_of(output=[1.0, 2.5]).hash


@given(st.data())
def test_no_flipped_bit_goes_unnoticed(data: st.DataObject) -> None:
    whole = bytearray(small_profile().to_bytes())
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    # The one bit of zstd's frame header that a decoder has to ignore (RFC 8878, 3.1.1.1.1.3).
    assume((at, bit) != (28 + 4, 4))
    whole[at] ^= 1 << bit
    with pytest.raises(DamagedError, match=r"^fraud\.profile: "):
        Profile.from_bytes(bytes(whole), "fraud.profile")


@given(st.data())
def test_no_truncation_goes_unnoticed(data: st.DataObject) -> None:
    whole = small_profile().to_bytes()
    with pytest.raises(DamagedError, match=r"^fraud\.profile: "):
        Profile.from_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))], "fraud.profile")


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(DamagedError, match="profile"):
        Profile.from_bytes(data)


def test_a_newer_format_is_unsupported_and_not_damaged() -> None:
    data = bytearray(small_profile().to_bytes())
    data[8] = 2
    with pytest.raises(UnsupportedError, match="format 2"):
        Profile.from_bytes(bytes(data))


def test_a_declared_length_beyond_the_limit_is_refused_before_it_is_read() -> None:
    data = bytearray(small_profile().to_bytes())
    data[20:28] = (1 << 40).to_bytes(8, "little")
    with pytest.raises(DamagedError, match="header"):
        Profile.from_bytes(bytes(data))


@given(st.lists(values | few_levels, min_size=1, max_size=300), st.integers(1, 300))
def test_a_reduction_keeps_the_distribution_function_within_half_a_point(
    sample: list[float], points: int
) -> None:
    whole, counts = distinct(sorted(sample))
    kept, kept_counts = reduce_sorted(whole, counts, points)
    m = min(points, len(sample))
    assert sum(kept_counts) == m
    assert set(kept) <= set(whole)
    assert list(kept) == sorted(set(kept))
    for value in whole:
        share = sum(c for v, c in zip(whole, counts, strict=True) if v <= value) / len(sample)
        reduced = sum(c for v, c in zip(kept, kept_counts, strict=True) if v <= value) / m
        assert abs(share - reduced) <= 1 / (2 * m) + 1e-12


def test_a_reduction_to_a_multiple_of_itself_is_uniform() -> None:
    whole = array("d", map(float, range(1000)))
    kept, counts = reduce_sorted(whole, array("I", [1]) * 1000, 10)
    assert list(kept) == [50.0 + 100.0 * k for k in range(10)]
    assert set(counts) == {1}


def test_a_reference_is_reduced_to_a_multiple_of_the_window_only_when_counters_would_be_wide() -> (
    None
):
    feature = numeric_feature("output", normal(2, 9_857))
    assert sum(feature.for_window(1000)[1]) == 9_000
    assert feature.for_window(20_000) == (feature.values, feature.counts)
    round_one = numeric_feature("output", normal(2, 10_000))
    assert round_one.for_window(1000) == (round_one.values, round_one.counts)


def test_memory_while_building_does_not_grow_with_the_rows() -> None:
    builder = ProfileBuilder("m", max_points=20)
    for i in range(20 * KEPT_PER_POINT * 10):
        builder.number("output", float(i))
        builder.row_done()
    (feature,) = builder.finish().features
    assert feature.n == 2000
    assert feature.points == 20
    assert (feature.low, feature.high) == (0.0, 1999.0)
    # A uniform choice of 200 of 0 … 1999: its median is near the middle.
    assert 700 < feature.quantile(0.5) < 1300


def test_missing_values_and_nan_are_counted_and_not_kept() -> None:
    builder = ProfileBuilder("m")
    for x in (1.0, math.nan, None, 2.0):
        if x is not None:
            builder.number("f:a", x)
        builder.row_done()
    (feature,) = builder.finish().features
    assert (feature.n, feature.missing, feature.missing_ratio) == (2, 2, 0.5)
    assert list(feature.values) == [1.0, 2.0]


def test_a_stream_without_any_value_is_left_out_and_named() -> None:
    builder = ProfileBuilder("m")
    builder.declare("f:void")
    builder.number("f:a", 1.0)
    builder.number("f:nan", math.nan)
    builder.row_done()
    assert builder.empty_streams == ["f:void", "f:nan"]
    assert [feature.name for feature in builder.finish().features] == ["f:a"]


def test_streams_stand_in_the_agents_order_then_as_they_appeared() -> None:
    profile = profile_of(f_b=[1.0], latency=[1.0], f_a=[1.0], output=[1.0])
    assert [f.name for f in profile.features] == ["output", "latency", "f:b", "f:a"]


def test_numbers_and_texts_in_one_stream_are_refused() -> None:
    builder = ProfileBuilder("m")
    builder.number("f:a", 1.0)
    with pytest.raises(KindError, match="held numbers, now the text 'x'"):
        builder.text("f:a", "x")


def test_categories_are_bounded_and_the_rest_is_counted() -> None:
    texts = [f"c{i}" for i in range(MAX_CATEGORIES + 7)] + ["c0"]
    (feature,) = profile_of(f_c=texts).features
    assert len(feature.categories) == MAX_CATEGORIES
    assert (feature.n, feature.other, feature.categories["c0"]) == (MAX_CATEGORIES + 8, 7, 2)


def test_references_are_shared_by_all_who_ask() -> None:
    profile = small_profile()
    assert profile.reference("output", 100) is profile.reference("output", 100)
    assert profile.reference("output", 100).m == 300


def test_loaded_for_its_detectors_a_profile_has_references_edges_and_hash_but_no_values() -> None:
    whole = small_profile()
    loaded = Profile.from_bytes(whole.to_bytes(), window=100)
    assert loaded.reference("output", 100).m == 300
    assert (loaded.edges("output"), loaded.hash) == (whole.edges("output"), whole.hash)
    assert not any(feature.values for feature in loaded.features)
    with pytest.raises(RuntimeError, match="window of 100"):
        loaded.reference("output", 99)
    with pytest.raises(RuntimeError, match="no values"):
        loaded.to_bytes()


def test_edges_are_there_for_numeric_streams_only() -> None:
    profile = small_profile()
    assert len(profile.edges("output") or ()) == BINS - 1
    assert profile.edges("f:c") is None
    assert profile.edges("f:unknown") is None
