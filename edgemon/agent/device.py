"""The device's health beside the models: when it is sampled, and what of its past is kept."""

from __future__ import annotations

import time

from edgemon.agent.batches import Batches
from edgemon.agent.clocks import Clocks
from edgemon.agent.loop import Loop, Timer
from edgemon.agent.store import StateStore
from edgemon.agent.system import SystemMonitor
from edgemon.collect import Collector
from edgemon.config import SystemSettings
from edgemon.metrics import Counters
from edgemon.records import Event, Row
from edgemon.std.collections.abc import Callable, Iterable, Mapping

# How often the past of the device's series is written: 2.4 KB a series, for flash's sake seldom.
_SAVE_PAST_S = 3600.0


class Device:
    """Ticks the system monitor and gives on what it finds.

    emit_event(event, mono_ns).  peers(): process ids of the connected applications.
    """

    def __init__(
        self,
        loop: Loop,
        clocks: Clocks,
        counters: Counters,
        batches: Batches,
        store: StateStore,
        emit_event: Callable[[Event, int], None],
        peers: Callable[[], Iterable[int]],
    ) -> None:
        self._loop = loop
        self._clocks = clocks
        self._counters = counters
        self._batches = batches
        self._store = store
        self._emit_event = emit_event
        self._peers = peers
        self._timer: Timer | None = None
        self._past_saved_s = loop.now()
        self.monitor: SystemMonitor | None = None
        self.on_sample: Callable[[dict[str, float]], None] | None = None  # whoever wants to know

    def start(self, settings: SystemSettings, plugins: Mapping[str, Collector]) -> None:
        """Begin to sample where the settings ask for it; the past of the series is read."""
        self.reconfigure(settings, plugins)
        if self.monitor is not None and self.monitor.anomalies is not None:
            self._store.load_past(self.monitor.anomalies.restore)

    def reconfigure(self, settings: SystemSettings, plugins: Mapping[str, Collector]) -> None:
        """Begin anew after a reload; what was learned is kept."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        before, self.monitor = self.monitor, None
        if settings.enabled and (settings.collectors or plugins):
            self.monitor = SystemMonitor(
                settings, self._counters, self._on_row, self._on_event, self._peers, before, plugins
            )
            self._timer = self._loop.call_every(settings.interval_s, self._tick)

    def stop(self) -> None:
        self._save_past()

    def _tick(self) -> None:
        self._clocks.observe()
        if self.monitor is not None:
            now_s = self._loop.now()
            self.monitor.tick(now_s)
            if self.on_sample is not None:
                self.on_sample(self.monitor.latest)
            if now_s - self._past_saved_s >= _SAVE_PAST_S:
                self._past_saved_s = now_s
                self._save_past()

    def _save_past(self) -> None:
        if self.monitor is not None and self.monitor.anomalies is not None:
            self._store.save_past(self.monitor.anomalies.to_state())

    def _on_row(self, row: Row) -> None:
        self._batches.add("sys", row, time.monotonic_ns(), promised=False)

    def _on_event(self, event: Event) -> None:
        self._emit_event(event, time.monotonic_ns())
