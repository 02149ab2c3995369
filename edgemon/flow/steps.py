"""Steps of the wall clock, seen by the clocks that do not step."""

from __future__ import annotations

from edgemon.typed import NamedTuple

LEAST_S = 1.0
_LEAST_NS = int(LEAST_S * 1e9)


class Step(NamedTuple):
    """by_s: how far the wall clock is from where it should be, positive is ahead.

    slept_s: of that, what the device slept, while the monotonic clock stood still.
    """

    by_s: float
    slept_s: float


class ClockSteps:
    """Compares readings. What NTP slews (at most 0.5 ms a second) between two of them is no step.

    >>> steps = ClockSteps(0, 1_000_000_000, 0)
    >>> steps.observe(5_000_000_000, 6_000_000_000, 5_000_000_000)
    >>> steps.observe(6_000_000_000, 3607_000_000_000, 6_000_000_000)
    Step(by_s=3600.0, slept_s=0.0)
    """

    __slots__ = ("_asleep_ns", "_offset_ns")

    def __init__(self, mono_ns: int, wall_ns: int, boot_ns: int) -> None:
        self._offset_ns = wall_ns - mono_ns
        self._asleep_ns = boot_ns - mono_ns

    def stepped(self, mono_ns: int, wall_ns: int) -> bool:
        """Whether `observe` is to be asked; else it would say None, and this is as good."""
        offset_ns = wall_ns - mono_ns
        if -_LEAST_NS < offset_ns - self._offset_ns < _LEAST_NS:
            self._offset_ns = offset_ns
            return False
        return True

    def observe(self, mono_ns: int, wall_ns: int, boot_ns: int) -> Step | None:
        """CLOCK_MONOTONIC, CLOCK_REALTIME and CLOCK_BOOTTIME at one instant, ns."""
        if not self.stepped(mono_ns, wall_ns):
            return None
        by_ns = wall_ns - mono_ns - self._offset_ns
        self._offset_ns += by_ns
        asleep_ns = boot_ns - mono_ns
        slept_ns, self._asleep_ns = asleep_ns - self._asleep_ns, asleep_ns
        return Step(by_ns / 1e9, max(0.0, slept_ns / 1e9))
