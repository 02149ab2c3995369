"""Who judges the questions of a stream or of a model's rows: one e-SR each, made at its first yes, with a latch."""

from __future__ import annotations

from edgemon._core.gauge import QUALITY_TICK, RateChecks
from edgemon.drift.rates import LOOKS, RareEvent
from edgemon.drift.threshold import BlindDetectorError
from edgemon.quality.kinds import QualityNews
from edgemon.std.collections.abc import Callable
from edgemon.typed import Any, NamedTuple

NEVER = 2**63


class Expected(NamedTuple):
    """hits of rows in the reference, or while it was learnt.  rule: nothing was counted, this rate is allowed."""

    hits: int
    rows: int
    rule: float = 0.0

    @property
    def rate(self) -> float:
        return self.rule or (self.hits / self.rows if self.rows else 0.0)


class Plan:
    """What all alarms of a model share.

    probability: P(a false alarm of one) within `horizon` predictions, at most.  window: predictions without fault
    after which one is over.  learn: predictions that are learnt from where there is no reference.
    """

    __slots__ = ("horizon", "learn", "probability", "window")

    def __init__(self, probability: float, horizon: int, window: int, learn: int) -> None:
        self.probability, self.horizon = probability, horizon
        self.window, self.learn = window, learn


class _Latch:
    __slots__ = ("below", "since")

    def __init__(self, since: int, below: int = -1) -> None:
        self.since = since  # the answer at which it was raised
        self.below = below  # answers since it was first calm, -1: it is not


class RateJudge:
    """The rates of one RateChecks. Told what that tells, it gives the news.

    kinds: names of the questions.  expected(question): what is normal; None: nobody can say, it is not asked again.
    message(kind, data): one line.  Memory: 1.7 KB a question that was ever answered with yes.
    """

    __slots__ = (
        "_check",
        "_expected",
        "_from",
        "_kinds",
        "_latches",
        "_made",
        "_message",
        "_plan",
        "_rates",
        "_stream",
    )

    def __init__(
        self,
        check: RateChecks,
        stream: str,
        kinds: tuple[str, ...],
        plan: Plan,
        expected: Callable[[int], Expected | None],
        message: Callable[[str, dict[str, Any]], str],
    ) -> None:
        self._check, self._stream, self._kinds = check, stream, kinds
        self._plan, self._expected, self._message = plan, expected, message
        self._rates: dict[int, RareEvent] = {}
        self._made: dict[int, tuple[Expected, float]] = {}  # what each was made of
        self._latches: dict[int, _Latch] = {}
        self._from = 0  # answers before are not judged

    @property
    def latched(self) -> list[str]:
        """Kinds whose alarm is on."""
        return [self._kinds[question] for question in sorted(self._latches)]

    @property
    def memory_bytes(self) -> int:
        return sum(rare.memory_bytes for rare in self._rates.values())

    @property
    def ticks_in(self) -> int:
        """Answers to the next look."""
        return max(1, self._plan.window // LOOKS) if self._latches else NEVER

    def begin(self) -> None:
        """What is normal is known from now on."""
        self._from = self._check.seen

    def told(self, told: int) -> list[QualityNews]:
        """The check told this; `until` is the caller's to set."""
        news = self._look() if told & QUALITY_TICK else []
        for question in range(len(self._kinds)):
            if told >> question & 1 and (one := self._yes(question)) is not None:
                news.append(one)
        return news

    def _yes(self, question: int) -> QualityNews | None:
        if question not in self._rates:
            rare = self._make(question)
            if rare is None:
                self._check.asked &= ~(1 << question)
                return None
            if not rare.yes(self._check.seen):
                return None
        return self._alarm(question)

    def _make(self, question: int) -> RareEvent | None:
        expected, plan = self._expected(question), self._plan
        if expected is None:
            return None
        try:
            rare = self._rate(expected, plan.probability)
        except BlindDetectorError:
            return None
        rare.fed = self._from
        self._keep(question, rare, expected, plan.probability)
        return rare

    def _rate(self, expected: Expected, probability: float) -> RareEvent:
        plan = self._plan
        hits, rows = expected.hits, max(1, expected.rows)
        return RareEvent(hits, rows, plan.horizon, probability, plan.window, expected.rule)

    def _keep(self, question: int, rare: RareEvent, expected: Expected, probability: float) -> None:
        self._rates[question] = rare
        self._made[question] = (expected, probability)
        self._check.attach(question, rare)

    def restart(self, question: int) -> None:
        """No evidence from before counts."""
        if question not in self._latches and (rare := self._rates.get(question)) is not None:
            rare.restart(self._check.seen)

    def plan_anew(self) -> None:
        """The plan's horizon is another."""
        for rare in self._rates.values():
            rare.plan(self._plan.horizon)

    def _alarm(self, question: int) -> QualityNews:
        rare, seen = self._rates[question], self._check.seen
        expected, _ = self._made[question]
        since = rare.since or 1
        data: dict[str, Any] = {
            "kind": self._kinds[question],
            "rate": round(rare.share(since), 6),
            "expected_rate": expected.rate,
            "expected_at_most": rare.rate_upper,
            "values_since_change": since,
        }
        rare.restart(seen)
        self._check.muted |= 1 << question
        self._latches[question] = _Latch(seen - since + 1)
        return QualityNews(
            self._kinds[question], self._stream, self._message(self._kinds[question], data), data
        )

    def _look(self) -> list[QualityNews]:
        news, every = [], max(1, self._plan.window // LOOKS)
        for question, latch in list(self._latches.items()):
            if not self._rates[question].calm():
                latch.below = -1
                continue
            latch.below = latch.below + every if latch.below >= 0 else 0
            if latch.below >= self._plan.window:
                news.append(self._over(question, latch))
        return news

    def _over(self, question: int, latch: _Latch) -> QualityNews:
        rare, seen, kind = self._rates[question], self._check.seen, self._kinds[question]
        rare.restart(seen)
        del self._latches[question]
        self._check.muted &= ~(1 << question)
        data: dict[str, object] = {"kind": kind, "predictions": seen - latch.since + 1}
        where = f"{self._stream}: " if self._stream else ""
        message = f"{where}{kind.replace('_', ' ')} is as rare as it was, for {self._plan.window} predictions"
        return QualityNews(kind, self._stream, message, data, over=True)

    # -- checkpoint

    def to_state(self) -> dict[str, object]:
        """For a checkpoint, msgpack-able."""
        check = self._check
        return {
            "seen": check.seen,
            "from": self._from,
            "asked": check.asked,
            "learning": check.learning,
            "learnt": [check.learnt(question) for question in range(len(self._kinds))],
            "rates": {
                question: [*self._made[question], rare.to_state()]
                for question, rare in self._rates.items()
            },
            "latches": {q: [latch.since, latch.below] for q, latch in self._latches.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """As it was. ValueError, KeyError or TypeError when that is no state of such a judge."""
        check = self._check
        check.seen, self._from = int(state["seen"]), int(state["from"])
        check.learning = bool(state["learning"])
        check.asked &= int(state["asked"])
        for question, count in enumerate(state["learnt"]):
            check.set_learnt(question, int(count))
        for question, (made_of, probability, saved) in state["rates"].items():
            expected = Expected(*made_of)
            rare = self._rate(expected, probability)
            rare.restore(saved)
            self._keep(int(question), rare, expected, probability)
        for question, (since, below) in state["latches"].items():
            if question not in self._rates:
                raise ValueError("an alarm without a rate")
            self._latches[int(question)] = _Latch(int(since), int(below))
            check.muted |= 1 << int(question)
