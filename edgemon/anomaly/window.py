"""The latest values of a series, in order of time and in order of size."""

from __future__ import annotations

from bisect import bisect_left, insort

from edgemon.std.array import array


class Window:
    """The last `size` values (>= 1, finite); 16 bytes each. Adding one moves O(size) bytes, a quantile is O(1).

    >>> window = Window(3)
    >>> for value in (9.0, 1.0, 2.0, 4.0):
    ...     window.add(value)
    >>> window.median(), window.mad(), len(window)
    (2.0, 1.0, 3)
    """

    __slots__ = ("_next", "_ring", "_size", "_sorted")

    def __init__(self, size: int) -> None:
        self._size = size
        self._ring = array("d")
        self._sorted = array("d")
        self._next = 0

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, value: float) -> None:
        """Take in one value, in place of the oldest when the window is full."""
        if len(self._ring) < self._size:
            self._ring.append(value)
        else:
            self._sorted.pop(bisect_left(self._sorted, self._ring[self._next]))
            self._ring[self._next] = value
            self._next = (self._next + 1) % self._size
        insort(self._sorted, value)

    def values(self) -> list[float]:
        """In order of time, the oldest first."""
        return [*self._ring[self._next :], *self._ring[: self._next]]

    def quantile(self, share: float) -> float:
        """The empirical quantile, 0 <= share <= 1, interpolated linearly (Hyndman & Fan 1996, type 7)."""
        at = share * (len(self._sorted) - 1)
        low = int(at)
        below = self._sorted[low]
        above = self._sorted[min(low + 1, len(self._sorted) - 1)]
        return below + (at - low) * (above - below)

    def median(self) -> float:
        return self.quantile(0.5)

    def mad(self) -> float:
        """The median of the distances from the median (unscaled), O(size): those below and those above it are sorted
        already, and are merged up to the middle.
        """
        values, centre = self._sorted, self.median()
        count = len(values)
        above = bisect_left(values, centre)
        below = above - 1
        before = distance = 0.0
        for _ in range(count // 2 + 1):
            before = distance
            left = centre - values[below] if below >= 0 else float("inf")
            right = values[above] - centre if above < count else float("inf")
            if left <= right:
                distance, below = left, below - 1
            else:
                distance, above = right, above + 1
        return distance if count % 2 else (before + distance) / 2
