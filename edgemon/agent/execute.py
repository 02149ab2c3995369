"""Commands that rules have run: each a child of the agent, without a shell, for a bounded time and output.

Only what [actions] names is ever run, and only what nobody but root and edgemon's user can have written (trust.py). A
command gets nothing but a minimal environment: PATH, LANG and the EDGEMON_ names that say what it is about. They hold
text of applications, so a script must quote them as any other input. It leads a process group of its own, which is
ended with it when it takes too long; the agent looks for its end by itself, for in an application SIGCHLD is not ours.
"""

from __future__ import annotations

import os

from edgemon.agent.children import UNKNOWN_CODE
from edgemon.agent.loop import Loop, Timer
from edgemon.config import format_duration
from edgemon.config.trust import distrust
from edgemon.std import signal
from edgemon.std.collections import deque
from edgemon.std.collections.abc import Callable
from edgemon.std.contextlib import suppress
from edgemon.typed import NamedTuple

MAX_RUNNING = 4
MAX_WAITING = 16
# The end of what a command writes is kept, the rest is read and thrown away.
MAX_OUTPUT_BYTES = 4096
_LOOK_S = 0.1
# After SIGTERM.
_GRACE_S = 2.0
_ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


class Task(NamedTuple):
    """A command to be run: an absolute path and its arguments.  about: names and values for its environment."""

    action: str
    command: list[str]
    timeout_s: float
    about: dict[str, str]


class Outcome(NamedTuple):
    """How a command ended. words: "ended with exit code 3".  output: the end of what it wrote."""

    task: Task
    ok: bool
    words: str
    output: str


class Runner:
    """At most MAX_RUNNING commands at one time, in the order in which they were asked for.

    done(outcome): called in the loop when one is over.
    """

    def __init__(self, loop: Loop, done: Callable[[Outcome], None]) -> None:
        self._loop = loop
        self._done = done
        self._running: list[_Run] = []
        self._waiting: deque[Task] = deque()

    def run(self, task: Task) -> bool:
        """Run it, or have it wait; False where too many wait."""
        if len(self._running) >= MAX_RUNNING:
            if len(self._waiting) >= MAX_WAITING:
                return False
            self._waiting.append(task)
            return True
        self._start(task)
        return True

    def _start(self, task: Task) -> None:
        if problem := distrust(task.command[0]):
            self._done(Outcome(task, False, f"is not run: {problem}", ""))
            return
        try:
            self._running.append(_Run(self._loop, task, self._over))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self._done(Outcome(task, False, f"cannot be run: {reason}", ""))

    def _over(self, run: _Run, outcome: Outcome) -> None:
        self._running.remove(run)
        self._done(outcome)
        while self._waiting and len(self._running) < MAX_RUNNING:
            self._start(self._waiting.popleft())

    def stop(self) -> None:
        """End all that run; those that wait are not begun any more."""
        self._waiting.clear()
        for run in self._running:
            run.kill()
        self._running.clear()

    def forget(self) -> None:
        """In a child that was forked: the commands are the parent's."""
        for run in self._running:
            run.forget()


class _Run:
    def __init__(self, loop: Loop, task: Task, over: Callable[[_Run, Outcome], None]) -> None:
        self._loop = loop
        self._task = task
        self._over = over
        self._output = bytearray()
        self._late = False
        self._pid, self._fd = _spawn(task)
        loop.add_reader(self._fd, self._read)
        self._deadline_s = loop.now() + task.timeout_s
        self._timer: Timer = loop.call_every(_LOOK_S, self._look)

    def _read(self) -> None:
        """What it writes; a command that writes for ever is read once a turn."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        if not data:  # it has closed its output, and may run on
            self._loop.remove(self._fd)
            return
        self._output += data
        del self._output[:-MAX_OUTPUT_BYTES]

    def _look(self) -> None:
        code = _ended(self._pid)
        if code is None:
            if self._loop.now() >= self._deadline_s:
                self._signal(signal.SIGKILL if self._late else signal.SIGTERM)
                self._late = True
                self._deadline_s = self._loop.now() + _GRACE_S
            return
        self._read()
        self._close()
        words = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if code == UNKNOWN_CODE:
            words = "ended, and somebody else knows how"
        if self._late:
            words = f"did not end in {format_duration(self._task.timeout_s)} and was stopped"
        output = self._output.decode("utf-8", "replace").strip()
        self._over(self, Outcome(self._task, code == 0 and not self._late, words, output))

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)

    def kill(self) -> None:
        """At once; waits for the end, which a killed process does not put off."""
        self._signal(signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._close()

    def _close(self) -> None:
        self._timer.cancel()
        self._loop.remove(self._fd)
        self.forget()

    def forget(self) -> None:
        os.close(self._fd)


def _spawn(task: Task) -> tuple[int, int]:
    """(process id, descriptor to read its output from). Raises OSError."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    nothing = -1
    try:
        os.set_blocking(writing, True)
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        pid = os.posix_spawn(
            task.command[0], task.command, _environ(task.about),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing, 0),
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_DUP2, writing, 2),
                *((os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable()),
            ],
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE],
            setpgroup=0,
        )  # fmt: skip
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
        if nothing >= 0:
            os.close(nothing)
    return pid, reading


def _environ(about: dict[str, str]) -> dict[bytes, bytes]:
    """In UTF-8, whatever the locale; what cannot be written so is a question mark."""
    texts = _ENVIRON | about
    return {name.encode(): text.encode("utf-8", "replace") for name, text in texts.items()}


def _inheritable() -> list[int]:
    """Descriptors that a program would get beside its first three: whoever started the agent left them open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that listed them
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


def _ended(pid: int) -> int | None:
    """Its exit code, negative for a signal; None while it runs."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return UNKNOWN_CODE
    return os.waitstatus_to_exitcode(status) if found else None
