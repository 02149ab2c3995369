"""The agent's event loop: file descriptors, timers, signals. One thread, no polling.

Not asyncio: importing it costs 10 MB of the 15 that the agent may have. An idle loop sleeps until the next timer.
"""

from __future__ import annotations

import itertools
import os
import select
import time

from edgemon.std import heapq, signal
from edgemon.std.collections import deque
from edgemon.std.collections.abc import Callable
from edgemon.std.contextlib import suppress

Callback = Callable[[], None]


_Watched = tuple[Callback | None, Callback | None]  # reader, writer
_NOTHING: _Watched = (None, None)
_FEW_TIMERS = 64


class Timer:
    """A pending call; `cancel` forgets it. early_s: so much before its time it joins whatever else woke the loop."""

    __slots__ = ("callback", "early_s", "when_s")

    def __init__(self, when_s: float, callback: Callback | None, early_s: float = 0.0) -> None:
        self.when_s = when_s
        self.callback = callback
        self.early_s = early_s

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Readers, writers, timers (monotonic seconds) and signals, all called in the thread that runs it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        # Not selectors: its bookkeeping costs more than the system calls of a turn.
        self._epoll = select.epoll()
        self._watched: dict[int, _Watched] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._sweep_at = _FEW_TIMERS
        self._order = itertools.count()
        self._running = False
        self._wake_read = -1
        self._signals: dict[int, Callback] = {}
        self._calls: deque[Callback] = deque()
        self._calls_fd = -1
        self._last: deque[Callback] = deque()
        self._turning = False
        self.turns = 0

    # -- file descriptors

    def add_reader(self, fd: int, callback: Callback) -> None:
        """Call back whenever `fd` is readable."""
        self._set(fd, callback, self._watched.get(fd, _NOTHING)[1])

    def set_writer(self, fd: int, callback: Callback | None) -> None:
        """Call back whenever `fd` is writable; None stops that."""
        self._set(fd, self._watched.get(fd, _NOTHING)[0], callback)

    def remove(self, fd: int) -> None:
        """Forget `fd`; unknown ones are ignored."""
        if self._watched.pop(fd, None) is not None:
            with suppress(OSError):  # closed already
                self._epoll.unregister(fd)

    def _set(self, fd: int, reader: Callback | None, writer: Callback | None) -> None:
        before = self._watched.get(fd, _NOTHING)
        was, events = _events(before), _events((reader, writer))
        if not events:
            self.remove(fd)
            return
        if not was:
            self._epoll.register(fd, events)
        elif was != events:
            self._epoll.modify(fd, events)
        self._watched[fd] = reader, writer

    # -- timers

    def call_at(self, when_s: float, callback: Callback, *, early_s: float = 0.0) -> Timer:
        """Call once, at monotonic second `when_s` or as soon after as the loop turns.

        early_s: where the loop is awake so shortly before, and this is the next of its timers, it calls then: a
        device that is idle is not woken once more.
        """
        timer = Timer(when_s, callback, early_s)
        self._push(timer)
        return timer

    def _push(self, timer: Timer) -> None:
        """Twice as many as were pending when it was looked at last are looked at anew: the cancelled ones go, which
        would stay until their time, a batch's until it would have been too old."""
        if len(self._timers) >= self._sweep_at:
            self._timers[:] = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
            self._sweep_at = 2 * len(self._timers) + _FEW_TIMERS
        heapq.heappush(self._timers, (timer.when_s, next(self._order), timer))

    def call_every(self, interval_s: float, callback: Callback, *, early_s: float = 0.0) -> Timer:
        """Call at fixed instants, `interval_s` apart; instants that were missed are skipped, not made up for.

        early_s: as for `call_at`; the next instant is then an interval after that.
        """
        timer = Timer(self.now() + interval_s, None, early_s)

        def tick() -> None:
            callback()
            if timer.callback is None:
                return  # cancelled by its own callback
            now = self.now()
            timer.when_s = min(timer.when_s, now) + interval_s
            if timer.when_s <= now:
                timer.when_s = now + interval_s
            self._push(timer)

        timer.callback = tick
        self._push(timer)
        return timer

    def call_last(self, callback: Callback) -> None:
        """Call once, when all else that this turn has to do is done; at once where the loop does not turn."""
        if self._turning:
            self._last.append(callback)
        else:
            callback()

    # -- signals

    def on_signal(self, number: signal.Signals, callback: Callback) -> None:
        """Call back in the loop, not in the signal handler. What came while it was blocked comes now."""
        if self._wake_read < 0:
            self._wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
            self.add_reader(self._wake_read, self._drain_signals)
        self._signals[number] = callback
        signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})

    def _drain_signals(self) -> None:
        for number in sorted(set(os.read(self._wake_read, 4096))):
            if number in self._signals:
                self._signals[number]()

    # -- other threads

    def open_to_threads(self) -> None:
        """From now on other threads may use `call_from_thread`. Before `run`, or in its thread."""
        if self._calls_fd < 0:
            self._calls_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.add_reader(self._calls_fd, self._take_calls)

    def call_from_thread(self, callback: Callback) -> None:
        """Call once, in the loop's thread, soon. For any thread; never waits."""
        self._calls.append(callback)
        os.eventfd_write(self._calls_fd, 1)

    def _take_calls(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._calls_fd)
        for _ in range(len(self._calls)):  # what these add is for the next turn
            self._calls.popleft()()

    # -- running

    def run(self) -> None:
        """Turn until `stop`."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        """Leave `run` after this turn."""
        self._running = False

    def close(self) -> None:
        """Give back the descriptors that are the loop's own. It is not used again."""
        if self._calls_fd >= 0:
            self.remove(self._calls_fd)
            os.close(self._calls_fd)
            self._calls_fd = -1
        self._epoll.close()

    def turn(self, max_wait_s: float | None = None) -> None:
        """Wait for the next thing to do, at most `max_wait_s`, and do all that is due."""
        self.turns += 1
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        wait = max_wait_s
        if self._timers:
            until = self._timers[0][0] - self.now()
            if until < 0.0:
                until = 0.0
            if wait is None or until < wait:
                wait = until
        events = self._epoll.poll(wait)
        self._turning = True
        try:
            if events:
                self._call(events)
            self._call_due()
        finally:
            self._turning = False
            while self._last:
                self._last.popleft()()

    def _call_due(self) -> None:
        """Timers whose time has come."""
        now = self.now()
        while self._timers and self._timers[0][0] - self._timers[0][2].early_s <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                timer.callback()

    def _call(self, events: list[tuple[int, int]]) -> None:
        """Readers and writers that are ready."""
        watched = self._watched
        # As they are watched now: a callback may remove a descriptor, and another get its number.
        for fd, ready, (reader, writer) in [
            (fd, ready, watched.get(fd, _NOTHING)) for fd, ready in events
        ]:
            if ready & ~select.EPOLLIN and writer is not None:
                if watched.get(fd, _NOTHING)[1] is not writer:
                    continue
                writer()
            if (
                ready & ~select.EPOLLOUT
                and reader is not None
                and watched.get(fd, _NOTHING)[0] is reader
            ):
                reader()


def _events(watched: _Watched) -> int:
    reader, writer = watched
    return (select.EPOLLIN if reader else 0) | (select.EPOLLOUT if writer else 0)
