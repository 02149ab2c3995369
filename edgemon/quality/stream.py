"""What may be wrong with one stream of a model, against its profile, its rules, or its own first values."""

from __future__ import annotations

import math

from edgemon._core.gauge import MOVED, QUALITY_TICK, RUN, StreamCheck
from edgemon._core.ks import Reference
from edgemon.drift.esr import usable
from edgemon.quality import messages
from edgemon.quality.judge import Expected, Plan, RateJudge
from edgemon.quality.kinds import (
    INFINITE,
    MISSING,
    NAN,
    NEW_CATEGORY,
    OF_A_VALUE,
    OUT_OF_RANGE,
    WRONG_TYPE,
    QualityNews,
)
from edgemon.quality.ties import MIN_RUN, heaviest, longest_run
from edgemon.typed import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from edgemon.drift.profile import FeatureProfile

# Texts that are known by their names while they are learnt; a stream with more has no categories.
MAX_KNOWN = 1000
# Characters of a text in an event.
MAX_SHOWN = 64
_HUGE = 1.7976931348623157e308
_WORD = 2**64 - 1
# Cells without a number, for `same_cell`.
_NO_VALUE = 0x7FF8000000000E01


class Dependence(Protocol):
    """How far values depend on each other: a drift detector, where there is one."""

    @property
    def sqrt_tau(self) -> float: ...
    @property
    def settled(self) -> bool: ...


class StreamRules(NamedTuple):
    """What the configuration says of one stream.

    range: None: the profile's.  tolerance: share of values that may break that rule.  stuck_after: equal numbers in a
    row; 0: as the profile and the first values have it.  ignored: kinds that are counted and not told.
    """

    range: tuple[float, float] | None
    tolerance: float
    stuck_after: int
    ignored: frozenset[str]


class StreamQuality(StreamCheck):
    """One stream. What a value tells goes to `told`, whoever pushed it; it gives the news.

    text: whether its values are texts.  feature: of the profile, None without; then what is normal is learnt from the
    plan's first values.  Memory: 1 KB, and that of RateJudge; of a text stream also its known categories.
    """

    __slots__ = (
        "_dependence", "_feature", "_fresh", "_judge", "_known", "_least_run", "_newest", "_plan", "_reference",
        "_rules", "_sqrt_tau", "_stuck_at", "stream", "text",
    )  # fmt: skip

    def __init__(
        self,
        stream: str,
        plan: Plan,
        rules: StreamRules,
        *,
        text: bool,
        feature: FeatureProfile | None = None,
        reference: Reference | None = None,
        dependence: Dependence | None = None,
    ) -> None:
        self.stream, self.text = stream, text
        self._plan, self._rules = plan, rules
        self._feature, self._reference, self._dependence = feature, reference, dependence
        self._judge = RateJudge(self, stream, OF_A_VALUE, plan, self._expected, self._message)
        self._sqrt_tau = feature.sqrt_tau if feature is not None else 1.0
        self._known: dict[str, int] | None = None
        self._fresh = 0  # of the learnt texts, those that came once
        self._newest = ""  # the latest text that was not known, cut short
        self._least_run = 0
        self._stuck_at = 0
        asked = {MISSING, WRONG_TYPE} | ({NEW_CATEGORY} if text else {NAN, INFINITE, OUT_OF_RANGE})
        self.asked = sum(1 << q for q in asked if OF_A_VALUE[q] not in rules.ignored)
        self.learning = feature is None
        self.until = plan.learn
        self.counting = True
        if text:
            self._known = feature.categories if feature is not None else {}
        elif "stuck" not in rules.ignored and stream != "latency":
            self.run_limit = rules.stuck_after or MIN_RUN
        self.tune()

    # -- values

    def missing(self) -> int:
        """One prediction had no value."""
        return self.answer(1 << MISSING)

    def number(self, x: float) -> int:
        """One number, NaN among them."""
        return self.take(x) if x == x else self.answer(1 << NAN)

    def wrong_type(self) -> int:
        """A value of the other type."""
        return self.answer(1 << WRONG_TYPE)

    def category(self, text: str) -> int:
        """One text."""
        known = self._known
        if known is None:
            return self.answer(0)
        new = text not in known
        if self.learning:
            known[text] = known.get(text, 0) + 1
            if len(known) > MAX_KNOWN:
                self._known = None
                self.asked &= ~(1 << NEW_CATEGORY)
            new = False
        if new:
            self._newest = text[:MAX_SHOWN]
        return self.answer(int(new) << NEW_CATEGORY)

    def repeats(self, value: float | str | None) -> bool:
        """Whether it is what the prediction before had."""
        if isinstance(value, str):
            return self.same_cell(hash(value) & _WORD)
        return self.same_cell(_NO_VALUE) if value is None else self.same(value)

    # -- news

    def told(self, told: int) -> list[QualityNews]:
        """What a value made known: the answers to questions, and runs."""
        news = self._judge.told(told)
        if told & MOVED:
            news.append(self._moved())
        if told & RUN and (one := self._reached()) is not None:
            news.append(one)
        if told & QUALITY_TICK and self.counting and self.seen >= self._plan.learn:
            self._learnt()
        learn = self._plan.learn - self.seen if self.counting else self._judge.ticks_in
        self.until = max(1, min(self.until or self._judge.ticks_in, self._judge.ticks_in, learn))
        return news

    def _learnt(self) -> None:
        """What was learnt from the first values holds from now on."""
        self.counting = False
        if self.run_limit and not self._rules.stuck_after:
            self.run_limit = max(MIN_RUN, self.run + 1)
        if self.learning:
            self.learning = False
            self._judge.begin()
            if self._known is not None:
                self._fresh = sum(count == 1 for count in self._known.values())

    def tune(self) -> None:
        """Set the range: the profile's holds for values that hardly depend on those before. Others wander, and get
        its width more on both sides; so do all before it is known. At a window's end: within it, nothing moves."""
        if self.text:
            return
        if self._dependence is not None:
            self._sqrt_tau = self._dependence.sqrt_tau
        if self._rules.range is not None:
            self.range = self._rules.range
            return
        feature, dependence = self._feature, self._dependence
        if feature is None or not feature.n:
            if self.stream == "latency":  # a duration: one below zero is a clock's, or a mistake
                self.range = (0.0, _HUGE)
            return
        low, high = max(-_HUGE, feature.low), min(_HUGE, feature.high)
        if not (usable(self._sqrt_tau) and (dependence is None or dependence.settled)):
            width = high - low
            low, high = max(-_HUGE, low - width), min(_HUGE, high + width)
        if (low, high) != self.range:
            self.range = (low, high)
            self._judge.restart(OUT_OF_RANGE)

    def plan_anew(self) -> None:
        """The plan's horizon is another."""
        self._judge.plan_anew()

    def _expected(self, question: int) -> Expected | None:
        feature = self._feature
        if question == OUT_OF_RANGE and self._rules.range is not None:
            return Expected(0, 0, self._rules.tolerance)
        if feature is None:
            if question == NEW_CATEGORY:
                return Expected(self._fresh, self._plan.learn)
            return Expected(self.learnt(question), self._plan.learn)
        if question == OUT_OF_RANGE:
            # The range is that of the same sample, so it counts as if one had been outside: the law of what lies
            # beyond the two extremes is Beta(2, n - 1), whose bound this is (Wilks, Ann. Math. Statist. 12, 1941).
            return Expected(1, feature.n)
        if question in (MISSING, NAN):  # the profile has one number for both
            return Expected(feature.missing, feature.n + feature.missing)
        if question == INFINITE:
            infinite = _infinite(self._reference) if self._reference is not None else 0
            return Expected(infinite, self._reference.m if self._reference is not None else 0)
        if question == NEW_CATEGORY:
            # What came once would have been new, had it been left out (Good, Biometrika 40, 1953).
            once = sum(count == 1 for count in feature.categories.values())
            return Expected(feature.other + once, feature.n)
        return Expected(0, feature.n)

    def _message(self, kind: str, data: dict[str, Any]) -> str:
        if kind == "out_of_range":
            data["range"] = [bound if abs(bound) < _HUGE else None for bound in self.range]
            data["latest"] = repr(self.last)  # texts, both, which redaction takes away
        if kind == "new_category" and self._newest:
            data["latest"] = repr(self._newest)
        return messages.rate(self.stream, kind, data)

    # -- runs

    def _limit(self) -> float:
        """The run that is told, infinite for none."""
        if self._rules.stuck_after:
            return self._rules.stuck_after
        plan, limit = self._plan, 0.0
        if self._reference is not None:
            tau = self._sqrt_tau**2
            most = heaviest(self._reference)
            limit = longest_run(most, self._reference.m, plan.horizon, plan.probability, tau)
        if self.counting:
            return max(limit, plan.learn + 1.0)
        if self.ties + 1 < self.numbers:
            own = longest_run(self.ties, self.numbers - 1, plan.horizon, plan.probability)
            limit = max(limit, own)
        elif self._reference is None:
            return math.inf  # it never moved: that is its nature
        return max(float(MIN_RUN), limit, float(self._least_run))

    def _reached(self) -> QualityNews | None:
        limit = self._limit()
        if self.run < limit:
            self.run_limit = math.ceil(limit) if limit < 2**62 else 0
            return None
        self.stuck = True
        self._stuck_at = self.seen - self.run + 1
        data: dict[str, object] = {
            "kind": "stuck",
            "value": repr(self.last),  # a text, which redaction takes away
            "run": self.run,
            "plausible_run": limit,
            "values_since_change": self.run,
        }
        message = messages.stuck(self.stream, data, by_rule=self._rules.stuck_after > 0)
        return QualityNews("stuck", self.stream, message, data)

    def _moved(self) -> QualityNews:
        self.stuck = False
        run = self.seen - self._stuck_at
        if not self._rules.stuck_after:
            # It can stand still for so long and move again: only what is far longer is told another time.
            self._least_run = 2 * run
            self.run_limit = math.ceil(max(self._limit(), self._least_run))
        data: dict[str, object] = {"kind": "stuck", "predictions": run}
        message = f"{self.stream} moves again, after {run} predictions with the same value"
        return QualityNews("stuck", self.stream, message, data, over=True)

    # -- what it knows

    @property
    def latched(self) -> list[str]:
        """Kinds whose alarm is on."""
        return self._judge.latched + (["stuck"] if self.stuck else [])

    def columns(self) -> dict[str, int]:
        """Of the open window, what its rows of aggregates have no other place for; 0 is left out."""
        counts = {
            "out_of_range": self.yes(OUT_OF_RANGE) if self._is_ranged() else 0,
            "new_category": self.yes(NEW_CATEGORY),
            "longest_run": self.longest if self.longest >= MIN_RUN // 2 else 0,
        }
        return {name: count for name, count in counts.items() if count}

    def _is_ranged(self) -> bool:
        return self.range != (-_HUGE, _HUGE)

    @property
    def memory_bytes(self) -> int:
        """Of its rates."""
        return self._judge.memory_bytes

    # -- checkpoint

    def to_state(self) -> dict[str, object]:
        """For a checkpoint, msgpack-able."""
        learnt = self._known if self._feature is None else None
        return {
            "text": self.text,
            "judge": self._judge.to_state(),
            "until": self.until,
            "run": [self.last, self.run, self.run_limit, self.ties, self.numbers],
            "flags": [self.counting, self.stuck],
            "stuck": [self._least_run, self._stuck_at],
            "known": learnt,
            "fresh": self._fresh,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """As it was. ValueError, KeyError or TypeError when that is no state of such a stream; it is then in no
        good state."""
        if state["text"] != self.text:
            raise ValueError(f"{self.stream}: it had another type")
        self._judge.restore(state["judge"])
        last, run, limit, self.ties, self.numbers = state["run"]
        self.resume_run(last, run)
        if self.run_limit:
            self.run_limit = self._rules.stuck_after or limit
        self.counting, self.stuck = map(bool, state["flags"])
        self._least_run, self._stuck_at = map(int, state["stuck"])
        self.until = state["until"]
        if self.text and self._feature is None:
            known = state["known"]
            if not (known is None or isinstance(known, dict)):
                raise TypeError(f"{self.stream}: its categories are none")
            self._known = known
        self._fresh = int(state["fresh"])


def _infinite(reference: Reference) -> int:
    """Infinite values of a reference."""
    return reference.m - reference.rank(_HUGE) + reference.rank(-math.inf)
