"""All series of a device: which are watched, in which steps of time, and what is told of them."""

from __future__ import annotations

from edgemon._core import msgpack
from edgemon.anomaly.detector import Detector, Judgement, Limits
from edgemon.config import AnomalySettings
from edgemon.config.amounts import format_duration
from edgemon.flow.limit import TellLimit
from edgemon.flow.names import any_of
from edgemon.metrics import Counters
from edgemon.records import Event
from edgemon.std.collections.abc import Mapping

MAX_SERIES = 128
DROPPED = "edgemon_anomaly_dropped_series_total"
MUTED = "edgemon_anomaly_muted_events_total"
_DAY_S = 86_400.0
_MAX_IGNORED = 1024
# The least distance from the expected that is told, absolute and as a share of the expected, by the unit at the end of
# a series' name (before a point).
MIN_EFFECTS = (
    ("_percent", 10.0, 0.0),
    ("_celsius", 5.0, 0.0),
    ("_bytes_per_s", 100e3, 0.1),
    ("_per_s", 1.0, 0.1),
    ("_bytes", 16e6, 0.1),
    ("_watts", 1.0, 0.1),
    ("load_1m", 1.0, 0.0),
)
# Flags and ratios of 0 to 1, and names that say nothing of a unit.
MIN_EFFECT = (0.2, 0.0)


class Anomalies:
    """Judges the mean of each series in steps of `interval`.

    sample(values, now_s) takes one sample of all series, and gives the events of the step that it completes: at most
    max_per_day `anomaly.started` a series and day, each with its `anomaly.cleared`; more are counted as MUTED. At most
    MAX_SERIES are watched. One that is silent for a whole window is let go; one that has an anomaly then, or is silent
    for min_duration, is over ("gone").
    """

    def __init__(self, settings: AnomalySettings, counters: Counters) -> None:
        self.settings = settings
        self._counters = counters
        self._include = any_of(settings.include)
        self._exclude = any_of(settings.exclude)
        self._series: dict[str, _Series] = {}
        self._ignored: set[str] = set()  # decided once, not at each sample
        self._step_end_s: float | None = None

    def sample(self, values: Mapping[str, float], now_s: float) -> list[Event]:
        """values: series -> number, what is not finite is passed over.  now_s: monotonic seconds."""
        interval_s = self.settings.interval_s
        if self._step_end_s is None:
            self._step_end_s = now_s + interval_s
        events: list[Event] = []
        if now_s >= self._step_end_s:
            events = self._close_step(now_s)
            self._step_end_s += interval_s
            if self._step_end_s <= now_s:  # the device slept, or samples are rare
                self._step_end_s = now_s + interval_s
        for name, value in values.items():
            if value - value == 0:  # finite
                series = self._series.get(name) or self._new(name)
                if series is not None:
                    series.total += value
                    series.count += 1
        return events

    def active(self) -> dict[str, Judgement]:
        """Series with an anomaly that goes on -> the latest judgement of it."""
        return {
            name: series.detector.latest
            for name, series in self._series.items()
            if series.detector.started is not None and series.detector.latest is not None
        }

    def to_state(self) -> bytes:
        """The past of all series, for `restore`: a msgpack map {series: Detector.to_state and `told`}. An open step is
        not in it.
        """
        series = {
            name: one.detector.to_state() | {"told": one.told} for name, one in self._series.items()
        }
        return bytes(msgpack.packb(series))

    def restore(self, state: bytes) -> None:
        """Go on where another one was, in its series that are still watched in the same way; before the first sample.

        ValueError where it is not of `to_state`, and then nothing is restored.
        """
        try:
            for name, past in msgpack.unpackb(state).items():
                one = self._new(str(name))
                if one is None:
                    continue
                if one.detector.restore(past):
                    one.told = bool(past["told"])
                else:
                    del self._series[name]
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            self._series = {}
            raise ValueError(f"not the past of series: {error!r}") from error

    def _close_step(self, now_s: float) -> list[Event]:
        settings = self.settings
        interval_s = settings.interval_s
        events = []
        for name, series in list(self._series.items()):
            if series.count:
                change = series.detector.update(series.total / series.count)
                series.total, series.count, series.silent = 0.0, 0, 0
            else:
                series.silent += 1
                change = ""
                if series.detector.started is not None and series.silent >= series.limits.lasting:
                    change = "gone"
            judgement = series.detector.latest
            if change and judgement is not None:
                told = self._tell(name, series, change, judgement, now_s)
                events += [told] if told is not None else []
            if change == "gone" or series.silent * interval_s >= settings.window_s:
                del self._series[name]
        return events

    def _tell(
        self, name: str, series: _Series, change: str, at: Judgement, now_s: float
    ) -> Event | None:
        limits = series.limits
        if change == "started":
            series.told = series.often.allow(name, now_s)
        if not series.told:
            self._counters.add(MUTED, reason="started" if change == "started" else "cleared")
            return None
        lasted = format_duration(limits.lasting * self.settings.interval_s)
        data: dict[str, object] = {
            "method": limits.method,
            "value": _rounded(at.value),
            "expected": _rounded(at.expected),
            "limit": _rounded(at.limit),
            "score": _rounded(at.score),
            "threshold": limits.threshold,
        }
        if limits.method != "robust_z":
            data["statistic"] = _rounded(at.statistic)
        if change == "started":
            side = "above" if at.statistic > at.expected else "below"
            text = (
                f"{name} is {at.value:.4g}, for {lasted} {side} its limit {at.limit:.4g};"
                f" expected {at.expected:.4g}"
            )
            return Event("anomaly.started", "warning", text, stream=name, data=data)
        text = {
            "back": f"{name} is back at {at.value:.4g}",
            "adapted": f"{name} stays at {at.value:.4g}, which is expected from now on",
            "gone": f"{name} is not reported any more, it was {at.value:.4g}",
        }[change]
        return Event("anomaly.cleared", "info", text, stream=name, data={"reason": change} | data)

    def _new(self, name: str) -> _Series | None:
        """Begin to watch a series; None for one that is not to be watched, or one too many."""
        if name in self._ignored:
            return None
        if not self._include(name) or self._exclude(name):
            if len(self._ignored) < _MAX_IGNORED:
                self._ignored.add(name)
            return None
        if len(self._series) >= MAX_SERIES:
            self._counters.add(DROPPED, reason="too_many")
            return None
        series = _Series(self._limits(name), self.settings.max_per_day)
        self._series[name] = series
        return series

    def _limits(self, name: str) -> Limits:
        """With the first of the `series` rules that matches over what holds for all."""
        settings = self.settings
        method, threshold, lasting_s = settings.method, settings.threshold, settings.min_duration_s
        unit = name.partition(".")[0]
        effect, share = next(
            ((least, part) for end, least, part in MIN_EFFECTS if unit.endswith(end)), MIN_EFFECT
        )
        for rule in settings.series:
            if any_of([rule.pattern])(name):
                method = rule.method or method
                threshold = rule.threshold or threshold
                lasting_s = rule.min_duration_s or lasting_s
                if rule.min_effect is not None:
                    effect, share = rule.min_effect, 0.0
                break
        window = max(2, round(settings.window_s / settings.interval_s))
        lasting = max(1, round(lasting_s / settings.interval_s))
        guard = 2 * lasting  # what an anomaly takes to begin is no part of what it is judged by
        warm_up = max(2, window // 2 - guard)
        return Limits(method, threshold, effect, share, window, guard, warm_up, lasting)


class _Series:
    """One series: the step that is open, and the detector of those before it."""

    __slots__ = ("count", "detector", "limits", "often", "silent", "told", "total")

    def __init__(self, limits: Limits, max_per_day: int) -> None:
        self.limits = limits
        self.detector = Detector(limits)
        self.often = TellLimit(max_per_day, _DAY_S)
        self.told = False  # whether the anomaly that goes on was
        self.total = 0.0
        self.count = 0
        self.silent = 0  # steps without a value, in a row


def _rounded(value: float) -> float:
    """Seven digits: more say nothing, and cost bytes."""
    return float(f"{value:.7g}")
