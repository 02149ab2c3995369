"""A plugin that gives series: asked every `interval`, started again when it ended; never waited for.

Its answer joins the next row of device samples, once. Its names begin with the plugin's, and over its life there are at
most MAX_SERIES of them: what it makes up beyond is dropped and counted.
"""

from __future__ import annotations

from edgemon import log
from edgemon.config import PluginSettings
from edgemon.flow.backoff import Backoff
from edgemon.metrics import Counters
from edgemon.plugins import protocol
from edgemon.plugins.process import NEVER, NOT_STARTED, STOPPED, End, PluginProcess
from edgemon.plugins.protocol import COLLECT, MAX_SERIES, Message
from edgemon.std import random
from edgemon.std.collections.abc import Callable

DROPPED_VALUES = "edgemon_plugin_dropped_values_total"
ERRORS = "edgemon_plugin_errors_total"
# An answer is to be there when the row is made, a little later.
LEAD_S = 1.0
_HEALTHY_S = 60.0


class PluginCollector:
    """One plugin, driven by its owner's loop as its process is (watch, handle, tick, deadline).

    refused(name, why): its program may not be started, or cannot be; told once, until it has started.
    uniform: draws from [0, 1), for pauses between starts.
    """

    def __init__(
        self,
        settings: PluginSettings,
        counters: Counters,
        about: dict[str, str],
        refused: Callable[[str, str], None],
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.process = PluginProcess(settings, counters, self, about)
        self._counters = counters
        self._backoff = Backoff(1.0, 300.0, 2.0, uniform)
        self.latest: dict[str, float] = {}  # of the last answer; none while it does not run
        self._fresh: dict[str, float] = {}
        self._names: set[str] = set()
        self._now = self._started_s = 0.0
        self._next_start = self._next_ask = NEVER
        self._stopping = False
        self._refused = refused
        self._was_refused = False

    def start(self, now: float) -> None:
        """Begin. Rows are made every `interval` from now: it is asked a little before each."""
        interval_s = self.settings.interval_s
        self._next_ask = now + interval_s - min(LEAD_S, interval_s / 2)
        self._now = now
        self._start()

    def collect(self, now_s: float) -> dict[str, float]:  # noqa: ARG002 - as of its last answer
        """What it answered since the last call."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def status(self) -> dict[str, object]:
        """For `edgemon status`."""
        return self.process.status() | {"series": len(self._names)}

    # -- driven by the loop

    def watch(self) -> dict[int, int]:
        return self.process.watch()

    def handle(self, fd: int, now: float) -> None:
        self._now = now
        self.process.handle(fd, now)

    def tick(self, now: float) -> None:
        self._now = now
        self.process.tick(now)
        if now >= self._next_start:
            self._start()
        if now >= self._next_ask:
            interval_s = self.settings.interval_s
            self._next_ask += interval_s * (1 + (now - self._next_ask) // interval_s)
            if self.process.state == "idle":
                self.process.ask(COLLECT, now)

    def deadline(self) -> float:
        return min(self.process.deadline(), self._next_start, self._next_ask)

    def stop(self, now: float) -> None:
        """It is not asked or started again; over when the process is down."""
        self._stopping = True
        self._next_start = self._next_ask = NEVER
        self.process.stop(now)

    # -- what its process reports

    def on_hello(self) -> None:
        self._was_refused = False
        log.info(f"plugin {self.settings.name} started", pid=self.process.pid)

    def on_answer(self, message: Message) -> None:
        if message.kind == "values":
            self._take(message.values)
        else:
            reason = "exception" if message.kind == "error" else "wrong_answer"
            self._counters.add(ERRORS, reason=reason)

    def on_end(self, end: End) -> None:
        self.latest = {}
        if end.reason == STOPPED or self._stopping:
            return
        if self._now - self._started_s > _HEALTHY_S:
            self._backoff.reset()
        if end.reason == NOT_STARTED and not self._was_refused:
            self._was_refused = True
            self._refused(self.settings.name, end.text)
        delay_s = self._backoff.next_delay()
        self._next_start = self._now + delay_s
        log.warning(f"{end.of(self.settings.name)}; it is started again in {delay_s:.1f} s")

    def _start(self) -> None:
        self._next_start = NEVER
        self._started_s = self._now
        self.process.start(self._now)

    def _take(self, values: dict[str, object]) -> None:
        good, bad = protocol.readings(values)
        for reason in bad:
            self._counters.add(DROPPED_VALUES, reason=reason)
        self.latest = {}
        for name, value in good.items():
            if name not in self._names:
                if len(self._names) >= MAX_SERIES:
                    self._counters.add(DROPPED_VALUES, reason="too_many")
                    continue
                self._names.add(name)
            self.latest[f"{self.settings.name}_{name}"] = value
        self._fresh |= self.latest
