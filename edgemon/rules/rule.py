"""One rule: where each of its instances stands, and how often it may be told. Pure.

An instance that is neither pending nor firing nor remembered for the rate limit takes no memory.
"""

from __future__ import annotations

import math

from edgemon.config.amounts import format_duration
from edgemon.config.settings import RuleSettings
from edgemon.flow.limit import TellLimit
from edgemon.flow.names import any_of
from edgemon.rules.expression import Condition, comparisons, parse, truth
from edgemon.rules.figures import Figure
from edgemon.rules.units import shown
from edgemon.std.collections.abc import Callable
from edgemon.typed import NamedTuple

# Instances of one rule: what comes later is not looked at, and counted.
MAX_INSTANCES = 1024
# Instances that `status` names.
MAX_SHOWN = 8
_HOUR_S = 3600.0


class Key(NamedTuple):
    """Whom an instance is about; "" where its rule's figures do not go so far."""

    model: str = ""
    version: str = ""
    stream: str = ""
    series: str = ""

    def words(self) -> str:
        """For people.

        >>> Key("fraud", "3", "f:amount").words()
        'model fraud, version 3, stream f:amount'
        """
        return ", ".join(f"{name} {value}" for name, value in self._asdict().items() if value)


class Notice(NamedTuple):
    """A rule began to fire, or ceased to.

    state: "fired" | "cleared".  values: of the figures of the condition that decided.  since_s: how long it has held.
    suppressed: firings of the rule that were never told, since the last one that was.
    """

    rule: RuleSettings
    state: str
    message: str
    key: Key
    values: dict[str, float | None]
    since_s: float
    suppressed: int


class Instance:
    """Where one instance stands; times are monotonic seconds, None for not now."""

    __slots__ = ("clearing_s", "fired_s", "pending_s", "told", "told_s")

    def __init__(self) -> None:
        self.pending_s: float | None = None  # the condition has held since
        self.fired_s: float | None = None
        self.clearing_s: float | None = None  # the way out has been open since
        self.told = False  # that it fired
        self.told_s: float | None = None  # when that was told last

    @property
    def waits(self) -> bool:
        """Whether time alone may change it, or have it told."""
        if self.fired_s is not None:
            return self.clearing_s is not None or not self.told
        return self.pending_s is not None


class Rule:
    """A rule's settings, parsed, and its instances."""

    def __init__(self, settings: RuleSettings) -> None:
        self.settings = settings
        self.when = parse(settings.when)
        self.clear: Condition | None = parse(settings.clear) if settings.clear else None
        self.figures: dict[str, Figure] = dict(self.when.figures)
        if self.clear is not None:
            self.figures |= self.clear.figures
        self.scope = self.when.scope
        self.wild = self.when.wild
        self.sources = {figure.source for figure in self.figures.values()}
        self._is_model = any_of([settings.model])
        self._is_stream = any_of([settings.stream])
        self.instances: dict[Key, Instance] = {}
        self._limit = TellLimit(settings.max_per_hour, _HOUR_S)
        self.fired = 0
        self.suppressed = 0  # not told when they began
        self.untold = 0  # of these, not told at all since the last that was
        self.left_out = 0  # instances for which there was no room

    @property
    def shortest_s(self) -> float:
        """The shortest time that it waits for, infinite for none."""
        conditions = [self.when, *([self.clear] if self.clear else [])]
        times = [condition.for_s for condition in conditions]
        times += [
            one.limit for condition in conditions for one in comparisons(condition.node)
            if one.figure == "silence"
        ]  # fmt: skip
        return min((time_s for time_s in times if time_s > 0), default=math.inf)

    @property
    def longest_s(self) -> float:
        """The longest time for which a condition of it must hold."""
        return max(self.when.for_s, self.clear.for_s if self.clear is not None else 0.0)

    def is_about(self, key: Key) -> bool:
        """Whether the rule's patterns let it in."""
        if key.model and not self._is_model(key.model):
            return False
        return not key.stream or bool(self._is_stream(key.stream))

    def judge(self, key: Key, read: Callable[[str], float | None], now_s: float) -> Notice | None:
        """Look at one instance anew."""
        instance = self.instances.get(key)
        if instance is None:
            if truth(self.when.node, read) is not True:
                return None
            if len(self.instances) >= MAX_INSTANCES:
                self.left_out += 1
                return None
            instance = self.instances[key] = Instance()
        notice = (
            self._may_clear(instance, key, read, now_s)
            if instance.fired_s is not None
            else self._may_fire(instance, key, read, now_s)
        )
        if (
            instance.fired_s is None
            and instance.pending_s is None
            and self._rested(instance, now_s)
        ):
            del self.instances[key]
        return notice

    def _may_fire(
        self, instance: Instance, key: Key, read: Callable[[str], float | None], now_s: float
    ) -> Notice | None:
        if truth(self.when.node, read) is not True:  # what is unknown begins nothing
            instance.pending_s = None
            return None
        if instance.pending_s is None:
            instance.pending_s = now_s
        if now_s - instance.pending_s < self.when.for_s:
            return None
        since_s = now_s - instance.pending_s
        instance.pending_s, instance.fired_s, instance.clearing_s = None, now_s, None
        self.fired += 1
        instance.told = False
        if notice := self._tell(instance, key, read, since_s, now_s):
            return notice
        self.suppressed += 1
        self.untold += 1
        return None

    def _tell(
        self,
        instance: Instance,
        key: Key,
        read: Callable[[str], float | None],
        since_s: float,
        now_s: float,
    ) -> Notice | None:
        """That it fires, where the limits allow it."""
        if not self._rested(instance, now_s) or not self._limit.allow("", now_s):
            return None
        instance.told, instance.told_s = True, now_s
        untold, self.untold = self.untold, 0
        return self._notice("fired", key, self.when, read, since_s, untold)

    def _tell_late(
        self, instance: Instance, key: Key, read: Callable[[str], float | None], now_s: float
    ) -> Notice | None:
        """What was not told when it began and goes on is told as soon as it may be."""
        assert instance.fired_s is not None
        if instance.told or truth(self.when.node, read) is not True:
            return None
        before, self.untold = self.untold, max(0, self.untold - 1)  # itself is told now
        notice = self._tell(instance, key, read, now_s - instance.fired_s, now_s)
        if notice is None:
            self.untold = before
        return notice

    def _may_clear(
        self, instance: Instance, key: Key, read: Callable[[str], float | None], now_s: float
    ) -> Notice | None:
        assert instance.fired_s is not None
        if self.clear is not None:
            is_over, for_s = truth(self.clear.node, read) is True, self.clear.for_s
        else:
            is_over, for_s = truth(self.when.node, read) is False, 0.0
        if not is_over:  # what is unknown ends nothing
            instance.clearing_s = None
            return self._tell_late(instance, key, read, now_s)
        if instance.clearing_s is None:
            instance.clearing_s = now_s
        if now_s - instance.clearing_s < for_s:
            return None
        since_s = now_s - instance.fired_s
        instance.fired_s = instance.clearing_s = None
        if not instance.told:
            return None
        return self._notice("cleared", key, self.clear or self.when, read, since_s, 0)

    def _rested(self, instance: Instance, now_s: float) -> bool:
        told_s = instance.told_s
        return told_s is None or now_s - told_s >= self.settings.min_interval_s

    def _notice(
        self,
        state: str,
        key: Key,
        condition: Condition,
        read: Callable[[str], float | None],
        since_s: float,
        suppressed: int,
    ) -> Notice:
        values = {name: read(name) for name in condition.figures}
        have = ", ".join(
            f"{name} is {shown(value, condition.figures[name].unit)}"
            for name, value in values.items()
        )
        about = f" ({words})" if (words := key.words()) else ""
        rest = f"; {suppressed} more were not told" if suppressed else ""
        if state == "fired":
            message = f"{self.settings.name}: {have}{about}{rest}"
        else:
            message = f"{self.settings.name} is over after {format_duration(round(since_s))}: {have}{about}"
        return Notice(self.settings, state, message, key, values, since_s, suppressed)

    def drop(self, key: Key, why: str, now_s: float) -> Notice | None:
        """Forget an instance; who was told that it fires is told that it does not any more."""
        instance = self.instances.pop(key)
        if instance.fired_s is None or not instance.told:
            return None
        about = f" ({words})" if (words := key.words()) else ""
        message = f"{self.settings.name} is over: {why}{about}"
        return Notice(self.settings, "cleared", message, key, {}, now_s - instance.fired_s, 0)

    def status(self, now_s: float) -> dict[str, object]:
        """For `edgemon status`."""
        firing = [
            {
                **{k: v for k, v in key._asdict().items() if v},
                "since_s": round(now_s - instance.fired_s, 1),
            }
            for key, instance in self.instances.items()
            if instance.fired_s is not None
        ]
        pending = sum(instance.pending_s is not None for instance in self.instances.values())
        return {
            "rule": self.settings.name,
            "model": self.settings.model,
            "severity": self.settings.severity,
            "state": "firing" if firing else "pending" if pending else "ok",
            "pending": pending,
            "firing": len(firing),
            "instances": firing[:MAX_SHOWN],
            "fired": self.fired,
            "suppressed": self.suppressed,
            "left_out": self.left_out,
        }
