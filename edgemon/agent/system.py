"""Device health on a timer: every collector's values become one row of the open `sys` batch, and are judged."""

from __future__ import annotations

from edgemon import log
from edgemon.anomaly import Anomalies
from edgemon.collect import COLLECTORS, Collector, Place
from edgemon.collect.files import Files
from edgemon.config import SystemSettings
from edgemon.metrics import Counters
from edgemon.records import Event, Row
from edgemon.std.collections.abc import Callable, Iterable, Mapping

FAILED = "edgemon_collect_failures_total"


class SystemMonitor:
    """Runs the configured collectors at each tick. One that raises is counted and tried again at the next.

    emit_row(row): receives one row a tick; nothing where no collector had a value.
    emit_event(event): what the watch for anomalies has to say.
    peers(): process ids of the connected applications.
    before: the monitor that this one follows after a reload: what it had learned is kept, unless it was another thing.
    plugins: collectors of others, by name; edgemon's own win where both have a series.
    """

    def __init__(
        self,
        settings: SystemSettings,
        counters: Counters,
        emit_row: Callable[[Row], None],
        emit_event: Callable[[Event], None],
        peers: Callable[[], Iterable[int]] = tuple,
        before: SystemMonitor | None = None,
        plugins: Mapping[str, Collector] | None = None,
    ) -> None:
        place = Place(Files(settings.root), settings.disk_path, peers)
        self._collectors: dict[str, Collector] = dict(plugins or {})
        self._collectors |= {name: COLLECTORS[name](place) for name in settings.collectors}
        self._counters = counters
        self._emit_row = emit_row
        self._emit_event = emit_event
        self._failing: set[str] = set()
        self.latest: dict[str, float] = {}
        # Own collector -> how many series it had at the last tick; a device without a GPU has 0 of it.
        self.found: dict[str, int] = dict.fromkeys(settings.collectors, 0)
        self.anomalies: Anomalies | None = None
        if settings.anomalies.enabled:
            step_s = max(settings.anomalies.interval_s, settings.interval_s)
            wanted = settings.anomalies._replace(interval_s=step_s)
            kept = before.anomalies if before is not None else None
            is_same = kept is not None and kept.settings == wanted
            self.anomalies = kept if is_same else Anomalies(wanted, counters)

    def tick(self, now_s: float) -> None:
        """Collect once. now_s: monotonic seconds."""
        values: dict[str, float] = {}
        for name, collector in self._collectors.items():
            try:
                series = collector.collect(now_s)
                self._failing.discard(name)
            except (
                Exception
            ) as error:  # one of the three borders: a collector's fault stays its own
                series = {}
                self._counters.add(FAILED, reason=name)
                if name not in self._failing:
                    self._failing.add(name)
                    log.warning(
                        f"collector {name} failed: {error!r}; it is tried again at each tick"
                    )
            if name in self.found:
                self.found[name] = len(series)
            values |= series
        self.latest = values
        if values:
            self._emit_row(dict(values))
        if self.anomalies is not None:
            for event in self.anomalies.sample(values, now_s):
                self._emit_event(event)

    def anomalies_now(self) -> list[dict[str, object]]:
        """Those that go on, as `edgemon status` shows them."""
        if self.anomalies is None:
            return []
        return [
            {"series": name, "value": at.value, "expected": at.expected, "limit": at.limit}
            for name, at in self.anomalies.active().items()
        ]
