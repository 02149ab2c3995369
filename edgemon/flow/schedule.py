"""When the next burst is due: every so often, at times of the day, or both. Pure.

`every` counts on the monotonic clock from the start of the last burst; the first is due at once.
Times of the day are local wall clock. A clock that is set forward over one of them makes that one
due; one that is set back makes it come again. A time that a daylight-saving change skips comes as
late as the change.
"""

from __future__ import annotations

import time

from edgemon.std.collections.abc import Sequence

NEVER = float("inf")
# The wall clock may be set at any time: look at it at least so often.
CHECK_S = 600.0


class Schedule:
    """every_s: 0 for none of these.  at: "HH:MM".  now: monotonic seconds.  wall: since 1970.

    >>> schedule = Schedule(60.0, [], now=0.0, wall=0.0)
    >>> schedule.due(0.0, 0.0), schedule.due(0.0, 0.0)
    (True, False)
    >>> schedule.wait_s(10.0, 10.0), schedule.due(60.0, 60.0)
    (50.0, True)
    """

    __slots__ = ("_at", "_every_s", "_next_now", "_next_wall")

    def __init__(self, every_s: float, at: Sequence[str], now: float, wall: float) -> None:
        self._every_s = every_s
        self._at = [(int(text[:2]), int(text[3:])) for text in at]
        self._next_now = now if every_s else NEVER
        self._next_wall = self._next_time(wall)

    def due(self, now: float, wall: float) -> bool:
        """Whether one is due; if so it counts as started now."""
        if now < self._next_now and wall < self._next_wall:
            self._next_wall = min(self._next_wall, self._next_time(wall))  # the clock was set back
            return False
        if self._every_s:
            self._next_now = now + self._every_s
        self._next_wall = self._next_time(wall)
        return True

    def wait_s(self, now: float, wall: float) -> float:
        """Seconds until due() is to be asked again, CHECK_S at most when there are times of day."""
        wait = self._next_now - now
        if self._at:
            wait = min(wait, self._next_wall - wall, CHECK_S)
        return max(0.0, wait)

    def next_s(self, now: float, wall: float) -> float:
        """Seconds until the next one, as far as the clocks know; NEVER when there is none."""
        return max(0.0, min(self._next_now - now, self._next_wall - wall))

    def _next_time(self, wall: float) -> float:
        """The first of the times of day after `wall`."""
        if not self._at:
            return NEVER
        today = time.localtime(wall)
        moments = (
            time.mktime(
                (today.tm_year, today.tm_mon, today.tm_mday + day, hour, minute, 0, 0, 0, -1)
            )
            for day in (0, 1)
            for hour, minute in self._at
        )
        return min(moment for moment in moments if moment > wall)
