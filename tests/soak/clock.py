"""Simulated time: the library of fast_clock.c for processes, and the same arithmetic for the test itself."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

_SOURCE = Path(__file__).parent / "fast_clock.c"


def build(folder: Path) -> Path:
    """The library, compiled."""
    library = folder / "fast_clock.so"
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", library, _SOURCE, "-ldl"], check=True)
    return library


class FastClock:
    """From now on `factor` simulated seconds pass in each real one. environment: for the processes that live so."""

    def __init__(self, library: Path, factor: int) -> None:
        self.factor = factor
        self._mono_ns, self._wall_ns = time.monotonic_ns(), time.time_ns()
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAST_CLOCK": f"{factor} {self._mono_ns} {self._wall_ns} {boot_ns}",
        }

    @property
    def elapsed_s(self) -> float:
        """Simulated seconds since the beginning."""
        return (time.monotonic_ns() - self._mono_ns) * self.factor / 1e9

    @property
    def wall_s(self) -> float:
        """Simulated seconds since 1970."""
        return self._wall_ns / 1e9 + self.elapsed_s
