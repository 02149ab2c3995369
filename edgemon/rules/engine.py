"""Which rules hold: figures come in, notices come out. Pure: time comes in as monotonic seconds.

A rule holds by itself for each model, version, stream or series that has its figures; one such is an instance.
"""

from __future__ import annotations

import math

from edgemon.config.amounts import format_duration
from edgemon.config.settings import RuleSettings
from edgemon.flow.names import any_of
from edgemon.records import Row
from edgemon.rules.expression import truth
from edgemon.rules.figures import (
    DEVICE,
    LOOK,
    METRIC,
    MODEL,
    PLUGIN,
    REPORT,
    SAMPLE,
    STREAM,
    SYSTEM,
    VERSION,
    WINDOW,
    is_wild,
)
from edgemon.rules.rule import Key, Notice, Rule
from edgemon.std.collections.abc import Callable, Collection, Iterable, Mapping
from edgemon.typed import NamedTuple

# Reported metrics that rules name: what comes later is not looked at, and counted.
MAX_METRICS = 1024
# One that was not reported for so long, and for the longest `for` of all rules before that, is forgotten.
METRIC_TTL_S = 86_400.0
_EXPIRE_EVERY_S = 60.0
_SHORTEST_STEP_S, _LONGEST_STEP_S = 1.0, 5.0


class _Version(NamedTuple):
    """What the last window of one (model, version) had. own: figure -> value.  streams: stream -> figure -> value."""

    own: dict[str, float | None]
    streams: dict[str, dict[str, float | None]]


class Ended(NamedTuple):
    """What rules that are no more had counted."""

    fired: int = 0
    suppressed: int = 0
    left_out: int = 0


class Engine:
    """All rules of a configuration and the figures that they read.

    named: models that the configuration names: they are silent from the beginning, not from their first prediction.
    """

    def __init__(self, rules: list[RuleSettings], named: Iterable[str], now_s: float) -> None:
        self._begun_s = now_s
        self._device: dict[str, float] = {}  # by the full name of the figure
        self._reported_s: dict[str, float] = {}  # of those that are metrics
        self._expiry_s = now_s  # when they were looked through last
        self._versions: dict[tuple[str, str], _Version] = {}
        self._seen_s: dict[str, float] = {}
        self.ended = Ended()
        self._set([Rule(settings) for settings in rules], named)

    def _set(self, rules: list[Rule], named: Iterable[str]) -> None:
        self.rules = rules
        configured = set(named)
        literal = {rule.settings.model for rule in rules if not is_wild(rule.settings.model)}
        self._named = configured | literal
        self._of_rules = (
            literal - configured
        )  # for a rule that does not name them they need not be there
        figures = {figure.name: figure for rule in rules for figure in rule.figures.values()}
        self._of_window = [figure for figure in figures.values() if figure.source == WINDOW]
        metrics = [name for name in figures if name.startswith(METRIC)]
        self._is_metric = any_of(metrics) if metrics else None
        self._device = {
            name: value
            for name, value in self._device.items()
            if not name.startswith(METRIC) or (self._is_metric and self._is_metric(name))
        }
        self._reported_s = {
            name: at_s for name, at_s in self._reported_s.items() if name in self._device
        }

    def reconfigure(
        self, rules: list[RuleSettings], named: Iterable[str], now_s: float
    ) -> list[Notice]:
        """Other rules from now on; of those that are as they were, everything stays."""
        kept = {rule.settings: rule for rule in self.rules if rule.settings in rules}
        notices: list[Notice | None] = []
        for rule in self.rules:
            if rule.settings not in kept:
                self.ended = Ended(
                    self.ended.fired + rule.fired,
                    self.ended.suppressed + rule.suppressed,
                    self.ended.left_out + rule.left_out,
                )
                notices += [
                    rule.drop(key, "the rule was changed", now_s) for key in list(rule.instances)
                ]
        self._set([kept.get(settings) or Rule(settings) for settings in rules], named)
        return [notice for notice in notices if notice is not None]

    @property
    def step_s(self) -> float:
        """How often to `look`: a quarter of the shortest time that a rule speaks of, within bounds."""
        times = [rule.shortest_s for rule in self.rules]
        return min(_LONGEST_STEP_S, max(_SHORTEST_STEP_S, min(times, default=math.inf) / 4))

    def wanted(self, source: str) -> set[str]:
        """Figures of that source which some rule names."""
        figures = (figure for rule in self.rules for figure in rule.figures.values())
        return {figure.name for figure in figures if figure.source == source}

    # -- figures in, notices out

    def window(self, model: str, version: str, rows: Iterable[Row], now_s: float) -> list[Notice]:
        """A window of a version closed with these rows; none where nothing came."""
        found = _Version({}, {})
        empty = True
        for row in rows:
            empty = False
            stream = str(row.get("stream", ""))
            for figure in self._of_window:
                assert figure.take is not None
                if figure.scope == STREAM and stream:
                    found.streams.setdefault(stream, {})[figure.name] = figure.take(row)
                elif figure.scope == VERSION and figure.of == stream:
                    found.own[figure.name] = figure.take(row)
        if empty:
            found.own.update(rate=0.0, errors=0.0, truths=0.0)
        self._versions[model, version] = found
        notices: list[Notice | None] = []
        for rule in self.rules:
            if WINDOW not in rule.sources:
                continue
            keys = {Key(model, version)} if rule.scope == VERSION else set()
            if rule.scope == STREAM:
                keys = {Key(model, version, stream) for stream in found.streams}
                keys |= {key for key in rule.instances if key[:2] == (model, version)}
            notices += self._judge(rule, sorted(keys), now_s)
        return [notice for notice in notices if notice is not None]

    def sample(self, values: Mapping[str, float], now_s: float) -> list[Notice]:
        """The device was sampled; a series that is not there now has no value."""
        both = SYSTEM, PLUGIN
        rest = {name: value for name, value in self._device.items() if not name.startswith(both)}
        found = {prefix + name: value for prefix in both for name, value in values.items()}
        self._device = rest | found
        return self._of_device(SAMPLE, now_s)

    def report(self, name: str, value: float, now_s: float) -> list[Notice]:
        """An application reported a metric."""
        full = METRIC + name
        if self._is_metric is None or not self._is_metric(full):
            return []
        if full not in self._reported_s and len(self._reported_s) >= MAX_METRICS:
            self.ended = self.ended._replace(left_out=self.ended.left_out + 1)
            return []
        self._device[full] = value
        self._reported_s[full] = now_s
        return self._of_device(REPORT, now_s, full)

    def look(
        self,
        values: Mapping[str, float],
        seen_s: Mapping[str, float],
        versions: Collection[tuple[str, str]],
        now_s: float,
    ) -> list[Notice]:
        """Time went on. values: the device's figures that are looked at, by name.  seen_s: model -> its last
        prediction.  versions: those that the agent knows; others are forgotten."""
        self._device |= values
        self._seen(seen_s)
        notices: list[Notice | None] = []
        for known in [key for key in self._versions if key not in versions]:
            del self._versions[known]
        for rule in self.rules:
            if rule.scope == DEVICE:
                continue
            models = self._models(rule, seen_s)
            notices += [
                rule.drop(key, "it was let go", now_s)
                for key in list(rule.instances)
                if (key[:2] not in versions if rule.scope != MODEL else key.model not in models)
            ]
            if rule.scope == MODEL:
                keys = {Key(name) for name in models}
            elif rule.sources == {WINDOW}:
                keys = {key for key, instance in rule.instances.items() if instance.waits}
            else:
                keys = self._keys(rule)
            notices += self._judge(rule, sorted(keys), now_s)
        told = self._of_device(LOOK, now_s) + [one for one in notices if one is not None]
        return told + self._expire(now_s)

    def _expire(self, now_s: float) -> list[Notice]:
        """Forget metrics that nobody reports any more; what fires for such a one alone is over."""
        if now_s - self._expiry_s < _EXPIRE_EVERY_S:
            return []
        self._expiry_s = now_s
        ttl_s = METRIC_TTL_S + max((rule.longest_s for rule in self.rules), default=0.0)
        gone = [name for name, at_s in self._reported_s.items() if now_s - at_s > ttl_s]
        for name in gone:
            del self._reported_s[name], self._device[name]
        notices = [
            rule.drop(key, f"{name} was not reported for {format_duration(round(ttl_s))}", now_s)
            for name in gone
            for rule in self.rules
            if (key := _about(rule, name)) in rule.instances
            and truth(rule.when.node, self._reader(rule, key, now_s)) is not True
        ]
        return [notice for notice in notices if notice is not None]

    def _seen(self, seen_s: Mapping[str, float]) -> None:
        named = {
            name: max(self._seen_s.get(name, self._begun_s), seen_s.get(name, self._begun_s))
            for name in self._named
        }
        self._seen_s = dict(seen_s) | named

    def _models(self, rule: Rule, seen_s: Mapping[str, float]) -> set[str]:
        """Those that may be silent: what another rule names alone is none of this one's until it was there."""
        return {
            name
            for name in self._seen_s
            if name in seen_s or name == rule.settings.model or name not in self._of_rules
        }

    def _keys(self, rule: Rule) -> set[Key]:
        if rule.scope == VERSION:
            return {Key(*key) for key in self._versions}
        streams = (
            (key, stream) for key, found in self._versions.items() for stream in found.streams
        )
        return {Key(*key, stream) for key, stream in streams}

    def _of_device(self, source: str, now_s: float, changed: str = "") -> list[Notice]:
        """Judge the rules that are about the device alone. changed: the one figure that has a new value."""
        notices: list[Notice | None] = []
        for rule in self.rules:
            if rule.scope != DEVICE or (source not in rule.sources and source != LOOK):
                continue
            if not rule.wild:
                notices += self._judge(rule, [Key()], now_s)
                continue
            matches = any_of([rule.wild])
            names = [changed] if changed else list(self._device)
            keys = {Key(series=_series(name)) for name in names if matches(name)}
            if not changed:
                keys |= set(rule.instances)
            notices += self._judge(rule, sorted(keys), now_s)
        return [notice for notice in notices if notice is not None]

    def _judge(self, rule: Rule, keys: Iterable[Key], now_s: float) -> list[Notice | None]:
        return [
            rule.judge(key, self._reader(rule, key, now_s), now_s)
            for key in keys
            if rule.is_about(key)
        ]

    def _reader(self, rule: Rule, key: Key, now_s: float) -> Callable[[str], float | None]:
        def read(name: str) -> float | None:
            value = self._value(rule, key, name, now_s)
            return value if value is not None and math.isfinite(value) else None

        return read

    def _value(self, rule: Rule, key: Key, name: str, now_s: float) -> float | None:
        figure = rule.figures[name]
        if figure.scope == DEVICE:
            prefix = name.partition(".")[0] + "."
            return self._device.get(prefix + key.series if name == rule.wild else name)
        if figure.scope == MODEL:
            seen_s = self._seen_s.get(key.model)
            return now_s - seen_s if seen_s is not None else None
        found = self._versions.get((key.model, key.version))
        if found is None:
            return None
        own = found.own if figure.scope == VERSION else found.streams.get(key.stream, {})
        return own.get(name)

    def status(self, now_s: float) -> list[dict[str, object]]:
        """Each rule, in the order of the file."""
        return [rule.status(now_s) for rule in self.rules]


def _about(rule: Rule, name: str) -> Key | None:
    """Which of its instances reads that figure of the device; None for none."""
    if rule.wild and any_of([rule.wild])(name):
        return Key(series=_series(name))
    return Key() if name in rule.figures else None


def _series(name: str) -> str:
    return name.partition(".")[2]
