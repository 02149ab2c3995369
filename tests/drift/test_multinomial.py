from __future__ import annotations

import math
import random
from collections import Counter
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from edgemon.drift.multinomial import MAX_CELLS, allowed, bet

weights = st.lists(st.integers(1, 50), min_size=2, max_size=12)


def shares_of(values: list[int]) -> list[float]:
    return [value / sum(values) for value in values]


def extreme_laws(
    lows: list[float], highs: list[float], chance: random.Random, n: int = 20
) -> list[list[float]]:
    """Corners of the allowed laws: cells filled to their bound in a random order."""
    laws = []
    for _ in range(n):
        law = list(lows)
        left = 1.0 - sum(law)
        order = list(range(len(law)))
        chance.shuffle(order)
        for cell in order:
            more = min(left, highs[cell] - law[cell])
            law[cell] += more
            left -= more
        assert abs(left) < 1e-12
        laws.append(law)
    return laws


# -- the bet


@given(
    weights, weights, st.floats(0.0, 1.0), st.floats(1.0, 3.0), st.randoms(use_true_random=False)
)
def test_no_allowed_law_gains_from_a_bet_on_average(
    guess: list[int], centre: list[int], low: float, high: float, chance: random.Random
) -> None:
    cells = min(len(guess), len(centre))
    q, p = shares_of(guess[:cells]), shares_of(centre[:cells])
    lows, highs = [low * x for x in p], [min(1.0, high * x) for x in p]
    e = bet(q, lows, highs)
    for law in [p, *extreme_laws(lows, highs, chance)]:
        assert sum(x * y for x, y in zip(law, e, strict=True)) <= 1.0 + 1e-9


@given(weights, weights, st.floats(0.0, 1.0), st.floats(1.0, 3.0))
def test_the_bet_is_against_a_law_within_the_bounds(
    guess: list[int], centre: list[int], low: float, high: float
) -> None:
    cells = min(len(guess), len(centre))
    q, p = shares_of(guess[:cells]), shares_of(centre[:cells])
    lows, highs = [low * x for x in p], [min(1.0, high * x) for x in p]
    law = [x / y for x, y in zip(q, bet(q, lows, highs), strict=True)]
    assert math.isclose(sum(law), 1.0, rel_tol=1e-9)
    for x, lo, hi in zip(law, lows, highs, strict=True):
        assert lo - 1e-12 <= x <= hi + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_closest_law(seed: int) -> None:
    chance = random.Random(seed)
    q = shares_of([chance.randrange(1, 50) for _ in range(5)])
    p = shares_of([chance.randrange(1, 50) for _ in range(5)])
    lows, highs = [0.9 * x for x in p], [1.2 * x for x in p]

    def divergence(law: list[float]) -> float:
        return sum(x * math.log(x / y) for x, y in zip(q, law, strict=True))

    best = optimize.minimize(
        divergence,
        p,
        bounds=list(zip(lows, highs, strict=True)),
        constraints={"type": "eq", "fun": lambda law: sum(law) - 1.0},
        options={"ftol": 1e-14},
    )
    found = [x / y for x, y in zip(q, bet(q, lows, highs), strict=True)]
    assert divergence(found) <= best.fun + 1e-9


def test_a_guess_that_is_allowed_is_no_bet() -> None:
    assert bet([0.5, 0.5], [0.4, 0.4], [0.6, 0.6]) == [1.0, 1.0]


# -- what the reference allows


def test_bounds_of_a_category_are_clopper_and_pearsons_at_its_part_of_the_budget() -> None:
    found = allowed([900, 100], 0, 0.003)
    for k, high, low in ((900, 0, 0), (100, 1, 1)):
        share = k / 1_000
        expected = stats.beta.isf(0.001 * share, k + 1, 1_000 - k)
        assert math.isclose(found.highs[high], expected, rel_tol=1e-8)
        expected = stats.beta.ppf(0.001 * share / 16, k, 1_001 - k)
        assert math.isclose(found.lows[low], expected, rel_tol=1e-8)
    assert math.isclose(found.highs[2], 1.0 - 0.001 ** (1 / 500), rel_tol=1e-9)
    assert found.lows[2] == 0.0
    assert math.isclose(sum(found.shares), 1.0)


def test_a_category_that_hardly_came_has_no_lower_bound() -> None:
    # Below 1/16 of its share in the reference a bound would not be paid for.
    lows = {k: allowed([1_000, k], 0, 0.001).lows[1] for k in range(1, 30)}
    assert all(low == 0.0 or low >= k / (1_000 + k) / 16 for k, low in lows.items())
    assert lows[1] == lows[5] == 0.0 < lows[20]


def test_rare_categories_share_a_cell_that_has_no_bounds_of_its_own() -> None:
    found = allowed([1_000 - i for i in range(500)], 0, 0.001)
    assert len(found.shares) == MAX_CELLS
    assert [found.cell[k] for k in (0, 61, 62, 499, 500)] == [0, 61, 62, 62, 63]
    assert (found.lows[62], found.highs[62]) == (0.0, 1.0)
    exactly = allowed([100] * (MAX_CELLS - 1), 0, 0.001)
    assert len(exactly.shares) == MAX_CELLS and exactly.highs[62] < 1.0


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.sampled_from([0, 5]))
def test_some_law_is_always_allowed(counts: list[int], other: int) -> None:
    found = allowed(counts, other, 0.01)
    assert sum(found.lows) <= 1.0 <= sum(found.highs)
    assert all(0.0 <= low <= high <= 1.0 for low, high in zip(found.lows, found.highs, strict=True))
    assert all(share > 0.0 for share in found.shares)


def test_categories_that_were_not_kept_leave_unseen_ones_without_a_bound() -> None:
    assert allowed([500, 500], 1, 0.01).highs[-1] == 1.0
    assert allowed([1], 0, 0.01).highs[-1] == 1.0


@pytest.mark.parametrize("alphabet", [3, 100, 2_000, 50_000])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_the_law_is_within_the_bounds_whatever_the_alphabet(alphabet: int, power: float) -> None:
    """At a budget of 20 %, over 100 references of 500 values; a uniform law, and Zipf's."""
    chance = random.Random(alphabet)
    weights = [1.0 / (i + 1) ** power for i in range(alphabet)]
    cumulative = list(accumulate(weights))
    missed = 0
    for _ in range(100):
        counts = Counter(chance.choices(range(alphabet), cum_weights=cumulative, k=500))
        found = allowed(list(counts.values()), 0, 0.2)
        truth = [0.0] * len(found.shares)
        for place, k in zip(found.cell, counts, strict=False):
            truth[place] += weights[k] / cumulative[-1]
        truth[-1] = 1.0 - sum(truth)
        missed += not all(
            low - 1e-12 <= p <= high + 1e-12
            for p, low, high in zip(truth, found.lows, found.highs, strict=True)
        )
    assert missed <= 20
