"""Processes of this very program that another one keeps: `edgemon run` both halves, an application its shipper.

Each holds the read end of a pipe whose write end lives in the keeper: if that is killed, the child sees its end and
stops. And each holds the write end of a pipe of its own, whose end tells the keeper that the child is gone:
SIGCHLD would not do, for in an application the signals are not ours.
"""

from __future__ import annotations

import os
import select
import time

from edgemon import log
from edgemon.agent.loop import Loop, Timer
from edgemon.control import PARENT_FD
from edgemon.flow.backoff import Backoff
from edgemon.ingest.activation import pass_on
from edgemon.std import random, signal
from edgemon.std.collections.abc import Callable
from edgemon.std.contextlib import suppress

# A child that lived this long was healthy: its next death starts the backoff anew.
_HEALTHY_S = 60.0
# Where somebody else has waited for it, as in a program that ignores SIGCHLD.
UNKNOWN_CODE = -256


class Lifeline:
    """The pipe that ends with this process. One for all children."""

    def __init__(self) -> None:
        self.read, self._write = os.pipe()

    def close(self) -> None:
        """Children that still run stop by themselves."""
        if self._write >= 0:
            os.close(self.read)
            os.close(self._write)
            self.read = self._write = -1


class Child:
    """One command, in one process at a time.

    command: program and arguments.  sockets: descriptors that it gets too, at the same numbers, and their names
    (see ingest.activation).  ended(exit code): called in the loop when it is over, and not after `stop`; a
    negative code is the signal that killed it.
    """

    __slots__ = (
        "_backoff", "_command", "_ended", "_gone", "_lifeline", "_loop", "_restart", "_sockets", "_started_s", "name",
        "pid",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        lifeline: Lifeline,
        name: str,
        command: list[str],
        ended: Callable[[int], None],
        sockets: dict[int, str] | None = None,
    ) -> None:
        self.name = name
        self._sockets = sockets or {}
        self.pid = 0
        self._loop = loop
        self._lifeline = lifeline
        self._command = command
        self._ended = ended
        self._backoff = Backoff(0.5, 60.0, 2.0, random.random)
        self._gone = -1
        self._started_s = 0.0
        self._restart: Timer | None = None

    def start(self) -> None:
        """Start it; it does not run now. Raises OSError."""
        self._restart = None
        self._started_s = time.monotonic()
        self._gone, told = os.pipe()
        # Each descriptor loses its close-on-exec in the child alone, whatever another thread starts meanwhile.
        inherited = [
            (os.POSIX_SPAWN_DUP2, fd, fd) for fd in (self._lifeline.read, told, *self._sockets)
        ]
        environ = os.environ | {PARENT_FD: str(self._lifeline.read)} | pass_on(self._sockets)
        try:
            self.pid = os.posix_spawn(
                self._command[0], self._command, environ,
                file_actions=inherited,
                setsigmask=[signal.SIGHUP],  # it is let through when the child can act on it
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD],
                setpgroup=0,  # a Ctrl-C reaches the keeper only, which then stops its children in order
            )  # fmt: skip
        except OSError:
            os.close(self._gone)
            self._gone = -1
            raise
        finally:
            os.close(told)
        self._loop.add_reader(self._gone, self._is_gone)
        log.info(f"{self.name} started", pid=self.pid)

    def start_later(self, code: int) -> None:
        """It died and shall run again, after a pause that grows while it keeps dying."""
        if time.monotonic() - self._started_s > _HEALTHY_S:
            self._backoff.reset()
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if code == UNKNOWN_CODE:
            ended = "is gone"
        self._start_after_a_pause(ended)

    def _start_after_a_pause(self, why: str) -> None:
        delay_s = self._backoff.next_delay()
        log.warning(f"{self.name} {why}; restarting in {delay_s:.1f} s")
        self._restart = self._loop.call_at(self._loop.now() + delay_s, self._start_again)

    def _start_again(self) -> None:
        try:
            self.start()
        except OSError as error:  # memory, processes or descriptors are short: what killed it may have been that too
            self._start_after_a_pause(f"cannot be started: {error.strerror or error}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.pid:
            # Somebody else may have waited for it: then the pipe's end is on its way.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def alive(self) -> bool:
        """Whether it runs, by its pipe: without the loop, and without waiting for it."""
        if not self.pid:
            return False
        poll = select.poll()
        poll.register(self._gone, select.POLLIN)
        return not poll.poll(0)

    def stop(self, timeout_s: float) -> bool:
        """SIGTERM, and SIGKILL to one that is still there after `timeout_s`. False for that, it is logged.

        Waits here, without the loop. Afterwards it is not started again.
        """
        if self._restart is not None:
            self._restart.cancel()
        if not self.pid:
            return True
        self.send(signal.SIGTERM)
        poll = select.poll()
        poll.register(self._gone, select.POLLIN)
        in_time = bool(poll.poll(max(0.0, timeout_s) * 1000))
        if not in_time:
            log.error(f"{self.name} did not stop in {timeout_s:.0f} s and is killed")
            self.send(signal.SIGKILL)
        self._reap()
        return in_time

    def _is_gone(self) -> None:
        self._ended(self._reap())

    def _reap(self) -> int:
        """Its exit code. It is gone, or about to be."""
        self._loop.remove(self._gone)
        os.close(self._gone)
        pid, self.pid, self._gone = self.pid, 0, -1
        try:
            _, status = os.waitpid(pid, 0)
        except ChildProcessError:
            return UNKNOWN_CODE
        return os.waitstatus_to_exitcode(status)
