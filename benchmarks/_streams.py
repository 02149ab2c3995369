"""Healthy streams of several kinds, endless and seeded, in chunks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Values = NDArray[np.float64]
# A stream's next n values.
Stream = Callable[[int], Values]

_LEVELS = np.repeat([0.0, 1.0, 2.0, 3.0, 10.0], [104, 76, 46, 25, 5])


def normal(rng: np.random.Generator) -> Stream:
    """Standard normal, independent."""
    return rng.standard_normal


def heavy_tails(rng: np.random.Generator) -> Stream:
    """Student's t with 2 degrees of freedom, by its quantile function: no variance."""

    def draw(n: int) -> Values:
        u = rng.random(n)
        result: Values = (2.0 * u - 1.0) / np.sqrt(2.0 * (u + 2.0**-54) * (1.0 - u))
        return result

    return draw


def few_levels(rng: np.random.Generator) -> Stream:
    """Five values, with probabilities 0.41, 0.30, 0.18, 0.10 and 0.02."""

    def draw(n: int) -> Values:
        result: Values = _LEVELS[np.frombuffer(rng.bytes(n), np.uint8)]
        return result

    return draw


def mostly_zero(rng: np.random.Generator) -> Stream:
    """90 % zeros, the rest exponential."""

    def draw(n: int) -> Values:
        result: Values = np.maximum(0.0, -np.log(10.0 * (1.0 - rng.random(n))))
        return result

    return draw


def autoregressive(phi: float) -> Callable[[np.random.Generator], Stream]:
    """x' = phi x + normal noise, stationary, variance 1."""

    def make(rng: np.random.Generator) -> Stream:
        state = np.array([phi * rng.standard_normal()])
        scale = math.sqrt(1.0 - phi * phi)

        def draw(n: int) -> Values:
            nonlocal state
            result, state = signal.lfilter(
                [1.0], [1.0, -phi], scale * rng.standard_normal(n), zi=state
            )
            values: Values = result
            return values

        return draw

    return make


KINDS: dict[str, Callable[[np.random.Generator], Stream]] = {
    "normal": normal,
    "t, 2 degrees of freedom": heavy_tails,
    "five levels": few_levels,
    "90 % zeros": mostly_zero,
    "AR(1), 0.5": autoregressive(0.5),
    "AR(1), 0.9": autoregressive(0.9),
}
