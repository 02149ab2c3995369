"""Five models of different kinds, healthy for as long as they run: what they predict, how often, and what was true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

REFERENCE_ROWS = 10_000
TRUTH_DELAY_S = 600.0
MISSING, REPEATED, FAILED = 0.01, 0.005, 0.003

Row = dict[str, Any]
Draw = Callable[[np.random.Generator], Row]


def press(random: np.random.Generator) -> Row:
    """A quantity, from three sensors, of which one is absent now and then, and a state."""
    pressure, temperature = random.normal(5.0, 0.5), random.normal(20.0, 2.0)
    output = 0.2 * pressure + 0.05 * temperature + random.normal(0.0, 0.1)
    features = {
        "pressure": pressure,
        "temperature": None if random.random() < MISSING else temperature,
        "flow": random.uniform(0.0, 10.0),
        "state": str(random.choice(("idle", "run", "wash"), p=(0.6, 0.3, 0.1))),
    }
    return {"output": output, "features": features, "label": output + random.normal(0.0, 0.2)}


def eye(random: np.random.Generator) -> Row:
    """Confidences of three classes, right as often as they say."""
    sure, top = random.beta(8.0, 2.0), int(random.integers(3))
    output = [(1.0 - sure) / 2.0] * 3
    output[top] = sure
    label = int(random.choice(3, p=output))
    return {"output": output, "features": {"size": random.normal(40.0, 5.0)}, "label": str(label)}


def sort(random: np.random.Generator) -> Row:
    """A text, right in nine of ten."""
    output = str(random.choice(("ok", "rework", "scrap"), p=(0.9, 0.08, 0.02)))
    label = "ok" if random.random() < 0.1 else output
    features = {"material": str(random.choice(("steel", "brass"))), "weight": random.gamma(9.0)}
    return {"output": output, "features": features, "label": label}


def line(random: np.random.Generator) -> Row:
    """A number, without a profile: it makes its own reference from what comes first."""
    speed = random.normal(100.0, 10.0)
    return {"output": 2.0 * speed + random.normal(), "features": {"speed": speed}}


class Model(NamedTuple):
    """truths: share of predictions whose truth is told later.  burst_s: mean pause between bursts, 0: it is steady."""

    name: str
    draw: Draw
    profile: bool = True
    truths: float = 0.0
    burst_s: float = 0.0


MODELS = (
    Model("press", press, truths=0.3),
    Model("eye", eye, truths=0.3),
    Model("sort", sort, truths=0.1),
    Model("line", line, profile=False),
    Model("night", press, burst_s=600.0),
)


class Source:
    """One model's predictions in simulated time, about one a second; of `night` up to 20 after each pause."""

    def __init__(self, model: Model, seed: int) -> None:
        self.model = model
        self._random = np.random.default_rng([seed, *model.name.encode()])
        self._next_s = 0.0
        self._drawn = 0
        self._before: Row = {}

    def due(self, until_s: float) -> list[Row]:
        """What came until then since the last call; {"error": …} is a prediction that failed."""
        rows = []
        while self._next_s <= until_s:
            if self.model.burst_s:
                rows += [self._row() for _ in range(self._random.integers(1, 21))]
                self._next_s += self._random.exponential(self.model.burst_s)
            else:
                rows.append(self._row())
                self._next_s += 1.0
        return rows

    def reference(self) -> list[Row]:
        """What a profile is made from."""
        rows = (self._row() for _ in range(REFERENCE_ROWS))
        return [row for row in rows if "error" not in row]

    def tells_truth(self) -> bool:
        return bool(self._random.random() < self.model.truths)

    def _row(self) -> Row:
        random = self._random
        if random.random() < FAILED:
            return {"error": "timeout"}
        row = self.model.draw(random)
        if self._before and random.random() < REPEATED:
            row |= {"features": self._before["features"]}
        self._before = row
        self._drawn += 1
        latency = random.lognormal(-4.6, 0.3)  # around 10 ms
        return row | {"id": f"{self.model.name}-{self._drawn}", "latency": latency}


def write_reference(path: Path, model: Model, seed: int) -> None:
    """JSON lines, as `edgemon profile build` takes them, with the truth beside each prediction."""
    with path.open("w") as file:
        for row in Source(model, seed).reference():
            file.write(json.dumps({"model": model.name} | row) + "\n")
