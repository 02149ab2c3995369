from typing_extensions import Buffer

class Moments:
    """Count, mean, M2, minimum and maximum of finite values, mergeable. O(1), 40 bytes of state.

    NaN and infinities are ValueError: callers count those. -0.0 is taken as 0.0. The mean stays
    finite for all finite input; m2 is inf, never NaN, once it exceeds the largest double.
    Welford's update, Chan's merge (csrc/em_moments.h).

    >>> moments = Moments()
    >>> for x in (1.0, 2.0, 6.0):
    ...     moments.push(x)
    >>> moments.count, moments.mean, moments.variance
    (3, 3.0, 7.0)
    """

    def __init__(self) -> None: ...
    def push(self, x: float) -> None: ...
    def push_many(self, values: Buffer) -> None:
        """Pushes a contiguous buffer of doubles: all of it, or, on ValueError, nothing."""
    def merge(self, other: Moments) -> None: ...
    def reset(self) -> None: ...
    def state(self) -> tuple[int, float, float, float, float]:
        """(count, mean, m2, min, max); (0, 0.0, 0.0, inf, -inf) when empty."""
    @staticmethod
    def from_state(state: tuple[int, float, float, float, float]) -> Moments:
        """What `state` gave. ValueError when no stream could have these moments."""
    @property
    def count(self) -> int: ...
    @property
    def mean(self) -> float:
        """NaN while empty, as are min and max."""
    @property
    def m2(self) -> float:
        """Sum of squared deviations from the mean."""
    @property
    def min(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def variance(self) -> float:
        """m2 / (count - 1); NaN below two values."""
