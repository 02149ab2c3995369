"""Counters that the agent keeps about itself. Every drop adds to one that names its reason."""

from __future__ import annotations


class Counters:
    """Monotonic counts by name and reason; names follow `edgemon_<area>_<what>_<unit>[_total]`.

    Bounded by construction: names and reasons are literals of this program, never input.

    >>> counters = Counters()
    >>> counters.add("edgemon_ingest_dropped_events_total", reason="too_large")
    >>> counters.snapshot()
    {'edgemon_ingest_dropped_events_total{reason="too_large"}': 1}
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, name: str, by: int = 1, *, reason: str = "") -> None:
        """Add `by` >= 0 to the counter."""
        key = f'{name}{{reason="{reason}"}}' if reason else name
        self._counts[key] = self._counts.get(key, 0) + by

    def get(self, name: str, *, reason: str = "") -> int:
        """The counter's value, 0 if it never moved."""
        return self._counts.get(f'{name}{{reason="{reason}"}}' if reason else name, 0)

    def snapshot(self) -> dict[str, int]:
        """A copy, sorted by name."""
        return dict(sorted(self._counts.items()))
