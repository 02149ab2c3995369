"""Steps of the wall clock and suspended devices."""

from __future__ import annotations

from edgemon.flow.steps import ClockSteps, Step

S = 1_000_000_000


def test_time_that_passes_and_a_clock_that_is_slewed_are_no_steps() -> None:
    steps = ClockSteps(10 * S, 1000 * S, 10 * S)
    wall = 1000 * S
    for second in range(1, 5000):
        wall += S + 500_000  # 0.5 ms a second: as fast as NTP slews
        assert steps.observe((10 + second) * S, wall, (10 + second) * S) is None


def test_a_step_is_told_once_with_its_sign() -> None:
    steps = ClockSteps(0, 1000 * S, 0)
    assert steps.observe(S, 401 * S, S) == Step(-600.0, 0.0)
    assert steps.observe(2 * S, 402 * S, 2 * S) is None
    assert steps.observe(3 * S, 1_700_000_000 * S, 3 * S) == Step(1_699_999_597.0, 0.0)


def test_a_device_that_slept_is_told_apart() -> None:
    steps = ClockSteps(0, 1000 * S, 0)
    assert steps.observe(S, 4601 * S, 3601 * S) == Step(3600.0, 3600.0)
    # It slept, and the clock was set at the same time.
    assert steps.observe(2 * S, 4702 * S + 7 * S, 3702 * S) == Step(107.0, 100.0)
