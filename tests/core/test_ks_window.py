"""What SlidingKS remembers of its window, in order: a bucket for each value."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon._core.ks import Reference, SlidingKS, at_most
from tests.core.oracle import reference_of

numbers = st.integers(-3, 3).map(float) | st.sampled_from([math.inf, -math.inf, -0.0, 0.5])


@given(
    st.lists(numbers, min_size=1, max_size=60),
    st.lists(numbers | st.floats(allow_nan=False), max_size=60),
    st.integers(1, 20),
)
def test_buckets_are_those_of_the_last_values_oldest_first(
    sample: list[float], stream: list[float], window: int
) -> None:
    reference = reference_of(sample)
    ks = SlidingKS(reference, window, 1 << 40)
    for i, x in enumerate(stream):
        ks.push(x)
        assert ks.buckets() == [reference.bucket(y) for y in stream[max(0, i + 1 - window) : i + 1]]
    ks.reset()
    assert ks.buckets() == []


@pytest.mark.parametrize("u", [1, 7, 8, 32_767, 32_768, 40_000])
def test_buckets_agree_on_either_side_of_the_ring_s_narrow_type(u: int) -> None:
    # 2u + 1 buckets fit 16 bits up to u = 32,767.
    reference = reference_of([float(i) for i in range(u)])
    ks = SlidingKS(reference, 50, 1 << 40)
    stream = [(i * 7919 % (2 * u)) / 2 - 0.5 for i in range(130)]
    for x in stream:
        ks.push(x)
    assert ks.buckets() == [reference.bucket(x) for x in stream[-50:]]
    assert all(ks.counts()[bucket] >= 1 for bucket in ks.buckets())


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40), st.integers(-(2**63), 2**63 - 1))
def test_bits_say_which_values_are_at_most_a_limit(values: list[int], limit: int) -> None:
    bits = at_most(array("q", values).tobytes(), limit)
    assert bits == int("".join("1" if value <= limit else "0" for value in values) or "0", 2)


def test_buckets_as_bytes_are_the_buckets() -> None:
    ks = SlidingKS(Reference(array("d", [1.0, 2.0, 4.0]), array("I", [1, 2, 1])), 5, 100)
    for value in (0.5, 2.0, 9.0, 1.0, 3.0, 4.0, 2.5):
        ks.push(value)
        assert array("q", ks.buckets_bytes()).tolist() == ks.buckets()
    with pytest.raises(ValueError, match="whole int64"):
        at_most(b"1234567", 0)
