"""A pumping station whose models are watched: what their predictions look like when all is well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

REFERENCE_ROWS = 10_000
STATES, SHARES = ("idle", "run", "wash"), (0.6, 0.3, 0.1)
SENSORS = ("pressure", "temperature", "flow", "steady")

Column = NDArray[np.float64] | list[Any]


class Rows(NamedTuple):
    """Predictions of one model, by column. outputs: numbers (n,) or confidences (n, k).

    ts: seconds since 1970.  truths: what it was, told after the predictions where a test does so.  errors: predictions
    that failed, reported between the others.
    """

    outputs: Column
    features: dict[str, Column]
    latency: Column
    ids: list[str] | None = None
    ts: list[float] | None = None
    truths: list[Any] | None = None
    errors: int = 0

    def with_feature(self, name: str, values: Column) -> Rows:
        return self._replace(features=self.features | {name: values})

    @property
    def n(self) -> int:
        return len(self.outputs)

    def parts(self, count: int) -> Iterator[Rows]:
        """The same rows in parts of about equal size."""
        ends = [self.n * (part + 1) // count for part in range(count)]
        for first, last in zip([0, *ends], ends, strict=False):
            yield Rows(
                self.outputs[first:last],
                {name: column[first:last] for name, column in self.features.items()},
                self.latency[first:last],
                self.ids[first:last] if self.ids else None,
                self.ts[first:last] if self.ts else None,
                self.truths[first:last] if self.truths else None,
            )


class Plant:
    """Draws healthy predictions, the same on every run.

    wear: a regression model. Its features are three sensors, one that never moves (`steady`), and a state.
    eye: a classifier of three classes with confidences that are calibrated; `truths` are drawn from them.
    """

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self._drawn = 0

    def wear(self, n: int) -> Rows:
        random = self.random
        pressure, temperature = random.normal(5.0, 0.5, n), random.normal(20.0, 2.0, n)
        features: dict[str, Column] = {
            "pressure": pressure,
            "temperature": temperature,
            "flow": random.uniform(0.0, 10.0, n),
            "steady": np.full(n, 3.0),
            "state": random.choice(STATES, n, p=SHARES).tolist(),
        }
        outputs = 0.2 * pressure + 0.05 * temperature + random.normal(0.0, 0.1, n)
        return Rows(
            outputs,
            features,
            self._latency(n),
            self._ids(n),
            truths=(outputs + random.normal(0.0, 0.2, n)).tolist(),
        )

    def eye(self, n: int) -> Rows:
        random = self.random
        sure = random.beta(8.0, 2.0, n)
        top = random.integers(0, 3, n)
        outputs = np.repeat((1.0 - sure)[:, None] / 2.0, 3, axis=1)
        outputs[np.arange(n), top] = sure
        truths = [str(random.choice(3, p=row / row.sum())) for row in outputs]
        features: dict[str, Column] = {"size": random.normal(40.0, 5.0, n)}
        return Rows(outputs, features, self._latency(n), self._ids(n), truths=truths)

    def _latency(self, n: int) -> Column:
        return self.random.lognormal(-4.6, 0.3, n)  # around 10 ms

    def _ids(self, n: int) -> list[str]:
        self._drawn += n
        return [f"p{number}" for number in range(self._drawn - n, self._drawn)]


def write_reference(path: Path, rows: Rows, model: str) -> None:
    """JSON lines, as `edgemon profile build` takes them."""
    with path.open("w") as file:
        for row in _objects(rows):
            file.write(json.dumps({"model": model} | row) + "\n")


def _objects(rows: Rows) -> Iterator[dict[str, object]]:
    names = list(rows.features)
    for at in range(rows.n):
        output = rows.outputs[at]
        values = {name: rows.features[name][at] for name in names}
        row: dict[str, object] = {
            "output": output.tolist() if isinstance(output, np.ndarray) else float(output),
            "features": {k: v if isinstance(v, str) else float(v) for k, v in values.items()},
            "latency": float(rows.latency[at]),
        }
        if rows.truths is not None:
            row["label"] = rows.truths[at]
        yield row
