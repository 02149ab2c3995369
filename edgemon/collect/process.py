"""Memory and CPU of the applications that write to the agent."""

from __future__ import annotations

import os

from edgemon.collect.files import Files
from edgemon.std.collections.abc import Callable, Iterable

MAX_PROCESSES = 64
# Names are the applications' own, and each becomes a series.
MAX_NAMES = 32
OTHER = "other"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process:
    """process_cpu_percent.<name>, 100 is one core for the whole time since the tick before, and
    process_memory_bytes.<name>, resident: of all connected processes of that name together. <name> is the kernel's
    (`comm`, 15 characters), with _ for what is not a letter, a digit, - or _; the 33rd and later ones are "other".

    peers: the process ids of the connected clients; at most MAX_PROCESSES of them are read, the lowest first.
    """

    def __init__(self, files: Files, peers: Callable[[], Iterable[int]]) -> None:
        self._files = files
        self._peers = peers
        self._names: set[str] = set()
        # pid -> (start in ticks since boot, which tells one process of a number from the next; CPU ticks)
        self._last: dict[int, tuple[int, int]] = {}
        self._last_s = 0.0

    def collect(self, now_s: float) -> dict[str, float]:
        values: dict[str, float] = {}
        seen: dict[int, tuple[int, int]] = {}
        elapsed_ticks = (now_s - self._last_s) * _TICKS_PER_S
        for pid in sorted({pid for pid in self._peers() if pid > 0})[:MAX_PROCESSES]:
            found = self._read(pid)
            if found is None:
                continue
            name, start, ticks, memory = found
            seen[pid] = (start, ticks)
            key = f"process_memory_bytes.{name}"
            values[key] = values.get(key, 0.0) + memory
            before = self._last.get(pid)
            if before is not None and before[0] == start and elapsed_ticks > 0:
                key = f"process_cpu_percent.{name}"
                used = 100.0 * (ticks - before[1]) / elapsed_ticks
                values[key] = values.get(key, 0.0) + max(0.0, used)
        self._last, self._last_s = seen, now_s
        return values

    def _read(self, pid: int) -> tuple[str, int, int, float] | None:
        """(name, start, CPU ticks, resident bytes); None for one that has ended or is hidden."""
        text = self._files.text(f"/proc/{pid}/stat") or ""
        # The name stands in parentheses and may hold spaces and parentheses of its own.
        comm, closing, rest = text.partition("(")[2].rpartition(")")
        fields = rest.split()  # the first is field 3 of proc_pid_stat(5)
        if not closing or len(fields) < 22:
            return None
        memory = float(int(fields[21]) * _PAGE_BYTES)
        return self._name(comm), int(fields[19]), int(fields[11]) + int(fields[12]), memory

    def _name(self, comm: str) -> str:
        name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in comm)
        if name not in self._names:
            if len(self._names) >= MAX_NAMES:
                return OTHER
            self._names.add(name)
        return name or OTHER
