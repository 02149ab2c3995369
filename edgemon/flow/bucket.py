"""Token bucket: so many bytes a second in the mean, with a bound on what may go at once. Pure.

What is to be sent cannot be divided, and may be larger than any bucket. So it may go as soon as
there is no debt, and its whole size is taken, which may leave a debt that time pays off. Over any
span of T seconds at most rate * T + burst + one item passes.
"""

from __future__ import annotations


class TokenBucket:
    """rate: bytes a second, > 0.  burst: bytes that a rest saves up, one second's by default.

    now: monotonic seconds, which never go back.

    >>> bucket = TokenBucket(100.0, now=0.0)
    >>> bucket.take(350, now=0.0); bucket.wait_s(now=0.0)
    2.5
    >>> bucket.wait_s(now=2.5)
    0.0
    """

    __slots__ = ("_at", "_burst", "_level", "rate")

    def __init__(self, rate: float, now: float, burst: float = 0.0) -> None:
        if not rate > 0:
            raise ValueError(f"a rate of {rate}")
        self.rate = rate
        self._burst = burst or rate
        self._level = self._burst
        self._at = now

    def take(self, amount: float, now: float) -> None:
        """So much has been sent."""
        self._fill(now)
        self._level -= amount

    def wait_s(self, now: float) -> float:
        """Seconds until the next may go; 0.0 for at once."""
        self._fill(now)
        return max(0.0, -self._level / self.rate)

    def _fill(self, now: float) -> None:
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)
