"""Delays between attempts: they grow, are capped and jittered, and never end."""

from __future__ import annotations

import doctest
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.flow import backoff as module
from edgemon.flow.backoff import Backoff


def latest(_: float = 0.0) -> float:
    """The largest draw: delays at their ceilings."""
    return 1.0


def test_the_examples_are_true() -> None:
    assert doctest.testmod(module) == (0, 4)


def test_delays_really_grow_until_the_cap() -> None:
    backoff = Backoff(1.0, 300.0, 2.0, latest)
    delays = [backoff.next_delay() for _ in range(11)]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_a_success_starts_again_at_the_beginning() -> None:
    backoff = Backoff(1.0, 300.0, 2.0, latest)
    for _ in range(5):
        backoff.next_delay()
    assert backoff.failures == 5
    backoff.reset()
    assert backoff.failures == 0
    assert backoff.next_delay() == 1.0


def test_a_year_of_failures_neither_overflows_nor_ends() -> None:
    backoff = Backoff(1.0, 300.0, 10.0, latest)
    assert [backoff.next_delay() for _ in range(100_000)][-1] == 300.0


@given(
    initial=st.floats(0.001, 10),
    factor=st.floats(1, 1000),
    multiplier=st.floats(1, 10),
    seed=st.integers(0, 2**32),
    attempts=st.integers(1, 50),
)
def test_every_delay_is_within_its_ceiling(
    initial: float, factor: float, multiplier: float, seed: int, attempts: int
) -> None:
    backoff = Backoff(initial, initial * factor, multiplier, random.Random(seed).random)
    ceiling = initial
    for _ in range(attempts):
        assert 0.0 <= backoff.next_delay() <= ceiling * (1 + 1e-9) <= initial * factor * (1 + 2e-9)
        ceiling = min(initial * factor, ceiling * multiplier)


def test_jitter_is_full_so_that_a_fleet_spreads_out() -> None:
    delays = []
    for seed in range(1_000):
        backoff = Backoff(1.0, 300.0, 2.0, random.Random(seed).random)
        delays.append([backoff.next_delay() for _ in range(6)][-1])
    assert min(delays) < 1.0
    assert max(delays) > 31.0
    assert 15.0 < sum(delays) / len(delays) < 17.0  # uniform on [0, 32)


@pytest.mark.parametrize(
    ("initial", "longest", "multiplier"), [(0.0, 1.0, 2.0), (2.0, 1.0, 2.0), (1.0, 2.0, 0.5)]
)
def test_settings_that_cannot_work_are_refused(
    initial: float, longest: float, multiplier: float
) -> None:
    with pytest.raises(ValueError):
        Backoff(initial, longest, multiplier, latest)
