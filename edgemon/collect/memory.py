"""Memory, swap and what the kernel did for want of memory."""

from __future__ import annotations

import os

from edgemon.collect.files import Files
from edgemon.collect.rates import Rates

_PAGING = {"pswpin": "swap_in_bytes_per_s", "pswpout": "swap_out_bytes_per_s"}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Memory:
    """memory_available_bytes, memory_used_percent (what is not available, 0-100); where there is swap,
    swap_used_bytes, swap_in_ and swap_out_bytes_per_s. oom_kills: processes that the kernel killed for want of memory
    since the tick before.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._rates = Rates()
        self._oom_kills: int | None = None

    def collect(self, now_s: float) -> dict[str, float]:
        info = _fields(self._files.text("/proc/meminfo") or "")
        values: dict[str, float] = {}
        total, available = info.get("MemTotal:", 0), info.get("MemAvailable:")
        if total and available is not None:
            values["memory_available_bytes"] = 1024.0 * available
            values["memory_used_percent"] = 100.0 * (total - available) / total
        paging = self._paging()
        if swap := info.get("SwapTotal:"):
            values["swap_used_bytes"] = 1024.0 * (swap - info.get("SwapFree:", 0))
            totals = {
                _PAGING[key]: float(paging[key] * _PAGE_BYTES) for key in _PAGING if key in paging
            }
            values |= self._rates.update(totals, now_s)
        kills = paging.get("oom_kill")
        if kills is not None:
            before = kills if self._oom_kills is None else self._oom_kills
            values["oom_kills"] = float(max(0, kills - before))
            self._oom_kills = kills
        return values

    def _paging(self) -> dict[str, int]:
        """Of /proc/vmstat's hundreds of lines those few that are wanted."""
        text = self._files.text("/proc/vmstat") or ""
        found = {}
        for key in (*_PAGING, "oom_kill"):
            start = text.find(f"\n{key} ")
            if start >= 0:
                found[key] = int(text[start + len(key) + 2 :].partition("\n")[0])
        return found


def _fields(text: str) -> dict[str, int]:
    """The first number of each line by its first word."""
    fields = {}
    for line in text.splitlines():
        words = line.split(None, 2)
        if len(words) > 1 and words[1].isdigit():
            fields[words[0]] = int(words[1])
    return fields
