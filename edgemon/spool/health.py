"""How the disk is doing: what it said last, and counts of everything it refused."""

from __future__ import annotations

import errno

from edgemon.metrics import Counters
from edgemon.spool.fs import FileSystem
from edgemon.std.collections.abc import Callable

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


class Health:
    """Used by one thread. failure: one line for a person, "" while the disk does what it is told."""

    __slots__ = ("_counters", "_syncs", "_written_bytes", "failure")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._syncs = self._written_bytes = 0
        self.failure = ""

    def count(self, what: str, by: int = 1, *, reason: str = "") -> None:
        """Add to `edgemon_spool_<what>_total`."""
        self._counters.add(f"edgemon_spool_{what}_total", by, reason=reason)

    def count_wear(self, fs: FileSystem) -> None:
        """Add what `fs` wrote and synced since the last call."""
        self.count("fsyncs", fs.syncs - self._syncs)
        self.count("written_bytes", fs.written_bytes - self._written_bytes)
        self._syncs, self._written_bytes = fs.syncs, fs.written_bytes

    def fail(self, reason: str, message: str) -> None:
        """Something was refused."""
        self.failure = message
        self.count("errors", reason=reason)

    def fail_by(self, error: OSError) -> None:
        """The system refused."""
        name = errno.errorcode.get(error.errno or 0, "unknown")
        self.fail(name.lower(), f"{name}: {error.strerror or error}")

    def attempt(self, operation: Callable[[], None]) -> bool:
        """Do what may as well be done later, or not at all. False: it was not done, and is counted."""
        try:
            operation()
        except OSError as error:
            self.fail_by(error)
            return False
        return True
