"""`edgemon run`: the agent and the shipper as two processes, for shells and containers.

Under systemd the halves are two units and nobody needs this. The supervisor restarts what dies, with backoff,
passes SIGHUP on and stops in order: the agent first, so that its last batches are on disk before the shipper goes.
With ship.mode = "burst" the shipper is started when it is time and ends by itself (bursts.py).
"""

from __future__ import annotations

import os

from edgemon import log
from edgemon.agent.bursts import Bursts
from edgemon.agent.children import Child, Lifeline
from edgemon.agent.loop import Loop
from edgemon.config import Config
from edgemon.errors import ConfigError
from edgemon.ingest.activation import listen_fds
from edgemon.program import own_program
from edgemon.std import signal
from edgemon.std.collections.abc import Callable
from edgemon.std.contextlib import suppress

_AGENT = "agent"
_BURST = "ship"  # the child that may run in bursts
# Exit codes of the agent that a restart cannot mend: wrong configuration, a lock that somebody holds. A shipper
# that cannot run is tried again: what comes in is collected all the same.
_FATAL = frozenset({2, 3, 6})


class Supervisor:
    """Runs commands (name -> edgemon arguments), in that order; stops them in that order too.

    commands: asked at the start and after each SIGHUP; what is new then is started as well.
    stop_timeout_s: how long each child may take to end before it is killed.
    config: the file as it is now; its ship.mode at the start says whether "ship" runs in bursts.
    """

    def __init__(
        self,
        commands: Callable[[], dict[str, list[str]]],
        stop_timeout_s: float,
        config: Callable[[], Config] | None = None,
    ) -> None:
        self._commands = commands
        self._children: dict[str, Child] = {}
        self._sockets: dict[int, str] = {}
        self._stop_timeout_s = stop_timeout_s
        self._loop = Loop()
        self._lifeline = Lifeline()
        self._exit_code = 0
        self._config = config
        self._bursts: Bursts | None = None
        self._from_afar = False
        if config is not None and (now := config()).ship.mode == "burst":
            self._from_afar = now.remote.enabled
            self._bursts = Bursts(
                self._loop, now, lambda: self._children[_BURST].start(), self._read_schedule
            )

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or until the agent says that no restart can help; returns the exit code."""
        self._loop.on_signal(signal.SIGTERM, self._loop.stop)
        self._loop.on_signal(signal.SIGINT, self._loop.stop)
        self._loop.on_signal(signal.SIGHUP, self._reload)
        # They stay open here: what clients send while the agent is being restarted waits in them.
        self._sockets = listen_fds(os.environ)
        self._start_new(self._commands())
        if self._bursts is not None:
            self._bursts.begin()
        self._loop.run()
        self._stop()
        return self._exit_code

    def _start_new(self, commands: dict[str, list[str]]) -> None:
        for name, arguments in commands.items():
            if name in self._children:
                continue
            command = [*own_program(), *arguments]
            sockets = self._sockets if name == _AGENT else {}
            child = Child(self._loop, self._lifeline, name, command, self._ended(name), sockets)
            self._children[name] = child
            if self._bursts is None or name != _BURST:
                child.start()

    def _ended(self, name: str) -> Callable[[int], None]:
        def ended(code: int) -> None:
            if self._bursts is not None and name == _BURST:
                self._bursts.ended(code)
                if self._from_afar:
                    self._read_schedule()  # a burst may have brought another
            elif code in _FATAL and name == _AGENT:
                log.error(f"{name} cannot run, giving up", exit_code=code)
                self._exit_code = code
                self._loop.stop()
            else:
                self._children[name].start_later(code)

        return ended

    def _reload(self) -> None:
        """Each child reads the file itself, and says what it thinks of it."""
        for child in self._children.values():
            child.send(signal.SIGHUP)
        with suppress(ConfigError):  # the agent refuses the same file and names its faults
            self._start_new(self._commands())
        self._read_schedule()

    def _read_schedule(self) -> None:
        if self._bursts is not None and self._config is not None:
            with suppress(ConfigError):
                self._bursts.reload(self._config().ship)

    def _stop(self) -> None:
        if self._bursts is not None:
            self._bursts.stop()
        for child in self._children.values():
            if not child.stop(self._stop_timeout_s):
                self._exit_code = self._exit_code or 1
