"""A number for each time this device comes online: a late last will cannot undo a newer birth.

Connection N publishes `{"online": true, "birth": N}` and leaves `{"online": false, "birth": N}` as
its will. A receiver keeps the highest birth that it has seen of a device, and ignores a state
message with a lower one; of two with the same birth, "online": false is the later.

The number survives restarts, and with them the will of a process that was killed. Numbers are taken
from the disk in blocks, so that a shaky network does not wear the flash: after a restart some are
left out, which no comparison notices.
"""

from __future__ import annotations

from edgemon import log
from edgemon.metrics import Counters
from edgemon.spool.fs import FileSystem, join, write_atomically

BLOCK = 16
_NAME = "birth"


class Births:
    """Strictly growing numbers; `<state_dir>/birth` holds the end of the block."""

    def __init__(self, fs: FileSystem, state_dir: str, counters: Counters) -> None:
        self._fs = fs
        self._state_dir = state_dir
        self._counters = counters
        self._last = self._end = self._load()

    def next(self) -> int:
        """The next number, from 1. A disk that refuses is counted; numbers grow until a restart."""
        self._last += 1
        if self._last > self._end:
            self._end = self._last + BLOCK - 1
            try:
                self._fs.make_dir(self._state_dir)
                write_atomically(self._fs, self._path, b"%d\n" % self._end)
                self._counters.add("edgemon_ship_fsyncs_total", 2, reason="birth")
            except OSError as error:
                self._counters.add("edgemon_ship_errors_total", reason="birth_not_stored")
                log.warning("cannot store the birth number", path=self._path, error=error)
        return self._last

    @property
    def _path(self) -> str:
        return join(self._state_dir, _NAME)

    def _load(self) -> int:
        try:
            return max(0, int(self._fs.read(self._path, 0, 20)))
        except (OSError, ValueError):
            return 0
