from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgemon.drift.confidence import BINS, ConfidenceCounts, summarize

vectors = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=30)


@given(vectors)
def test_the_brief_is_that_of_the_sorted_vector(vector: list[float]) -> None:
    brief = summarize(vector)
    ordered = sorted(vector, reverse=True)
    assert brief.confidence == ordered[0]
    assert brief.position == vector.index(ordered[0])
    assert brief.margin == ordered[0] - (ordered[1] if len(vector) > 1 else 0.0)
    assert brief.valid == (abs(sum(vector) - 1.0) <= 0.01)
    if any(vector):
        expected = float(stats.entropy(vector))  # scales to a sum of 1
        assert math.isclose(brief.entropy, expected, rel_tol=1e-9, abs_tol=1e-9)
        assert 0.0 <= brief.entropy <= math.log(len(vector)) + 1e-9
    else:
        assert math.isnan(brief.entropy)


@pytest.mark.parametrize("k", [1, 2, 10, 1000])
def test_even_vectors_have_the_largest_entropy_and_certain_ones_none(k: int) -> None:
    even = summarize([1 / k] * k)
    assert math.isclose(even.entropy, math.log(k), abs_tol=1e-9)
    assert even.valid and even.position == 0
    certain = summarize([0.0] * (k - 1) + [1.0])
    assert certain == (1.0, k - 1, 0.0, 1.0, True)


def test_whole_numbers_are_confidences_too() -> None:
    assert summarize([0, 1, 0]) == (1.0, 1, 0.0, 1.0, True)


def test_rounding_to_three_digits_keeps_a_vector_valid() -> None:
    chance = random.Random(1)
    for _ in range(200):
        logits = [math.exp(chance.gauss(0, 2)) for _ in range(20)]
        assert summarize([round(x / sum(logits), 3) for x in logits]).valid


@pytest.mark.parametrize(
    ("vector", "confidence", "position", "margin"),
    [
        ([2.0, 1.0], 2.0, 0, 1.0),  # not scaled: has an entropy
        ([-1.0, 3.0, 1.0], 3.0, 1, 2.0),  # logits
        ([-3.0, -1.0], -1.0, 1, 2.0),
        ([-1.0, 0.0, 2.0], 2.0, 2, 2.0),  # adds up to 1
        ([0.0, 0.0], 0.0, 0, 0.0),
        ([math.inf, 1.0], math.inf, 0, math.inf),
        ([-math.inf, 1.0], 1.0, 1, math.inf),
        ([1e308, 1e308], 1e308, 0, 0.0),
        ([math.nan, 0.5, 0.25], math.nan, 1, math.nan),
        ([0.5, math.nan], math.nan, 0, math.nan),
        ([math.nan], math.nan, 0, math.nan),
    ],
)
def test_what_is_no_distribution_is_said_and_not_raised(
    vector: list[float], confidence: float, position: int, margin: float
) -> None:
    brief = summarize(vector)
    assert not brief.valid
    assert brief.position == position
    assert math.isclose(brief.confidence, confidence) or math.isnan(confidence)
    assert math.isnan(brief.confidence) == math.isnan(confidence)
    assert brief.margin == margin or (math.isnan(margin) and math.isnan(brief.margin))
    has_entropy = vector == [2.0, 1.0]
    assert math.isnan(brief.entropy) != has_entropy


def test_an_empty_vector_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        summarize([])


@pytest.mark.parametrize("entry", [True, "0.5", None])
def test_what_is_no_number_is_a_mistake(entry: object) -> None:
    with pytest.raises(TypeError):
        summarize([0.5, entry])  # type: ignore[list-item]


# -- counts


@given(st.lists(st.floats(0, 1), max_size=60))
def test_bins_are_twentieths(confidences: list[float]) -> None:
    counts = ConfidenceCounts()
    expected = [0] * BINS
    for x in confidences:
        counts.push(summarize([x]))
        expected[min(BINS - 1, int(x * BINS))] += 1
    assert list(counts.counts) == expected
    assert (counts.outside, counts.total) == (0, len(confidences))


def test_the_last_bin_holds_one_and_what_is_no_share_is_counted_apart() -> None:
    counts = ConfidenceCounts()
    for vector in ([1.0], [math.nextafter(1.0, 0.0)], [1.5], [-0.5], [math.nan], [math.inf]):
        counts.push(summarize(vector))
    assert counts.counts[BINS - 1] == 2
    assert (counts.outside, counts.invalid, counts.total) == (4, 4, 6)
    # Only vectors with a number count into the means.
    assert (counts.entropy.count, counts.margin.count) == (3, 4)


@given(st.lists(vectors, max_size=20), st.integers(0, 20))
def test_windows_merge_to_the_whole(stream: list[list[float]], cut: int) -> None:
    whole, first, second = ConfidenceCounts(), ConfidenceCounts(), ConfidenceCounts()
    for i, vector in enumerate(stream):
        brief = summarize(vector)
        whole.push(brief)
        (first if i < cut else second).push(brief)
    first.merge(second)
    assert first.counts == whole.counts
    assert (first.outside, first.invalid) == (whole.outside, whole.invalid)
    for name in ("entropy", "margin"):
        merged, direct = getattr(first, name), getattr(whole, name)
        assert merged.count == direct.count
        if direct.count:
            assert math.isclose(merged.mean, direct.mean, rel_tol=1e-9, abs_tol=1e-12)
    first.reset()
    assert (first.total, first.invalid, first.entropy.count) == (0, 0, 0)
