"""The device's clocks: monotonic for order and length, wall for names of moments; and which boot this is."""

from __future__ import annotations

import os
import time

from edgemon import log
from edgemon._core.clock import clock_error_ms
from edgemon.flow.batcher import Anchor
from edgemon.flow.steps import LEAST_S, ClockSteps
from edgemon.records import Event
from edgemon.std.collections.abc import Callable


class Clocks:
    """Reads them, and notices when the wall clock was set.

    on_step(event, mono_ns): called after each step, before anything that came later is counted.
    boot: 16 bytes that name this boot of the device.
    """

    def __init__(self, on_step: Callable[[Event, int], None]) -> None:
        self._on_step = on_step
        self.boot = _boot_id()
        self._steps = ClockSteps(
            time.monotonic_ns(), time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        )

    def observe(self) -> tuple[int, float]:
        """Monotonic ns and wall clock s of now."""
        mono_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        if not self._steps.stepped(mono_ns, wall_ns):
            return mono_ns, wall_ns / 1e9
        step = self._steps.observe(mono_ns, wall_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        if step is not None:
            message = f"the wall clock went {'ahead' if step.by_s > 0 else 'back'} by {abs(step.by_s):.1f} s"
            if step.slept_s >= LEAST_S:
                message += f"; the device slept for {step.slept_s:.1f} s"
            log.warning(message)
            self._on_step(Event("clock.stepped", "warning", message, data=step._asdict()), mono_ns)
        return mono_ns, wall_ns / 1e9

    def anchor(self) -> Anchor:
        """What ties the rows of a batch to this boot and to the wall clock."""
        return Anchor(self.boot, time.time_ns(), time.monotonic_ns(), clock_error_ms())


def _boot_id() -> bytes:
    """16 bytes that are the same until the next boot; random where the kernel does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError):
        return os.urandom(16)
