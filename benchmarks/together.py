"""All detectors of a model together on healthy streams: how many models raise any alarm.

Models of 10 numeric streams with a reference of 5,000 and a window of 500, budget 20 % in 20,000
predictions; each model has a reference of its own. "shuffled" hides the reference's dependence.
told: streams for which drift.autocorrelated was sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

from benchmarks._settings import Budget, Settings
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.detector import ModelDetectors

MODELS = 40
STREAMS = 10
REFERENCE = 5_000
PREDICTIONS = 20_000
AT_MOST = 0.2

Values = NDArray[np.float64]
Law = Callable[[np.random.Generator, int], Values]


def _autoregressive(phi: float) -> Law:
    def draw(rng: np.random.Generator, n: int) -> Values:
        noise = rng.standard_normal(n + 500) * np.sqrt(1.0 - phi * phi)
        values: Values = signal.lfilter([1.0], [1.0, -phi], noise)[500:]
        return values

    return draw


LAWS: dict[str, Law] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(n),
    "four levels": lambda rng, n: rng.integers(0, 4, n).astype(np.float64),
    "90 % zeros": lambda rng, n: np.maximum(0.0, rng.random(n) - 0.9),
    "AR(1) 0.5": _autoregressive(0.5),
    "AR(1) 0.9": _autoregressive(0.9),
}


def model(law: Law, seed: int, *, shuffled: bool) -> tuple[list[str], int]:
    """(who raised an alarm on each stream that did, streams told to be dependent)."""
    rng = np.random.default_rng([3, seed])
    builder = ProfileBuilder("model")
    for i in range(STREAMS):
        values = law(rng, REFERENCE)
        if shuffled:
            rng.shuffle(values)
        for x in values.tolist():
            builder.number(f"f:{i}", x)
    builder.row_done(REFERENCE)
    alarms, told = [], 0
    # Without a least effect: only the statistics are on trial.
    settings = Settings(500, Budget(AT_MOST, PREDICTIONS), min_effect=0.0)
    for detector in ModelDetectors(builder.finish(), settings):
        for x in law(rng, PREDICTIONS).tolist():
            news = detector.push(x)
            if news is not None:
                told += news.what == "autocorrelated"
                if news.what == "started":
                    alarms.append(str(news.data["by"]))
                    break
    return alarms, told


def main() -> None:
    print(f"{MODELS} models each, {AT_MOST:.0%} may raise an alarm\n")
    print(f"{'law':<12} {'reference':<9} {'models that alarmed':<28} by      streams told")
    for name, law in LAWS.items():
        for shuffled in (False, True) if name.startswith("AR") else (False,):
            found = [model(law, seed, shuffled=shuffled) for seed in range(MODELS)]
            alarmed = sum(bool(alarms) for alarms, _ in found)
            interval = stats.binomtest(alarmed, MODELS).proportion_ci(method="exact")
            by = Counter(name for alarms, _ in found for name in alarms)
            share = f"{alarmed / MODELS:.1%} ({interval.low:.1%} to {interval.high:.1%})"
            told = sum(told for _, told in found)
            print(
                f"{name:<12} {'shuffled' if shuffled else 'in order':<9} {share:<28} "
                f"{dict(by) or '-'!s:<7} {told} of {MODELS * STREAMS}",
                flush=True,
            )
