"""Totals since boot -> rates per second, shared by the collectors that read totals."""

from __future__ import annotations


class Rates:
    """Remembers the last totals. A total that went back (wrapped, interface replaced) gives no rate that once."""

    __slots__ = ("_last", "_last_s")

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._last_s = 0.0

    def update(self, totals: dict[str, float], now_s: float) -> dict[str, float]:
        """Per-second rates since the call before; {} on the first call."""
        elapsed = now_s - self._last_s
        rates = (
            {
                name: (total - self._last[name]) / elapsed
                for name, total in totals.items()
                if total >= self._last.get(name, float("inf"))
            }
            if elapsed > 0
            else {}
        )
        self._last, self._last_s = totals, now_s
        return rates
