"""How well a model did, read from the windows of a receiver's database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from edgemon.performance.scores import figures, merge

# Windows with truths of which all is added up; beyond them the oldest are left out of the totals, not of the curves.
MAX_WINDOWS = 20_000
# Columns of `agg` rows that the receiver has no place of its own for.
_COLUMN = "json_extract(w.extra, '$.{}')"


class Performance(NamedTuple):
    """Bucket -> value.  accuracy, mae, rmse: measured.  estimate: without truths.  errors: share of predictions that
    the application said had failed.  totals: performance.scores.figures of all of it, {} without truths.
    """

    accuracy: dict[int, float]
    estimate: dict[int, float]
    mae: dict[int, float]
    rmse: dict[int, float]
    errors: dict[int, float]
    totals: dict[str, Any]


def read(
    execute: Callable[[str, tuple[object, ...]], Iterable[Any]],
    joined: str,
    values: tuple[object, ...],
    bucket: str,
) -> Performance:
    """joined, values: FROM and WHERE of a model's windows, as w.  bucket: the expression of a window's part of the
    time."""

    def sums(columns: list[str], where: str) -> list[Any]:
        wanted = ", ".join(f"sum({column})" for column in columns)
        return list(execute(f"SELECT {bucket}, {wanted} {joined} AND {where} GROUP BY 1", values))

    truth = "w.stream = 'truth' AND w.n > 0"
    names = ("correct", "abs_error_sum", "sq_error_sum")
    rows = sums(["w.n", *map(_COLUMN.format, names)], truth)
    own = ["w.n", *map(_COLUMN.format, ("errors", "est_n", "est_correct"))]
    models = sums(own, "w.stream = '' AND w.extra IS NOT NULL")
    # Windows without errors have no extra, and count all the same.
    all_ = dict(execute(f"SELECT {bucket}, sum(w.n) {joined} AND w.stream = '' GROUP BY 1", values))
    merged: dict[str, Any] = {}
    for n, extra in execute(
        f"SELECT w.n, w.extra {joined} AND {truth} ORDER BY w.end_ns DESC LIMIT {MAX_WINDOWS}",
        values,
    ):
        found = json.loads(extra) if extra else {}
        if ("abs_error_sum" in found) == ("abs_error_sum" in merged) or not merged:
            merge(merged, found | {"n": n})
    return Performance(
        accuracy={at: right / n for at, n, right, _, _ in rows if right is not None},
        estimate={at: right / n for at, _, _, n, right in models if n},
        mae={at: size / n for at, n, _, size, _ in rows if size is not None},
        rmse={at: (square / n) ** 0.5 for at, n, _, _, square in rows if square is not None},
        errors={at: errors / (all_[at] + errors) for at, _, errors, _, _ in models if errors},
        totals=figures(merged),
    )
