"""One plugin run by hand, as the agent or the shipper would run it. This waits, which neither of them does."""

from __future__ import annotations

import math
import time

from edgemon.config import Config, PluginSettings
from edgemon.metrics import Counters
from edgemon.plugins.process import End, PluginProcess, about, turn
from edgemon.plugins.protocol import Message
from edgemon.std.collections.abc import Callable

_LONGEST_TURN_S = 60.0


class Trial:
    """failure: why it ended, "" while it has not, or where it was stopped."""

    def __init__(self, config: Config, settings: PluginSettings) -> None:
        self.process = PluginProcess(settings, Counters(), self, about(config))
        self.failure = ""
        self._answer: Message | None = None

    def start(self) -> bool:
        """Whether it said hello."""
        process = self.process
        process.start(time.monotonic())
        self._drive(lambda: process.state not in ("starting", "ending"))
        return process.state == "idle"

    def ask(self, line: bytes) -> Message | None:
        """Its answer; None: it ended instead."""
        process, self._answer = self.process, None
        if process.state == "idle":
            process.ask(line, time.monotonic())
            self._drive(lambda: process.state in ("idle", "down"))
        return self._answer

    def rest(self, seconds: float) -> None:
        """Let it be for so long, or until it ends."""
        self._drive(lambda: self.process.state == "down", time.monotonic() + seconds)

    def stop(self, until_s: float = math.inf) -> None:
        """Let it end by itself, or kill it: when a stop has taken too long, or at that monotonic second."""
        self.process.stop(time.monotonic())
        self._drive(lambda: self.process.state == "down", until_s)
        self.process.kill()

    def _drive(self, until: Callable[[], bool], until_s: float = math.inf) -> None:
        while not until() and time.monotonic() < until_s:
            turn([self.process], min(until_s, time.monotonic() + _LONGEST_TURN_S))

    # -- what its process reports

    def on_hello(self) -> None:
        """Its state says so."""

    def on_answer(self, message: Message) -> None:
        self._answer = message

    def on_end(self, end: End) -> None:
        self.failure = end.text
