"""How often something happens that should be rare: values that are missing, rows that repeat."""

from __future__ import annotations

import math

from edgemon._core.gauge import Answers
from edgemon.drift.esr import (
    REFERENCE_SHARE,
    BernoulliEsr,
    alarm_level,
    clopper_pearson_upper,
)

# Looks that make up a window.
LOOKS = 20
# Of a checkpoint of csrc/em_esr.h: cells that it has, and bytes before R.
_REMEMBERED = 2048
_HEADER = 20


class RareEvent(Answers):
    """The rate of a yes among many answers, with the promise of esr.BernoulliEsr.

    The answers are numbered by the caller from 1; only a yes is told, so that the many that are no
    cost nothing when they come. They are made up for in one go, before the next yes.

    hits of rows: yes in the reference.  rule: nothing was counted, this rate is allowed.  window: answers, for
    `calm`.  Else as esr.bernoulli.
    """

    __slots__ = ("_calm", "_esr", "_looks", "_probability", "rate_upper")

    def __init__(
        self,
        hits: int,
        rows: int,
        horizon: int,
        probability: float,
        window: int,
        rule: float = 0.0,
    ) -> None:
        self._probability = probability
        self.rate_upper = rule or clopper_pearson_upper(hits, rows, REFERENCE_SHARE * probability)
        self._ask(BernoulliEsr(self.rate_upper, self._limit_for(horizon)))
        usual = self.rate_upper * window
        self._calm = usual + 3.0 * math.sqrt(usual)
        self._looks: list[int] = []  # yes between two of them

    def _ask(self, esr: BernoulliEsr) -> None:
        self._esr = esr
        self.attach(esr.detector)

    def _limit_for(self, horizon: int) -> float:
        return alarm_level(horizon, (1.0 - REFERENCE_SHARE) * self._probability)

    def plan(self, horizon: int) -> None:
        """Another number of answers that the promise covers."""
        self._esr.detector.limit = self._limit_for(horizon)

    def calm(self) -> bool:
        """A look, 20 of them in a window: whether the last window's yes are as many as may be expected, at most the
        upper bound and three standard deviations."""
        self._looks = [*self._looks[1 - LOOKS :], self.told]
        self.told = 0
        return sum(self._looks) <= self._calm

    def restart(self, number: int) -> None:
        """Forget all answers up to `number`."""
        self._esr.reset()
        self.fed = number
        self.told = 0
        self._looks = []

    @property
    def since(self) -> int:
        """An estimate: the rate rose this many answers back; 0: unknown."""
        return self._esr.since

    @property
    def recent(self) -> int:
        """Yes of about the last window."""
        return sum(self._looks) + self.told

    def share(self, answers: int) -> float:
        """Share of yes among the last `answers`, as far back as the detector remembers (csrc/em_esr.h)."""
        detector = self._esr.detector
        known = min(detector.pushes, _REMEMBERED)
        cells = detector.to_bytes()[_HEADER + 4 * detector.table.bets :]
        first = max(0, known - answers)
        yes = sum(cells[i // 2] >> 4 * (i % 2) & 1 for i in range(first, known))
        return yes / max(1, known - first)

    @property
    def memory_bytes(self) -> int:
        return self._esr.detector.memory_bytes + self._esr.detector.table.memory_bytes

    def to_state(self) -> list[object]:
        """For a checkpoint."""
        return [self._esr.to_bytes(), self.fed, self.told, self._looks]

    def restore(self, state: list[object]) -> None:
        """As it was; ValueError or TypeError when that is no state of this one."""
        data, fed, yes, looks = state
        if not (isinstance(data, bytes) and isinstance(fed, int) and isinstance(yes, int)):
            raise TypeError("a rate's state is not what it should be")
        if not (isinstance(looks, list) and all(isinstance(look, int) for look in looks)):
            raise TypeError("a rate's looks are not what they should be")
        limit = self._esr.detector.limit
        self._ask(BernoulliEsr.from_bytes(self.rate_upper, limit, data))
        self.fed, self.told, self._looks = fed, yes, looks[-LOOKS:]
