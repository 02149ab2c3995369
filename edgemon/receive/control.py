"""What every source obeys: when to stop, and when to try a failed commit again."""

from __future__ import annotations

import contextlib
import random
import select
import signal
import socket
import time
from types import FrameType
from typing import NamedTuple

from edgemon import log
from edgemon.errors import StorageError
from edgemon.flow.backoff import Backoff
from edgemon.receive.intake import Intake

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Limits(NamedTuple):
    """When a source ends by itself. None: never.

    max_batches: so many batches are settled.  idle_s: so long nothing has come.
    """

    max_batches: int | None = None
    idle_s: float | None = None

    def reached(self, taken: int) -> bool:
        """Whether so many settled batches are enough."""
        return self.max_batches is not None and taken >= self.max_batches


class Stop:
    """SIGTERM and SIGINT as a flag and a readable file descriptor; a second signal acts at once.

    A context manager, for the main thread; on leaving, the handlers are as they were.
    """

    def __init__(self) -> None:
        self.signal = 0  # the one that came, 0 = none
        self._read, self._write = socket.socketpair()
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        self._write.setblocking(False)
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._read.close()
        self._write.close()

    @property
    def requested(self) -> bool:
        return self.signal != 0

    def fileno(self) -> int:
        """Readable once a signal came."""
        return self._read.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Sleep, but not through a signal; whether to stop."""
        if not self.requested and timeout_s > 0:
            select.select([self], [], [], timeout_s)
        return self.requested

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.signal = number
        with contextlib.suppress(BlockingIOError):  # then it is readable already
            self._write.send(b"x")


class Commits:
    """Commits an intake.

    After a failure says why, and waits longer each time. Nothing pending is given up.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._backoff = Backoff(0.5, 30.0, 2.0, random.random)
        self.retry_at = 0.0  # monotonic seconds

    @property
    def due(self) -> bool:
        """Something is pending, and a failure before is long enough ago."""
        return self._intake.pending > 0 and time.monotonic() >= self.retry_at

    def attempt(self) -> list[object] | None:
        """The tokens of what is durable now; None after a failure, which is logged."""
        try:
            tokens = self._intake.commit()
        except StorageError as error:
            delay_s = self._backoff.next_delay()
            self.retry_at = time.monotonic() + delay_s
            log.error(
                f"cannot store, nothing is acknowledged, next try in {delay_s:.1f} s: {error}"
            )
            return None
        if self._backoff.failures:
            log.info("storing again")
        self._backoff.reset()
        return tokens
