"""What may be wrong with the predictions of a model as a whole: their features, their times, repetition."""

from __future__ import annotations

from edgemon._core.gauge import QUALITY_TICK, RowCheck
from edgemon.quality import messages
from edgemon.quality.judge import Expected, Plan, RateJudge
from edgemon.quality.kinds import OF_A_ROW, QualityNews
from edgemon.typed import Any, NamedTuple

# Of so many learnt predictions one at most is believed to be early by nature.
MOST_EARLY = 100


class RowRules(NamedTuple):
    """Seconds behind the clock, ahead of it, and behind the row before, that are still in time."""

    max_late_s: float
    max_early_s: float
    max_disorder_s: float
    ignored: frozenset[str]


class RowQuality(RowCheck):
    """What is normal is learnt from the first predictions: no profile knows of it."""

    __slots__ = ("_judge", "_plan")

    def __init__(self, plan: Plan, rules: RowRules) -> None:
        self._plan = plan
        self._judge = RateJudge(self, "", OF_A_ROW, plan, self._expected, _message)
        self.asked = sum(1 << q for q, kind in enumerate(OF_A_ROW) if kind not in rules.ignored)
        self.learning = True
        self.until = plan.learn
        self.set_limits(rules.max_late_s, rules.max_early_s, rules.max_disorder_s)

    def told(self, told: int) -> list[QualityNews]:
        """What a row made known."""
        news = self._judge.told(told)
        if told & QUALITY_TICK and self.learning:
            self.learning = False
            self._judge.begin()
        if not self.learning:
            self.until = max(1, min(self.until or self._judge.ticks_in, self._judge.ticks_in))
        return news

    def plan_anew(self) -> None:
        """The plan's horizon is another."""
        self._judge.plan_anew()

    def _expected(self, question: int) -> Expected:
        learnt = self.learnt(question)
        if (
            OF_A_ROW[question] == "early"
        ):  # no health has times that are to come: milliseconds, or a clock
            learnt = min(learnt, self._plan.learn // MOST_EARLY)
        return Expected(learnt, self._plan.learn)

    @property
    def latched(self) -> list[str]:
        """Kinds whose alarm is on."""
        return self._judge.latched

    def columns(self) -> dict[str, int]:
        """Of the open window, by the names of columns; 0 is left out."""
        counts = ((kind, self.yes(question)) for question, kind in enumerate(OF_A_ROW))
        return {kind: count for kind, count in counts if count}

    @property
    def memory_bytes(self) -> int:
        return self._judge.memory_bytes

    def to_state(self) -> dict[str, object]:
        """For a checkpoint, msgpack-able."""
        return {"judge": self._judge.to_state(), "until": self.until}

    def restore(self, state: dict[str, Any]) -> None:
        """As it was; ValueError, KeyError or TypeError when that is no state of one."""
        self._judge.restore(state["judge"])
        self.until = state["until"]


def _message(kind: str, data: dict[str, Any]) -> str:
    return messages.rate("", kind, data)
