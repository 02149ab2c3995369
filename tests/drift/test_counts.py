from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgemon.drift.counts import (
    MAX_CLASSES,
    TransitionCounts,
    compare,
    total_variation,
    transition_distance,
)

tables = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), min_size=1, max_size=30)


# -- two lists of counts


@given(st.lists(st.tuples(st.integers(400, 900), st.integers(0, 60)), min_size=2, max_size=8))
def test_with_enough_counts_the_test_is_scipys(table: list[tuple[int, int]]) -> None:
    reference, window = [r for r, _ in table], [w for _, w in table]
    m, n = sum(reference), sum(window)
    if min(reference) * n < 5 * m:
        return  # cells would be pooled
    for lambda_, name in ((1, "chi_square"), (0, "g")):
        expected = stats.chi2_contingency([reference, window], correction=False, lambda_=lambda_)
        found = compare(reference, window)
        assert math.isclose(getattr(found, name), expected.statistic, rel_tol=1e-9, abs_tol=1e-9)
        assert found.df == expected.dof
        if lambda_:
            assert math.isclose(found.p, expected.pvalue, rel_tol=1e-9)


@given(tables)
def test_small_cells_are_pooled_by_the_reference_until_five_are_expected(
    table: list[tuple[int, int]],
) -> None:
    reference, window = [r for r, _ in table], [w for _, w in table]
    m, n = sum(reference), sum(window)
    found = compare(reference, window)
    if not m or not n:
        assert found == (0.0, 0.0, 0, 1.0)
        return
    # The slow way: sort, and let the smallest pool grow while it or its next is too small.
    pool_r = pool_w = 0
    rest = sorted(table, key=lambda pair: pair[0])
    while rest and (rest[0][0] * n < 5 * m or ((pool_r or pool_w) and pool_r * n < 5 * m)):
        pool_r, pool_w = pool_r + rest[0][0], pool_w + rest[0][1]
        del rest[0]
    cells = [*rest, *([(pool_r, pool_w)] if pool_r or pool_w else [])]
    assert found.df == len(cells) - 1
    if found.df:
        expected = stats.chi2_contingency(list(zip(*cells, strict=True)), correction=False)
        assert math.isclose(found.chi_square, expected.statistic, rel_tol=1e-9, abs_tol=1e-9)
        assert sum(w for _, w in cells) == n


def test_what_the_reference_never_had_is_not_lost() -> None:
    assert compare([500, 500, 0], [0, 0, 50]).p < 1e-9
    assert compare([1_000, 0], [0, 50]) == (0.0, 0.0, 0, 1.0)  # no second cell to compare with


def test_the_p_value_keeps_its_level_with_many_rare_categories() -> None:
    chance = random.Random(1)
    shares = [1 / (i + 1) ** 1.5 for i in range(60)]
    small = 0
    for _ in range(600):
        reference, window = [0] * 60, [0] * 60
        for counts, size in ((reference, 2_000), (window, 200)):
            for k in chance.choices(range(60), shares, k=size):
                counts[k] += 1
        small += compare(reference, window).p < 0.05
    assert 15 <= small <= 50  # 30 are due, standard deviation 5.3


@given(tables)
def test_total_variation_is_half_the_distance_of_the_shares(table: list[tuple[int, int]]) -> None:
    reference, window = [r for r, _ in table], [w for _, w in table]
    m, n = sum(reference), sum(window)
    found = total_variation(reference, window)
    if m and n:
        assert math.isclose(
            found, sum(abs(r / m - w / n) for r, w in table) / 2, rel_tol=1e-12, abs_tol=1e-12
        )
        assert total_variation(window, reference) == found
    else:
        assert found == 0.0


# -- transitions

classes = st.lists(st.sampled_from("abcdX"), max_size=60)


@given(classes)
def test_transitions_are_the_pairs_of_neighbours(stream: list[str]) -> None:
    counts = TransitionCounts("abc")
    for name in stream:
        counts.push(name)
    expected = [[0] * 4 for _ in range(4)]
    for before, after in pairwise(min("abc".find(name) % 4, 3) for name in stream):
        expected[before][after] += 1
    assert counts.matrix() == expected
    assert counts.total == max(0, len(stream) - 1)


@given(classes, st.integers(0, 60))
def test_windows_of_a_stream_merge_to_the_whole(stream: list[str], cut: int) -> None:
    whole, first, second = (TransitionCounts("abc") for _ in range(3))
    for name in stream:
        whole.push(name)
    for name in stream[:cut]:
        first.push(name)
    total = TransitionCounts.from_state(first.state())
    first.reset()
    for name in stream[cut:]:
        first.push(name)
    second.merge(first)
    total.merge(second)
    assert total.matrix() == whole.matrix()


def test_a_gap_is_no_transition() -> None:
    counts = TransitionCounts("ab")
    counts.push("a")
    counts.interrupt()
    counts.push("b")
    assert counts.total == 0


def test_classes_beyond_the_bound_are_one_more() -> None:
    counts = TransitionCounts(str(i) for i in range(100))
    assert len(counts.names) == MAX_CLASSES
    before = counts.memory_bytes
    for i in range(1_000):
        counts.push(str(i))
    assert counts.memory_bytes == before == 8 * (MAX_CLASSES + 1) ** 2
    assert counts.matrix()[-1][-1] == 999 - MAX_CLASSES


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="add up"):
        TransitionCounts("ab").merge(TransitionCounts("ac"))
    with pytest.raises(ValueError, match="twice"):
        TransitionCounts(["a", "a"])
    with pytest.raises(ValueError, match="no table"):
        TransitionCounts.from_state((("a",), [1, 2, 3]))
    with pytest.raises(ValueError, match="no table"):
        TransitionCounts.from_state((("a",), [1, 2, 3, -1]))


def test_the_distance_sees_order_and_not_how_often() -> None:
    sticky, restless = [[90, 10], [10, 90]], [[10, 90], [90, 10]]
    assert transition_distance(sticky, sticky) == 0.0
    assert math.isclose(transition_distance(sticky, restless), 0.8)
    assert transition_distance(sticky, [[900, 100], [1, 9]]) == 0.0
    assert transition_distance([[5, 0], [0, 0]], [[0, 0], [0, 5]]) == 1.0
    assert transition_distance(sticky, [[0, 0], [0, 0]]) == 0.0


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_the_distance_is_symmetric_and_at_most_one(a: list[list[int]]) -> None:
    b = [row[::-1] for row in a]
    assert math.isclose(transition_distance(a, b), transition_distance(b, a))
    assert 0.0 <= transition_distance(a, b) <= 1.0 + 1e-12
