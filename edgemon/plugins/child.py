"""A process group with three pipes to us: started, written to and read without waiting, killed as a whole."""

from __future__ import annotations

import os
import select

from edgemon.std import signal
from edgemon.std.contextlib import suppress

_READ_BYTES = 64 * 1024


class Child:
    """At most one at a time. Descriptors are -1 when there is none.

    Of three, `input` is what it reads, `output` and `errors` are what it writes.
    """

    __slots__ = ("_is_last", "_waiting", "errors", "input", "output", "pid")

    def __init__(self) -> None:
        self.pid = 0
        self.input = self.output = self.errors = -1
        self._waiting = memoryview(b"")  # of what it is to read
        self._is_last = False

    def spawn(self, argv: list[str]) -> None:
        """Start it, in a group of its own. Raises OSError."""
        theirs: list[int] = []
        try:
            fd, self.input = os.pipe2(os.O_CLOEXEC)
            theirs.append(fd)
            self.output, fd = os.pipe2(os.O_CLOEXEC)
            theirs.append(fd)
            self.errors, fd = os.pipe2(os.O_CLOEXEC)
            theirs.append(fd)
            for fd in (self.input, self.output, self.errors):
                os.set_blocking(fd, False)
            self.pid = os.posix_spawn(
                argv[0],
                argv,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(theirs)
                ],
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD],
                setpgroup=0,
            )
        except OSError:
            self.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)

    def watch(self) -> dict[int, int]:
        """Descriptor -> select.POLLIN or POLLOUT."""
        watched = {fd: select.POLLIN for fd in (self.output, self.errors) if fd >= 0}
        if self._waiting and self.input >= 0:
            watched[self.input] = select.POLLOUT
        return watched

    def give(self, line: bytes, *, is_last: bool = False) -> None:
        """Have it read this. is_last: then the end of its input."""
        self._waiting = memoryview(bytes(self._waiting) + line if self._waiting else line)
        self._is_last = self._is_last or is_last
        self.write()

    def write(self) -> None:
        """As much as it takes now."""
        try:
            self._waiting = self._waiting[os.write(self.input, self._waiting) :]
        except BlockingIOError:
            return
        except OSError:  # it reads no more: its end is on the way, or its time runs out
            self._waiting = memoryview(b"")
        if self._is_last and not self._waiting:
            os.close(self.input)
            self.input = -1

    def read(self, fd: int) -> bytes | None:
        """What it has written there; b"" is the end of it, None nothing now."""
        try:
            return os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Our ends of the pipes; the process is not touched."""
        for fd in (self.input, self.output, self.errors):
            if fd >= 0:
                os.close(fd)
        self.input = self.output = self.errors = -1
        self._waiting, self._is_last = memoryview(b""), False

    def close_errors(self) -> None:
        os.close(self.errors)
        self.errors = -1

    def kill(self) -> None:
        """It and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def exit_status(self) -> int | None:
        """Its exit code, with which it is gone for good, and the rest of its group too; None: it still runs."""
        try:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            self.kill()  # what it started; before its number can be another's
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:  # an application that ignores SIGCHLD has us ignore it too
            status = 0
        self.pid = 0
        return os.waitstatus_to_exitcode(status)
