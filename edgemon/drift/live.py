"""How far a stream's values depend on each other, as they come: sqrt(tau) without a reference.

The commonest reference is shuffled, and shows nothing. So blocks of values are looked at here: each
gives an estimate as the profile's (edgemon/drift/autocorrelation.py) from three indicator series,
about the block's own means, and the lower median of the last nine is taken: a drift within one block
looks like dependence, and must not make its own detector deaf.
"""

from __future__ import annotations

import math

from edgemon.drift.autocorrelation import Indicator, integrated_time
from edgemon.std.array import array
from edgemon.std.collections.abc import Callable, Sequence

# Values of a block, at least: fewer tell little.
MIN_BLOCK = 250
# Estimates that are kept; when there are so many, one block in _REST_BLOCKS is looked at.
_ESTIMATES = 9
_REST_BLOCKS = 8
# A disagreement is told when there are all estimates, and their median lies so many `noise` up: of independent values
# one block in forty does (simulated, 1,500 blocks each of 250 to 2,000 values), so five of nine do once in a million.
_TOLD_ABOVE = 0.8
# About twice the relative standard error of the estimate from one block of 1,000 values.
_NOISE = 0.25
# One-sided 95 % point of the normal law: what is used lies as many standard errors up.
_Z95 = 1.6448536269514722
# Changes smaller than this leave thresholds where they are.
_STEP = 1.15


class LiveDependence:
    """sqrt(tau) to be used: the profile's, or more, where the stream says so.

    of_profile: >= 1.  window: values between two calls of `end_of_window`; a block is one window, or
    as many as hold 250 values.
    Memory: nine numbers, and 8 bytes a value of a block while it is collected.  Time: some 0.3 ms for
    a block of 1,000, all of the first nine and one in eight of the later ones.
    """

    __slots__ = (
        "_block", "_collected", "_estimates", "_left", "_news", "_noise", "_of_profile", "_resting", "_windows",
        "sqrt_tau", "told",
    )  # fmt: skip

    def __init__(self, of_profile: float, window: int) -> None:
        self._of_profile = of_profile
        self._windows = -(-MIN_BLOCK // window)
        self._block = self._windows * window
        self._noise = _NOISE * math.sqrt(1000.0 / self._block)
        self._collected = array("q")
        self._estimates: list[tuple[float, int]] = []  # sqrt(tau) and the last lag in it
        self._resting = 0
        self.sqrt_tau = of_profile
        self.told = False
        self._news = True  # estimates that `to_tell` has not seen
        self._left = 0  # windows that the block lacks; below 0: it is not collected
        self.begin()

    def begin(self) -> None:
        """A block begins with the next value; one that is open is dropped."""
        del self._collected[:]
        if len(self._estimates) >= _ESTIMATES:
            self._resting = (self._resting + 1) % _REST_BLOCKS
        self._left = -self._windows if self._resting else self._windows

    @property
    def collects(self) -> bool:
        """Whether the window that is open is part of a block that counts."""
        return self._left > 0

    def end_of_window(
        self,
        latest: Callable[[], Sequence[int]],
        series: Callable[[array[int]], list[Indicator]],
    ) -> bool:
        """`window` values have come since the last call; True when `sqrt_tau` is another by now.

        latest: gives a number for each of them.  series: makes the indicator series of a block.
        """
        if self._left < 0:
            self._left += 1
        else:
            self._collected.extend(latest())
            self._left -= 1
        if self._left:
            return False
        changed = False
        if self._collected:
            found = series(self._collected)
            changed = self.add_block([one for one in found if not one.constant])
        self.begin()
        return changed

    @property
    def ready(self) -> bool:
        """Whether there is an estimate at all: until then no alarm can be trusted."""
        return bool(self._estimates)

    @property
    def estimate(self) -> float:
        """Of the stream alone; 1 before the first block."""
        return self._median()[0]

    def _median(self) -> tuple[float, int]:
        ordered = sorted(self._estimates)
        return ordered[(len(ordered) - 1) // 2] if ordered else (1.0, 0)

    def add_block(self, series: Sequence[Indicator]) -> bool:
        """The indicator series of one block; True when `sqrt_tau` is another by now."""
        tau, last = integrated_time(series) if series else (1.0, 0)
        self._news = True
        self._estimates = [*self._estimates[1 - _ESTIMATES :], (math.sqrt(max(1.0, tau)), last)]
        wanted = self._upper_bound() if self._disagrees() else self._of_profile
        if 1.0 / _STEP < wanted / self.sqrt_tau < _STEP:
            return False
        self.sqrt_tau = wanted
        return True

    def _upper_bound(self) -> float:
        """Madras and Sokal's standard error, for as many values as all blocks have; a block's own mean
        makes its estimate too low by about tau / block."""
        root, last = self._median()
        values = self._block * len(self._estimates)
        error = math.sqrt(2.0 * (2 * last + 1) / values)
        return root * math.sqrt(1.0 + _Z95 * error + min(1.0, root * root / self._block))

    def _disagrees(self) -> bool:
        sure = 1.0 + self._noise / math.sqrt(len(self._estimates))
        return self.estimate > sure * max(1.05, self._of_profile)

    def to_tell(self) -> bool:
        """True once: profile and stream disagree, and that is no whim of some blocks."""
        if not self._news or self.told or len(self._estimates) < _ESTIMATES:
            return False
        self._news = False
        if self.estimate <= (1.0 + _TOLD_ABOVE * self._noise) * max(1.05, self._of_profile):
            return False
        self.told = True
        return True

    def to_state(self) -> list[object]:
        """For a checkpoint."""
        collected = self._collected.tolist()
        return [self._estimates, self._resting, self.sqrt_tau, self.told, self._left, collected]

    def restore(self, state: list[object]) -> None:
        """As it was; ValueError or TypeError when that is no state."""
        estimates, resting, sqrt_tau, told, left, collected = state
        if not (isinstance(resting, int) and isinstance(left, int) and isinstance(collected, list)):
            raise TypeError("a block that is none")
        if not (isinstance(estimates, list) and isinstance(sqrt_tau, float) and sqrt_tau >= 1.0):
            raise TypeError("a dependence that is none")
        self._estimates = [(float(root), int(last)) for root, last in estimates][-_ESTIMATES:]
        self._resting, self._left = resting, left
        self._collected = array("q", collected)
        self.sqrt_tau, self.told = sqrt_tau, bool(told)
