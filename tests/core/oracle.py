"""Slow and obvious: what the fast kernels are held against."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from edgemon._core.ks import Reference


def reference_of(sample: list[float]) -> Reference:
    """A Reference from an unsorted sample with ties."""
    counts = Counter(x + 0.0 for x in sample)
    values = sorted(counts)
    return Reference(array("d", values), array("q", [counts[x] for x in values]))


def ks_from_scratch(sample: list[float], window: list[float]) -> tuple[int, int]:
    """(h, lcm): the definition, evaluated at every value in fractions."""
    if not window:
        return 0, len(sample)
    lcm = math.lcm(len(sample), len(window))
    largest = Fraction(0)
    for x in sample + window:
        ours = Fraction(sum(r <= x for r in sample), len(sample))
        theirs = Fraction(sum(w <= x for w in window), len(window))
        largest = max(largest, abs(ours - theirs))
    h = largest * lcm
    assert h.denominator == 1
    return int(h), lcm


def ks_at_every_slide(sample: list[float], stream: list[float], n: int) -> NDArray[np.int64]:
    """h of each full window of the stream, by counting anew what lies at or below each value."""
    places = np.unique(np.array(sample + stream))
    lcm = math.lcm(len(sample), n)
    ours = (np.array(sample)[:, None] <= places).sum(axis=0) * (lcm // len(sample))
    below = np.zeros((len(stream) + 1, len(places)), dtype=np.int64)
    np.cumsum(np.array(stream)[:, None] <= places, axis=0, out=below[1:])
    theirs = (below[n:] - below[:-n]) * (lcm // n)
    result: NDArray[np.int64] = np.abs(ours - theirs).max(axis=1)
    return result


class SegmentTreeKS:
    """h after every update in O(log u): each node keeps its sum, largest and smallest prefix sum.

    A third way to the same number, which shares neither the bucket ring's stripes nor the scan's
    schedule; it takes the window's values back by value, not by remembered place.
    """

    def __init__(self, sample: list[float], n: int) -> None:
        counts = Counter(sample)
        self._values = sorted(counts)
        self._n = n
        self._window: list[float] = []
        lcm = math.lcm(len(sample), n)
        self._w_w = lcm // n
        self._size = 1 << (2 * len(self._values)).bit_length()
        self._nodes = [(0, 0, 0)] * (2 * self._size)
        for i, value in enumerate(self._values):
            self._add(2 * i + 1, counts[value] * (lcm // len(sample)))

    def _add(self, leaf: int, step: int) -> None:
        i = leaf + self._size
        total = self._nodes[i][0] + step
        self._nodes[i] = (total, max(total, 0), min(total, 0))
        while i > 1:
            i //= 2
            left, right = self._nodes[2 * i], self._nodes[2 * i + 1]
            self._nodes[i] = (
                left[0] + right[0],
                max(left[1], left[0] + right[1]),
                min(left[2], left[0] + right[2]),
            )

    def _leaf(self, x: float) -> int:
        below = sum(value < x for value in self._values)
        return 2 * below + (x in self._values)

    def push(self, x: float) -> int | None:
        """h, None while the window fills."""
        self._add(self._leaf(x), -self._w_w)
        self._window.append(x)
        if len(self._window) > self._n:
            self._add(self._leaf(self._window.pop(0)), self._w_w)
        return max(self._nodes[1][1], -self._nodes[1][2]) if len(self._window) == self._n else None


def lower_quantile(values: list[float], q: float) -> float:
    """The value of rank floor(q * (count - 1))."""
    return sorted(values)[math.floor(q * (len(values) - 1))]
