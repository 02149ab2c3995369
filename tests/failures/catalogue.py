"""What goes wrong with models and their data: how it is made to happen, and the event that must come out.

A failure says what bad rows look like, and what healthy rows that resemble them look like: its twin, which must raise
nothing. What goes wrong with devices is in acts.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.failures.plant import SENSORS, STATES, Column, Plant, Rows

Draw = Callable[[Plant, int], Rows]


class Failure(NamedTuple):
    """bad, twin: draw n rows.  event, stream: what must come, for which stream; "" for any.  within: predictions.

    truths: what came of the predictions is told after them.  toml: added to the configuration.
    """

    name: str
    what: str
    bad: Draw
    event: str
    stream: str = ""
    within: int = 1000
    model: str = "wear"
    twin: Draw | None = None
    twin_is: str = "healthy rows"
    truths: bool = False
    toml: str = ""

    def healthy(self, plant: Plant, n: int) -> Rows:
        """Of the twin, or of the model as it is in health."""
        draw = self.twin or (Plant.wear if self.model == "wear" else Plant.eye)
        return draw(plant, n)


def _shift(name: str, sigmas: float) -> Draw:
    scale = {"pressure": 0.5, "temperature": 2.0}[name]

    def draw(plant: Plant, n: int) -> Rows:
        rows = plant.wear(n)
        return rows.with_feature(name, np.asarray(rows.features[name]) + sigmas * scale)

    return draw


def _outputs(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Draw:
    def draw(plant: Plant, n: int) -> Rows:
        rows = plant.wear(n)
        return rows._replace(outputs=change(np.asarray(rows.outputs)))

    return draw


def _some(name: str, rate: float, value: float | str | None) -> Draw:
    """A share of a feature's values is another one."""

    def draw(plant: Plant, n: int) -> Rows:
        rows = plant.wear(n)
        hit = plant.random.random(n) < rate
        values = [
            value if is_hit else one
            for one, is_hit in zip(list(rows.features[name]), hit, strict=True)
        ]
        return rows.with_feature(name, values)

    return draw


def _wider(plant: Plant, n: int) -> Rows:
    return plant.wear(n).with_feature("pressure", plant.random.normal(5.0, 1.0, n))


def _fahrenheit(plant: Plant, n: int) -> Rows:
    rows = plant.wear(n)
    return rows.with_feature("temperature", np.asarray(rows.features["temperature"]) * 1.8 + 32.0)


def _swapped(plant: Plant, n: int) -> Rows:
    rows = plant.wear(n)
    swapped = {"pressure": rows.features["flow"], "flow": rows.features["pressure"]}
    return rows._replace(features=rows.features | swapped)


def _ramp(plant: Plant, n: int) -> Rows:
    rows = plant.wear(n)
    return rows.with_feature(
        "pressure", np.asarray(rows.features["pressure"]) + np.linspace(0, 1.0, n)
    )


def _states(*shares: float) -> Draw:
    def draw(plant: Plant, n: int) -> Rows:
        names = [*STATES, "flood"][: len(shares)]
        return plant.wear(n).with_feature("state", plant.random.choice(names, n, p=shares).tolist())

    return draw


def _without(name: str) -> Draw:
    def draw(plant: Plant, n: int) -> Rows:
        rows = plant.wear(n)
        return rows._replace(features={k: v for k, v in rows.features.items() if k != name})

    return draw


def _with_another(plant: Plant, n: int) -> Rows:
    return plant.wear(n).with_feature("vibration", plant.random.normal(0.0, 1.0, n))


def _other_order(plant: Plant, n: int) -> Rows:
    rows = plant.wear(n)
    return rows._replace(features={name: rows.features[name] for name in ("state", *SENSORS[::-1])})


def _frozen(plant: Plant, n: int) -> Rows:
    return plant.wear(n).with_feature("flow", np.full(n, 4.25))


def _read_twice(share: float) -> Draw:
    """A share of predictions has the features of the one before."""

    def draw(plant: Plant, n: int) -> Rows:
        rows = plant.wear(n)
        again = plant.random.random(n) < share
        again[0] = False
        last = np.maximum.accumulate(np.where(again, 0, np.arange(n)))
        features: dict[str, Column] = {
            name: [values[at] for at in last] for name, values in rows.features.items()
        }
        return rows._replace(features=features)

    return draw


def _timed(off_s: float = 0.0, share: float = 0.2) -> Draw:
    """With times of their own, a share of which is off."""

    def draw(plant: Plant, n: int) -> Rows:
        off = off_s * (plant.random.random(n) < share)
        times = time.time() + 0.001 * np.arange(n) + off
        return plant.wear(n)._replace(ts=times.tolist())

    return draw


def _slow(factor: float) -> Draw:
    def draw(plant: Plant, n: int) -> Rows:
        rows = plant.wear(n)
        return rows._replace(latency=np.asarray(rows.latency) * factor)

    return draw


def _unsure(plant: Plant, n: int) -> Rows:
    rows = plant.eye(n)
    return rows._replace(outputs=0.5 * np.asarray(rows.outputs) + 0.5 / 3.0)


def _one_class(plant: Plant, n: int) -> Rows:
    rows = plant.eye(n)
    outputs = np.asarray(rows.outputs)
    return rows._replace(outputs=-np.sort(-outputs, axis=1))


OF_PREDICTIONS = [
    Failure("input-jump", "a sensor jumps by two standard deviations", _shift("pressure", 2.0),
            "drift.started", "f:pressure", 100),
    Failure("input-offset", "a sensor is half a standard deviation off", _shift("pressure", 0.5),
            "drift.started", "f:pressure", 1500),
    Failure("input-wider", "a sensor's noise doubles, its mean stays", _wider, "drift.started", "f:pressure", 500),
    Failure("input-ramp", "a sensor drifts slowly away", _ramp, "drift.started", "f:pressure", 3000,
            twin=_shift("pressure", 0.0)),
    Failure("unit-changed", "degrees Fahrenheit where Celsius were", _fahrenheit, "drift.started", "f:temperature", 50),
    Failure("columns-swapped", "two features arrive under each other's name", _swapped, "drift.started", "f:flow", 100,
            twin=_other_order, twin_is="the same features in another order"),
    Failure("new-category", "a state that the profile does not know", _states(0.5, 0.3, 0.1, 0.1),
            "quality.new_category", "f:state", 300),
    Failure("category-shares", "states come with other shares", _states(0.3, 0.3, 0.4),
            "drift.started", "f:state", 300),
    Failure("missing", "one value in five is missing", _some("flow", 0.2, None), "quality.missing", "f:flow", 200),
    Failure("nan", "one value in five is NaN", _some("flow", 0.2, float("nan")), "quality.nan", "f:flow", 200),
    Failure("infinite", "one value in five is infinite", _some("flow", 0.2, float("inf")),
            "quality.infinite", "f:flow", 200),
    Failure("out-of-range", "one value in ten is beyond what the sensor can measure", _some("flow", 0.1, 50.0),
            "quality.out_of_range", "f:flow", 300),
    Failure("feature-gone", "a feature is not sent any more", _without("flow"), "quality.features_changed", "", 100,
            twin=_other_order, twin_is="the same features in another order"),
    Failure("feature-new", "a feature that was never there", _with_another,
            "quality.features_changed", "f:vibration", 100),
    Failure("wrong-type", "a number arrives as text", _some("flow", 1.0, "n/a"), "quality.wrong_type", "f:flow", 100),
    Failure("stuck", "a sensor sends one value over and over", _frozen, "quality.stuck", "f:flow", 300),
    Failure("repeated", "one row in five is sent twice", _read_twice(0.2), "quality.repeated", "", 500,
            twin=_read_twice(0.0)),
    Failure("late", "one prediction in five is an hour old", _timed(-3_600.0), "quality.late", "", 500,
            twin=_timed(), twin_is="predictions with times of their own"),
    Failure("early", "one prediction in five is from the future", _timed(600.0), "quality.early", "", 500,
            twin=_timed(), twin_is="predictions with times of their own"),
    Failure("out-of-order", "predictions arrive in disorder", _timed(-30.0), "quality.out_of_order", "", 500,
            twin=_timed(), twin_is="predictions with times of their own"),
    Failure("output-shift", "the model predicts higher values", _outputs(lambda y: y + 0.3),
            "drift.started", "output", 300),
    Failure("output-collapse", "the model always predicts the same", _outputs(lambda y: np.full(len(y), 2.0)),
            "drift.started", "output", 300),
    Failure("unsure", "the classifier gets unsure", _unsure, "drift.started", "confidence", 200, model="eye"),
    Failure("one-class", "the classifier sees one class only", _one_class, "drift.started", "class", 200, model="eye"),
    Failure("slow", "predictions take twice as long", _slow(2.0), "drift.started", "latency", 300),
]  # fmt: skip
