"""When a stream is said to depend on its values before."""

from __future__ import annotations

import random
from array import array

import pytest

from edgemon.drift.autocorrelation import Indicator
from edgemon.drift.live import LiveDependence

BLOCKS_UNTIL_TOLD = 9


def _series(values: array[int]) -> list[Indicator]:
    ordered = sorted(values)
    cuts = {ordered[len(ordered) * k // 4] for k in (1, 2, 3)}
    return [Indicator([value <= cut for value in values]) for cut in sorted(cuts)]


def _told_at(correlation: float, blocks: int, size: int, seed: int) -> int | None:
    """The block after which it is told, from 1; values are x = correlation * (x before) + noise."""
    chance, live, last = random.Random(seed), LiveDependence(1.0, size), 0.0
    for block in range(1, 8 * blocks + 1):
        values = array("q")
        for _ in range(size):
            last = correlation * last + chance.gauss(0.0, 1.0)
            values.append(round(1e6 * last))
        live.end_of_window(values.__copy__, _series)
        if live.to_tell():
            return block
    return None


@pytest.mark.parametrize("size", [250, 1000])
def test_independent_values_are_never_told_of(size: int) -> None:
    told = [_told_at(0.0, 4_000 // size, size, seed) for seed in range(20)]
    assert told == [None] * 20


def test_values_that_depend_are_told_of_as_soon_as_nine_blocks_agree() -> None:
    assert [_told_at(0.8, 4, 250, seed) for seed in range(10)] == [BLOCKS_UNTIL_TOLD] * 10
