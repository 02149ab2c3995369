"""What goes wrong with models and their data: how it is made to happen, and the event that must come out.

A failure says what bad rows look like, and what healthy rows that resemble them look like: its twin, which must raise
nothing. What goes wrong with devices is in acts.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.failures.plant import SENSORS, STATES, Plant, Rows
from tests.failures.world import World

Draw = Callable[[Plant, int], Rows]


class Failure(NamedTuple):
    """bad, twin: draw n rows.  event, stream: what must come, for which stream; "" for any.  within: predictions.

    truths: what came of the predictions is told soon after.  settings: of both models.  toml: added to the
    configuration.
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
    settings: str = ""
    toml: str = ""

    def world(self, folder: Path, profiles: Path) -> World:
        """Where it will happen; not started."""
        return World(folder, profiles, self.toml, seed=2, settings=self.settings)

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


def _held(values: int) -> Draw:
    """A sensor gives its last value so many times."""

    def draw(plant: Plant, n: int) -> Rows:
        rows = plant.wear(n)
        pressure = np.asarray(rows.features["pressure"]).copy()
        pressure[:values] = pressure[0]
        return rows.with_feature("pressure", pressure)

    return draw


def _again(plant: Plant, n: int) -> Rows:
    """Every second row is sent twice, as by a loop that does not wait for the sensor."""
    rows = plant.wear(n)
    at = np.arange(n) - np.arange(n) % 2
    features = {
        name: [column[i] for i in at] if isinstance(column, list) else column[at]
        for name, column in rows.features.items()
    }
    return rows._replace(features=features)


def _timed(rate: float, by_s: float) -> Draw:
    """Rows with a time of their own, a share of them off by so much."""

    def draw(plant: Plant, n: int) -> Rows:
        off = by_s * (plant.random.random(n) < rate)
        return plant.wear(n)._replace(ts=(time.time() + off).tolist())

    return draw


def _errors(share: float) -> Draw:
    def draw(plant: Plant, n: int) -> Rows:
        return plant.wear(n)._replace(errors=round(share * n))

    return draw


def _other_truths(plant: Plant, n: int) -> Rows:
    """The world has changed: what was class 0 is class 1 now, half of the time."""
    rows = plant.eye(n)
    assert rows.truths is not None
    change = (plant.random.random(n) < 0.5).tolist()
    truths = [
        "1" if is_changed and truth == "0" else truth
        for truth, is_changed in zip(rows.truths, change, strict=True)
    ]
    return rows._replace(truths=truths)


def _biased_truths(plant: Plant, n: int) -> Rows:
    rows = plant.wear(n)
    assert rows.truths is not None
    return rows._replace(truths=[truth + 0.3 for truth in rows.truths])


TRUTHS = 'truth = { join = "always" }'

OF_PREDICTIONS = [
    # Inputs whose law changes.
    Failure("input-jump", "a sensor jumps by two standard deviations", _shift("pressure", 2.0),
            "drift.started", "f:pressure", 100),
    Failure("input-offset", "a sensor is half a standard deviation off", _shift("pressure", 0.5),
            "drift.started", "f:pressure", 1500),
    Failure("input-wider", "a sensor's noise doubles, its mean stays", _wider, "drift.started", "f:pressure", 500),
    Failure("input-ramp", "a sensor drifts slowly away", _ramp, "drift.started", "f:pressure", 3000),
    Failure("unit-changed", "degrees Fahrenheit where Celsius were", _fahrenheit, "drift.started", "f:temperature", 50),
    Failure("columns-swapped", "two features arrive under each other's name", _swapped, "drift.started", "f:flow", 100,
            twin=_other_order, twin_is="the same features in another order"),
    Failure("category-shares", "states come with other shares", _states(0.3, 0.3, 0.4),
            "drift.started", "f:state", 300),
    # Data that are wrong.
    Failure("missing", "one value in five is missing", _some("flow", 0.2, None), "quality.missing", "f:flow", 100),
    Failure("nan", "one value in five is NaN", _some("flow", 0.2, float("nan")), "quality.nan", "f:flow", 100),
    Failure("infinite", "one value in twenty is infinite", _some("flow", 0.05, float("inf")),
            "quality.infinite", "f:flow", 300),
    Failure("out-of-range", "one value in ten is beyond what the sensor can measure", _some("flow", 0.1, 50.0),
            "quality.out_of_range", "f:flow", 200),
    Failure("wrong-type", "a number arrives as text", _some("flow", 1.0, "n/a"), "quality.wrong_type", "f:flow", 100),
    Failure("new-category", "a state that the profile does not know", _states(0.5, 0.3, 0.1, 0.1),
            "quality.new_category", "f:state", 200),
    Failure("feature-gone", "a feature is not sent any more", _without("flow"), "quality.features_changed", "", 100,
            twin=_other_order, twin_is="the same features in another order"),
    Failure("feature-new", "a feature that was never there", _with_another, "quality.features_changed", "", 100),
    Failure("stuck", "a sensor gives one value over and over", _held(400), "quality.stuck", "f:pressure", 500,
            twin=_held(30), twin_is="30 equal values in a row, and a sensor that never moves"),
    Failure("repeated", "rows are sent twice", _again, "quality.repeated", "", 200),
    Failure("late", "one row in ten is a day late", _timed(0.1, -86_400.0), "quality.late", "", 300,
            twin=_timed(0.1, -0.01), twin_is="rows that are 10 ms late"),
    Failure("early", "one row in ten has a time that is to come", _timed(0.1, 120.0), "quality.early", "", 300,
            twin=_timed(0.0, 0.0), twin_is="rows with the time of now"),
    Failure("out-of-order", "one row in five comes before the one before it", _timed(0.2, -30.0),
            "quality.out_of_order", "", 300, twin=_timed(0.2, -0.01), twin_is="rows that are 10 ms out of order"),
    # The model.
    Failure("output-shift", "the model predicts higher values", _outputs(lambda y: y + 0.3),
            "drift.started", "output", 300),
    Failure("output-collapse", "the model always predicts the same", _outputs(lambda y: np.full(len(y), 2.0)),
            "quality.stuck", "output", 500),
    Failure("output-nan", "one prediction in ten is NaN",
            _outputs(lambda y: np.where(np.arange(len(y)) % 10 == 0, np.nan, y)), "quality.nan", "output", 200),
    Failure("unsure", "the classifier gets unsure", _unsure, "drift.started", "confidence", 200, model="eye"),
    Failure("unsure-estimate", "the classifier gets unsure, and no truth comes", _unsure, "performance.drop", "", 3000,
            model="eye"),
    Failure("one-class", "the classifier sees one class only", _one_class, "drift.started", "class", 200, model="eye"),
    Failure("concept", "the same inputs mean another class", _other_truths, "performance.drop", "", 1000, model="eye",
            truths=True, settings=TRUTHS),
    Failure("bias", "the truth lies above what the model says", _biased_truths, "performance.drop", "", 1000,
            truths=True, settings=TRUTHS),
    Failure("errors", "one call in ten fails", _errors(0.1), "errors.started", "", 2000,
            twin=_errors(0.002), twin_is="two calls in a thousand fail"),
    Failure("slow", "predictions take twice as long", _slow(2.0), "drift.started", "latency", 300),
    Failure("too-slow", "predictions take longer than a rule allows", _slow(8.0), "rule.fired", "", 1000,
            toml='[[rules]]\nwhen = "latency.p99 > 60ms"\n'),
]  # fmt: skip
