"""CPU use and load."""

from __future__ import annotations

from edgemon.collect.files import Files


class Cpu:
    """Of all cores together, since the tick before: cpu_percent busy and cpu_iowait_percent waiting for a disk, 0-100.
    load_1m: run queue, 1 minute average.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._last = self._totals()

    def collect(self, now_s: float) -> dict[str, float]:  # noqa: ARG002 - shares of the time that the kernel counted
        values: dict[str, float] = {}
        load = self._files.word("/proc/loadavg").split()
        totals, last = self._totals(), self._last
        self._last = totals
        # A core that leaves or joins makes sums go back.
        if totals is not None and last is not None and totals[0] > last[0]:
            elapsed = totals[0] - last[0]
            waited = max(0, totals[2] - last[2])
            idle = max(0, totals[1] - last[1]) + waited
            values["cpu_percent"] = max(0.0, 100.0 * (elapsed - idle) / elapsed)
            values["cpu_iowait_percent"] = min(100.0, 100.0 * waited / elapsed)
        if load:
            values["load_1m"] = float(load[0])
        return values

    def _totals(self) -> tuple[int, int, int] | None:
        """(all, idle, iowait) in clock ticks; guests' time is part of their host's."""
        line = (self._files.text("/proc/stat") or "").partition("\n")[0].split()
        if len(line) < 6 or line[0] != "cpu":
            return None
        ticks = [int(word) for word in line[1:9]]
        return sum(ticks), ticks[3], ticks[4]
