"""threading.Condition, for one thread that waits, and threading.Thread, which ends with the process."""

from __future__ import annotations

from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Condition, Thread
else:
    from _thread import allocate_lock, start_new_thread

    class Condition:
        def __init__(self):
            self._lock = allocate_lock()
            self._bell = allocate_lock()  # free once it has rung
            self._bell.acquire()

        def __enter__(self):
            return self._lock.__enter__()

        def __exit__(self, *error):
            self._lock.__exit__(*error)

        def notify(self):
            if self._bell.locked():
                self._bell.release()

        def wait(self, timeout=None):
            """May return though nobody has notified: what was waited for has to be looked at anyway."""
            self._lock.release()
            try:
                return self._bell.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
            finally:
                self._lock.acquire()

    class Thread:
        def __init__(self, *, target, name, daemon):
            self._target = target
            self._ended = allocate_lock()
            self.name, self.daemon, self.ident = name, daemon, None

        def start(self):
            self._ended.acquire()
            self.ident = start_new_thread(self._run, ())

        def _run(self):
            try:
                self._target()
            finally:
                self._ended.release()

        def is_alive(self):
            return self._ended.locked()

        def join(self, timeout=None):
            if self._ended.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
                self._ended.release()


__all__ = ["Condition", "Thread"]
