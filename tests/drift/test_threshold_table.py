from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from math import log, sqrt
from typing import NamedTuple

import pytest

from edgemon.drift.ks_null import GRID, TABLE, N
from edgemon.drift.threshold import _BEND, _RATIOS, critical_value


class Row(NamedTuple):
    ratio: int
    every: int
    windows: int
    replicates: int
    quantiles: list[tuple[float, float, float]]  # P, c, standard error of c
    tail_p: float
    rate: float
    rate_error: float


def with_error(text: str) -> tuple[float, float]:
    value, error = text.rstrip(")").split("(")
    return float(value), int(error) * 10.0 ** -len(value.split(".")[1])


def parse(line: str) -> Row:
    head, quantiles, tail = line.split("|")
    ratio, every, windows, replicates = map(int, head.split())
    values = zip(GRID, map(with_error, quantiles.split()), strict=False)
    tail_p, rate = tail.split()
    return Row(
        ratio,
        every,
        windows,
        replicates,
        [(p, *c) for p, c in values],
        float(tail_p),
        *with_error(rate),
    )


ROWS = [parse(line) for line in TABLE.splitlines()]


def upper_by_cell(ratio: int, every: int, windows: int, p: float) -> float:
    """The largest entry of the cell at p or above, two standard errors up."""
    row = next(row for row in ROWS if row[:3] == (ratio, every, windows))
    return max(c + 2 * error for q, c, error in row.quantiles if q >= p)


def test_every_cell_stands_on_twenty_thousand_replicates_at_least() -> None:
    assert min(row.replicates for row in ROWS) >= 20_000
    cells = {(row.ratio, row.every, row.windows) for row in ROWS}
    assert len(cells) == len(ROWS)
    assert cells >= {(r, k, 10**e) for r in _RATIOS for k in (1, N // 10) for e in range(5)}


def test_every_row_reaches_a_thousandth_and_says_its_errors() -> None:
    for row in ROWS:
        # 0.002 is the last that 50,000 replicates pass a hundred times.
        assert len(row.quantiles) >= GRID.index(0.002) + 1
        assert all(0.0 < error < 0.02 * c for _, c, error in row.quantiles)
        assert 0.0 < row.rate_error < 0.05 * row.rate


def test_every_entry_is_reproduced_and_never_undercut() -> None:
    for row in ROWS:
        for p, c, error in row.quantiles:
            found = critical_value(row.ratio, N, row.windows, p, row.every)
            assert found >= c
            # Above by two standard errors, or by those of a smaller ratio that has more noise.
            smaller = (
                upper_by_cell(r, row.every, row.windows, p) for r in _RATIOS if r < row.ratio
            )
            assert found <= max(c + 2 * error, *smaller, 0.0) + 1e-9


def test_between_two_probabilities_the_interpolation_spans_the_table_s_curvature() -> None:
    """c**2 by t = -log(-log(1 - P)), at unequal steps: its second derivative is above -_BEND."""
    for row in ROWS:
        points = [(-log(-log(1.0 - p)), c * c, 2 * c * error) for p, c, error in row.quantiles]
        for (t0, y0, _), (t1, y1, e1), (t2, y2, _) in zip(
            points, points[1:], points[2:], strict=False
        ):
            second = 2 * ((y2 - y1) / (t2 - t1) - (y1 - y0) / (t1 - t0)) / (t2 - t0)
            assert second > -_BEND - 3 * 2 * e1 / ((t2 - t1) * (t1 - t0))


def test_the_fitted_tail_does_not_run_below_the_entries_beyond_its_anchor() -> None:
    for row in ROWS:
        anchor = next(c for p, c, _ in row.quantiles if p == row.tail_p)
        for p, c, error in row.quantiles:
            if p < row.tail_p:
                line = sqrt(anchor**2 + log(row.tail_p / p) / row.rate)
                assert line > c - 3 * error


def test_a_longer_horizon_and_more_looks_have_a_larger_c_in_the_table() -> None:
    for one, other in pairwise(ROWS):
        if (one.ratio, one.every) == (other.ratio, other.every):
            assert one.windows < other.windows
            assert all(a[1] < b[1] for a, b in zip(one.quantiles, other.quantiles, strict=False))
    every = {(row.ratio, row.windows): row for row in ROWS if row.every == 1}
    for row in ROWS:
        if row.every > 1:
            more = every[row.ratio, row.windows].quantiles
            assert all(a[1] < b[1] for a, b in zip(row.quantiles, more, strict=False))


@pytest.mark.parametrize("module", ["ks_null", "threshold"])
def test_the_table_is_small_in_memory(module: str) -> None:
    code = (
        "import math, typing, tracemalloc, edgemon.errors, edgemon.drift\n"
        "tracemalloc.start()\n"
        f"import edgemon.drift.{module}\n"
        "print(tracemalloc.get_traced_memory()[0])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(2):  # the first time the compiler's memory may be counted too
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=environment
        )
    assert int(run.stdout) < 100_000
