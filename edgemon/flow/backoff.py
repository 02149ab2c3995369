"""How long to wait before the next attempt, for ever.

The n-th delay since the last success is drawn evenly from [0, min(max, initial · multiplierⁿ)]:
"full jitter" [1], so that a fleet cut off together does not come back together.

[1] M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from edgemon.std.collections.abc import Callable


class Backoff:
    """Capped exponential delays with full jitter; never gives up.

    initial_s, max_s: seconds, 0 < initial_s <= max_s.  multiplier: >= 1.
    uniform: draws from [0, 1), e.g. random.random; injected so that tests can choose.

    >>> backoff = Backoff(1.0, 10.0, 2.0, uniform=lambda: 0.5)
    >>> [backoff.next_delay() for _ in range(6)]
    [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    >>> backoff.reset()
    >>> backoff.next_delay()
    0.5
    """

    __slots__ = ("_ceiling_s", "_initial_s", "_max_s", "_multiplier", "_uniform", "failures")

    def __init__(
        self, initial_s: float, max_s: float, multiplier: float, uniform: Callable[[], float]
    ) -> None:
        if not 0.0 < initial_s <= max_s:
            raise ValueError(f"0 < initial_s <= max_s, not {initial_s} and {max_s}")
        if not multiplier >= 1.0:
            raise ValueError(f"multiplier is at least 1, not {multiplier}")
        self._initial_s = initial_s
        self._max_s = max_s
        self._multiplier = multiplier
        self._uniform = uniform
        self._ceiling_s = initial_s
        self.failures = 0  # since the last success

    def next_delay(self) -> float:
        """Count one failure; seconds to wait before the next attempt."""
        delay_s = self._ceiling_s * self._uniform()
        # The ceiling itself is capped, so that a year of failures cannot overflow it.
        self._ceiling_s = min(self._max_s, self._ceiling_s * self._multiplier)
        self.failures += 1
        return delay_s

    def reset(self) -> None:
        """An attempt succeeded: begin again at the initial delay."""
        self._ceiling_s = self._initial_s
        self.failures = 0
