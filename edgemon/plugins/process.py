"""The process of one plugin: started, asked, timed, and ended whatever it does. Its owner's loop drives it; no waiting.

    down --start()--> starting --hello--> idle <--answer, ask()--> busy
      ^                  |                  |                        |
      +--- on_end() --- ending <---- its end, too late, too much ----+      stop(): stopping, then ending

A plugin and all that it started are one process group: none of them outlives `ending`, save in a system call that
cannot be interrupted; that is waited for without waiting. What is bounded, and what happens at the bound:

- a line: MAX_LINE_BYTES; what it says on both outputs in a minute: MAX_BYTES_A_MINUTE. More ends the process.
- the time of an answer, of a start and of a stop: then it is killed.
- log lines of it: LOG_LINES_A_MINUTE; more are counted. Lines that are not of the protocol: counted, and passed over.
"""

from __future__ import annotations

import os
import select
import time

from edgemon import log
from edgemon.config import Config, PluginSettings
from edgemon.config.trust import distrust
from edgemon.flow.limit import TellLimit
from edgemon.metrics import Counters
from edgemon.plugins import protocol
from edgemon.plugins.child import Child
from edgemon.plugins.protocol import BadLineError, Lines, Message, one_line
from edgemon.program import own_program
from edgemon.std import json, signal
from edgemon.std.collections.abc import Sequence
from edgemon.typed import NamedTuple, Protocol
from edgemon.version import VERSION

NEVER = float("inf")
STOP_S = 2.0
MAX_BYTES_A_MINUTE = 1 << 20
LOG_LINES_A_MINUTE = 30
# One that closed its output is about to end by itself.
_GRACE_S = 0.5
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.001, 1.0

RESTARTS = "edgemon_plugin_restarts_total"
REFUSED = "edgemon_plugin_refused_starts_total"
TIMEOUTS = "edgemon_plugin_timeouts_total"
BAD_LINES = "edgemon_plugin_bad_lines_total"
DROPPED_LOGS = "edgemon_plugin_dropped_log_lines_total"
STOPPED = "stopped"
NOT_STARTED = "not_started"


class End(NamedTuple):
    """Why a process ended. reason: "stopped" | "exited" | "timeout" | "start_timeout" | "too_much" | "not_started".

    text: one line for a person, "" for one that was stopped.
    """

    reason: str
    text: str

    def of(self, name: str) -> str:
        """The line with the plugin's name before it."""
        return f"plugin {name}{':' if self.reason == NOT_STARTED else ''} {self.text}"


class Owner(Protocol):
    """What a process reports, from inside start(), handle() and tick()."""

    def on_hello(self) -> None:
        """It may be asked."""

    def on_answer(self, message: Message) -> None:
        """To what it was asked."""

    def on_end(self, end: End) -> None:
        """It is down, and may be started again."""


class PluginProcess:
    """At most one process at a time. about: what each plugin is told of the device."""

    def __init__(
        self, settings: PluginSettings, counters: Counters, owner: Owner, about: dict[str, str]
    ) -> None:
        self.settings = settings
        self.state = "down"
        self.restarts = self.timeouts = self.bad_lines = 0
        self.last_error = ""
        self._counters = counters
        self._owner = owner
        self._about = about
        self._child = Child()
        self._lines = Lines()
        self._error_lines = b""
        self._last_words = ""
        self._deadline = NEVER
        self._end = End("", "")
        self._before = ""  # why the last process ended, "" before the first
        self._look_s = 0.0
        self._kill_at = NEVER
        self._asked = False
        self._heard_bytes = 0
        self._minute_ends = 0.0
        self._logs = TellLimit(LOG_LINES_A_MINUTE, 60.0)

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._child.pid

    # -- for its owner

    def start(self, now: float) -> None:
        """Start it; only when down. on_end may come at once."""
        assert self.state == "down"
        settings = self.settings
        problem = distrust(settings.command[0]) if settings.command else ""
        if not problem:
            try:
                self._spawn()
            except OSError as error:
                problem = f"cannot be started: {error.strerror or error}"
        if problem:
            self._counters.add(REFUSED)
            self._report(End(NOT_STARTED, problem))
            return
        if self._before not in ("", STOPPED):
            self.restarts += 1
            self._counters.add(RESTARTS, reason=self._before)
        self.state = "starting"
        self._deadline = now + settings.start_timeout_s
        self._child.give(
            protocol.start(settings.name, settings.kind, settings.options, self._about)
        )

    def ask(self, line: bytes, now: float) -> None:
        """Put a question; only when idle."""
        assert self.state == "idle"
        self.state, self._asked = "busy", True
        self._deadline = now + self.settings.timeout_s
        self._child.give(line)

    def stop(self, now: float) -> None:
        """Let it end by itself, within STOP_S; on_end tells when it has. Nothing when down."""
        if self.state in ("starting", "idle", "busy"):
            self.state = "stopping"
            self._end = End(STOPPED, "")
            self._deadline = now + STOP_S
            self._child.give(protocol.STOP, is_last=True)
        elif self.state == "ending":
            self._end = End(STOPPED, "")

    def kill(self) -> None:
        """End it now, without a report."""
        if self.state == "down":
            return
        self._child.close()
        self._child.kill()
        for _ in range(200):
            if self._child.exit_status() is not None:
                break
            time.sleep(0.001)
        self.state, self._deadline, self._before = "down", NEVER, STOPPED
        self._asked = False

    def forget(self) -> None:
        """In a child of fork(): close what is the parent's."""
        self._child.close()

    def watch(self) -> dict[int, int]:
        """Descriptor -> select.POLLIN or POLLOUT."""
        return self._child.watch()

    def handle(self, fd: int, now: float) -> None:
        """One of them is ready."""
        if fd < 0:
            return
        if fd == self._child.input:
            self._child.write()
        elif fd == self._child.output:
            self._read(now)
        elif fd == self._child.errors:
            self._read_errors(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now < self._deadline:
            return
        if self.state == "ending":
            self._look(now)
        elif self.state == "stopping":
            self._begin_end(self._end, now)
        elif self.state in ("starting", "busy"):
            self.timeouts += 1
            self._counters.add(TIMEOUTS)
            doing, most_s = "answer", self.settings.timeout_s
            if self.state == "starting":
                doing, most_s = "say hello", self.settings.start_timeout_s
            reason = "timeout" if self.state == "busy" else "start_timeout"
            self._begin_end(End(reason, f"did not {doing} within {most_s:g} s"), now)

    def deadline(self) -> float:
        """When tick() is due; monotonic seconds."""
        return self._deadline

    def status(self) -> dict[str, object]:
        """For `edgemon status`."""
        return {
            "name": self.settings.name,
            "kind": self.settings.kind,
            "state": self.state,
            "pid": self.pid,
            "restarts": self.restarts,
            "timeouts": self.timeouts,
            "bad_lines": self.bad_lines,
            "last_error": self.last_error or None,
        }

    # -- its life

    def _spawn(self) -> None:
        """By way of our own program, which sets the limits and becomes the plugin (host.py)."""
        settings = self.settings
        job = {
            "name": settings.name,
            "kind": settings.kind,
            "command": settings.command,
            "entry_point": settings.entry_point,
            "memory_bytes": settings.memory_bytes,
            "cpu_time_s": settings.cpu_time_s,
            "open_files": settings.open_files,
            "credentials": settings.credentials,
            "nice": settings.nice,
            "parent": os.getpid(),
        }
        self._child.spawn([*own_program(), "plugin", "host", json.dumps(job)])
        self._lines, self._error_lines, self._last_words = Lines(), b"", ""

    def _begin_end(self, end: End, now: float, grace_s: float = 0.0) -> None:
        """No more is read of it, and it is seen to its end. grace_s: until it is killed."""
        if self.state == "ending":
            return
        self._child.close()
        self._asked = False
        self.state, self._end = "ending", end
        self._look_s, self._kill_at = _FIRST_LOOK_S, now + grace_s
        self._deadline = now
        if not grace_s:
            self._child.kill()

    def _look(self, now: float) -> None:
        """Whether it is gone."""
        status = self._child.exit_status()
        if status is None:
            if now >= self._kill_at:
                self._kill_at = NEVER
                self._child.kill()
                if self._end.reason == "exited":
                    self._end = End("exited", "closed its output and had to be killed")
            self._look_s = min(_LONGEST_LOOK_S, 2 * self._look_s)
            self._deadline = now + self._look_s
            return
        end = self._end
        if end.reason == "exited" and not end.text:
            text = _ended(status)
            if self._last_words:
                text += f": {self._last_words}"
            end = End("exited", text)
        self._report(end)

    def _report(self, end: End) -> None:
        self.state, self._deadline = "down", NEVER
        if end.reason != NOT_STARTED:
            self._before = end.reason
        if end.reason != STOPPED:
            self.last_error = end.text
        self._owner.on_end(end)

    # -- bytes

    def _read(self, now: float) -> None:
        data = self._child.read(self._child.output)
        if data is None:
            return
        if not data:
            end = self._end if self.state == "stopping" else End("exited", "")
            self._drain_errors(now)
            self._begin_end(end, now, _GRACE_S)
            return
        if not self._count(len(data), now):
            return
        lines = self._lines.feed(data)
        if lines is None:
            most = protocol.MAX_LINE_BYTES
            self._begin_end(End("too_much", f"wrote a line of more than {most} bytes"), now)
            return
        for line in lines:
            try:
                self._heard(protocol.parse(line), now)
            except BadLineError as error:
                self._bad_line(f"{error}: {one_line(line.decode(errors='replace'))[:80]}", now)
            if self.state in ("ending", "down"):
                return

    def _heard(self, message: Message, now: float) -> None:
        if message.kind == "log":
            self._log(message.level, message.text, now)
        elif message.kind == "hello" and self.state == "starting":
            self.state, self._deadline = "idle", NEVER
            self._owner.on_hello()
        elif message.kind != "hello" and self._asked:
            self._asked = False
            if self.state == "busy":
                self.state, self._deadline = "idle", NEVER
            if message.kind == "error":
                self.last_error = message.text or "could not answer"
            self._owner.on_answer(message)
        elif self.state != "stopping" or message.kind != "hello":
            self._bad_line(f'says "{message.kind}", which it was not asked for', now)

    def _bad_line(self, problem: str, now: float) -> None:
        self.bad_lines += 1
        self._counters.add(BAD_LINES)
        self._log("warning", f"a line {problem}", now)

    def _read_errors(self, now: float) -> None:
        """What it writes to standard error are log lines of it."""
        data = self._child.read(self._child.errors)
        if data is None:
            return
        if not data:
            self._child.close_errors()
        elif not self._count(len(data), now):
            return
        *lines, rest = (self._error_lines + data).split(b"\n")
        if not data or len(rest) > protocol.MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        self._error_lines = rest
        for line in lines:
            if text := one_line(line.decode(errors="replace")):
                self._last_words = text
                self._log("warning", text, now)

    def _drain_errors(self, now: float) -> None:
        """Its last words, which came before the end of its output."""
        if self._child.errors >= 0:
            self._read_errors(now)
        if self._error_lines:
            self._last_words = one_line(self._error_lines.decode(errors="replace"))

    def _count(self, size: int, now: float) -> bool:
        """Whether it may say so much more."""
        if now >= self._minute_ends:
            self._minute_ends, self._heard_bytes = now + 60.0, 0
        self._heard_bytes += size
        if self._heard_bytes <= MAX_BYTES_A_MINUTE:
            return True
        text = f"wrote more than {MAX_BYTES_A_MINUTE >> 20} MiB within a minute"
        self._begin_end(End("too_much", text), now)
        return False

    def _log(self, level: str, text: str, now: float) -> None:
        if not self._logs.allow("", now):
            self._counters.add(DROPPED_LOGS)
            return
        tell = {"debug": log.debug, "info": log.info, "warning": log.warning, "error": log.error}
        tell[level](f"plugin {self.settings.name}: {text}")


def about(config: Config) -> dict[str, str]:
    """What each plugin is told of the device."""
    return {"device": config.agent.device, "fleet": config.agent.fleet, "edgemon": VERSION}


def turn(processes: Sequence[PluginProcess], until_s: float) -> None:
    """Wait until one of these processes has something to do, or until that monotonic second; do it."""
    poll = select.poll()
    owners = {}
    for process in processes:
        for fd, events in process.watch().items():
            poll.register(fd, events)
            owners[fd] = process
    until_s = min([until_s, *(process.deadline() for process in processes)])
    for fd, _ in poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
        owners[fd].handle(fd, time.monotonic())
    for process in processes:
        process.tick(time.monotonic())


def _ended(code: int) -> str:
    if code < 0:
        number = -code
        hint = " (its processor time was used up)" if number == signal.SIGXCPU else ""
        return f"was killed by signal {number}{hint}"
    return f"ended with exit code {code}"
