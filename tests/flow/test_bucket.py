"""The token bucket: the mean rate, what a rest saves up, and what is larger than the bucket."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.flow import bucket
from edgemon.flow.bucket import TokenBucket


def test_a_rest_saves_up_one_burst_and_no_more() -> None:
    tokens = TokenBucket(100.0, 0.0, burst=300.0)
    tokens.take(300, 0.0)
    assert tokens.wait_s(0.0) == 0.0
    tokens.take(1, 0.0)
    assert tokens.wait_s(0.0) == pytest.approx(0.01)
    tokens.take(299, 1e6)
    assert tokens.wait_s(1e6) == 0.0
    tokens.take(101, 1e6)
    assert tokens.wait_s(1e6) == pytest.approx(1.0)


def test_one_item_larger_than_the_bucket_goes_and_is_paid_for_afterwards() -> None:
    tokens = TokenBucket(10.0, 0.0)
    assert tokens.wait_s(0.0) == 0.0
    tokens.take(1010, 0.0)
    assert tokens.wait_s(0.0) == pytest.approx(100.0)
    assert tokens.wait_s(99.0) == pytest.approx(1.0)
    assert tokens.wait_s(100.0) == 0.0


def test_a_clock_that_stands_still_or_repeats_gives_nothing() -> None:
    tokens = TokenBucket(10.0, 5.0)
    tokens.take(20, 5.0)
    assert tokens.wait_s(4.0) == tokens.wait_s(5.0) == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_none_is_a_mistake(rate: float) -> None:
    with pytest.raises(ValueError, match="a rate of"):
        TokenBucket(rate, 0.0)


@given(
    st.floats(1.0, 1e6),
    st.lists(st.tuples(st.floats(0.0, 10.0), st.integers(1, 10**6)), min_size=1, max_size=60),
)
def test_over_any_span_no_more_passes_than_rate_burst_and_one_item(
    rate: float, wishes: list[tuple[float, int]]
) -> None:
    tokens = TokenBucket(rate, 0.0)
    now, sent = 0.0, []
    for pause_s, size in wishes:
        now += pause_s
        if tokens.wait_s(now) == 0.0:
            tokens.take(size, now)
            sent.append((now, size))
    for i, (start, _) in enumerate(sent):
        for j in range(i, len(sent)):
            span_s = sent[j][0] - start
            total = sum(size for _, size in sent[i : j + 1])
            largest = max(size for _, size in sent[i : j + 1])
            assert total <= rate * span_s + rate + largest + 1e-6 * total


def test_the_example_is_true() -> None:
    found = doctest.testmod(bucket)
    assert found.attempted and not found.failed
