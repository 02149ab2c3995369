"""A rate over the last seconds without a timer: two slots, the older one fading out."""

from __future__ import annotations


class RateMeter:
    """Events per second over about the last `slot_s` seconds. O(1), two counts, no wake-up.

    The estimate is (previous slot x the share of it that is still inside the span + this slot) / slot_s.

    >>> meter = RateMeter(slot_s=10.0, now_s=0.0)
    >>> meter.add(50, 5.0)
    >>> meter.rate(10.0)
    5.0
    """

    __slots__ = ("_count", "_previous", "_slot_s", "_start_s")

    def __init__(self, slot_s: float, now_s: float) -> None:
        self._slot_s = slot_s
        self._start_s = now_s
        self._count = 0
        self._previous = 0

    def _roll(self, now_s: float) -> None:
        slots = int((now_s - self._start_s) / self._slot_s)
        if slots > 0:
            self._previous = self._count if slots == 1 else 0
            self._count = 0
            self._start_s += slots * self._slot_s

    def add(self, count: int, now_s: float) -> None:
        if now_s - self._start_s >= self._slot_s:
            self._roll(now_s)
        self._count += count

    def rate(self, now_s: float) -> float:
        self._roll(now_s)
        remaining = 1.0 - (now_s - self._start_s) / self._slot_s
        return (self._previous * remaining + self._count) / self._slot_s
