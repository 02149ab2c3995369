"""One series: how far a statistic of its latest values is from that statistic's own past."""

from __future__ import annotations

from math import fsum

from edgemon.anomaly.window import Window
from edgemon.std.collections import deque
from edgemon.std.collections.abc import Mapping, Sequence
from edgemon.typed import Any, NamedTuple

# Weight of the latest value: Roberts, "Control Chart Tests Based on Geometric Moving Averages", Technometrics 1 (1959).
EWMA_WEIGHT = 0.2
MOVING_AVERAGE_VALUES = 6
# Of normal values 1.4826 MAD is the standard deviation; so is the distance of this quantile from the median over 1.96.
_MAD_TO_SIGMA = 1.4826
_TAIL, _TAIL_SIGMAS = 0.975, 1.959964
# An anomaly is over below this share of the threshold.
CLEAR_RATIO = 0.5


class Limits(NamedTuple):
    """method: "robust_z" (the value itself), "ewma" or "moving_average".  threshold: score, > 0.
    min_effect: distance from the expected, in the series' unit, below which nothing is said; so is one below
    relative_effect times the expected.
    window, guard, warm_up, lasting: numbers of values: of the past, between it and the latest value, of the past before
    anything is said, out of bounds in a row.
    """

    method: str
    threshold: float
    min_effect: float
    relative_effect: float
    window: int
    guard: int
    warm_up: int
    lasting: int


class Judgement(NamedTuple):
    """value: the latest.  statistic: what was judged.  expected: its median.  limit: where the threshold is, on the
    side of the statistic.  score: distance from expected in units of spread, >= 0; the threshold is in the same.
    """

    value: float
    statistic: float
    expected: float
    limit: float
    score: float


class Detector:
    """Score = |s - median| / spread, of the statistic s against the window of its own past (a robust z-score,
    Iglewicz & Hoaglin 1993, with a wider spread).

    spread is the largest of 1.4826 MAD; the distance of the 2.5 % or 97.5 % quantile, on the side of s, over 1.96; and
    the least effect over the threshold, so that a series that was constant (MAD 0) has a limit too. The quantile is
    what keeps quiet a series that has bursts, whose MAD knows nothing of them. For "ewma" and "moving_average" Roberts'
    limits are not used: they divide by what independent values would average out, and those of a device are not
    independent.

    A value joins the window `guard` values later, an anomalous one too: an anomaly is not judged by itself, and what
    lasts a fortieth of the window longer has a tail of its own and is the new normal. It begins when `lasting` values
    in a row reach the threshold, and is over when as many are below half of it. Memory: 16 bytes a value of the window.
    Time: O(window).
    """

    __slots__ = (
        "_average",
        "_calm",
        "_last",
        "_limits",
        "_out",
        "_recent",
        "_window",
        "latest",
        "started",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._window = Window(limits.window)
        self._recent: deque[float] = deque()
        self._average: float | None = None
        self._last: list[float] = []
        self._out = 0
        self._calm = 0
        self.latest: Judgement | None = None
        self.started: Judgement | None = (
            None  # of the value with which the anomaly that goes on began
        )

    def update(self, value: float) -> str:
        """Take in one finite value. "started", or "back" or "adapted" when it is over, or ""."""
        statistic = self._statistic(value)
        judgement = self._judge(value, statistic)
        self._recent.append(statistic)
        if len(self._recent) > self._limits.guard:
            self._window.add(self._recent.popleft())
        self.latest = judgement
        if judgement is None:
            return ""
        limits = self._limits
        if self.started is None:
            self._out = self._out + 1 if judgement.score >= limits.threshold else 0
            if self._out < limits.lasting:
                return ""
            self.started, self._calm = judgement, 0
            return "started"
        is_calm = judgement.score < CLEAR_RATIO * limits.threshold
        self._calm = self._calm + 1 if is_calm else 0
        if self._calm < limits.lasting:
            return ""
        begun, self.started, self._out = self.started, None, 0
        was_off = abs(begun.value - begun.expected)
        return "back" if abs(value - begun.expected) <= was_off / 2 else "adapted"

    def to_state(self) -> dict[str, object]:
        """All that `restore` needs, of plain values."""
        return {
            "limits": list(self._limits),
            "window": self._window.values(),
            "recent": list(self._recent),
            "average": self._average,
            "last": self._last,
            "counts": [self._out, self._calm],
            "latest": self.latest,
            "started": self.started,
        }

    def restore(self, state: Mapping[str, Any]) -> bool:
        """Go on from there. False, and nothing done, where the limits were others.

        ValueError, TypeError or KeyError where it is not of `to_state`; then this one is not to be used.
        """
        limits = self._limits
        if state["limits"] != list(limits):
            return False
        for value in state["window"][-limits.window :]:
            self._window.add(_finite(value))
        self._recent.extend(map(_finite, state["recent"][-limits.guard :]))
        self._average = None if state["average"] is None else _finite(state["average"])
        self._last = [_finite(value) for value in state["last"]][-MOVING_AVERAGE_VALUES:]
        self._out, self._calm = map(int, state["counts"])
        self.latest = _judgement(state["latest"])
        self.started = _judgement(state["started"])
        return True

    def _statistic(self, value: float) -> float:
        if self._limits.method == "ewma":
            before = value if self._average is None else self._average
            self._average = before + EWMA_WEIGHT * (value - before)
            return self._average
        if self._limits.method == "moving_average":
            self._last = [*self._last[-MOVING_AVERAGE_VALUES + 1 :], value]
            return fsum(self._last) / len(self._last)
        return value

    def _judge(self, value: float, statistic: float) -> Judgement | None:
        """None during warm-up."""
        window, limits = self._window, self._limits
        if len(window) < limits.warm_up:
            return None
        expected = window.median()
        off = statistic - expected
        tail = window.quantile(_TAIL if off > 0 else 1 - _TAIL) - expected
        effect = max(limits.min_effect, limits.relative_effect * abs(expected))
        spread = max(
            _MAD_TO_SIGMA * window.mad(), abs(tail) / _TAIL_SIGMAS, effect / limits.threshold
        )
        limit = expected + (limits.threshold if off > 0 else -limits.threshold) * spread
        return Judgement(value, statistic, expected, limit, abs(off) / spread)


def _finite(value: object) -> float:
    if not isinstance(value, float) or value - value != 0:
        raise ValueError(f"{value!r} is no finite number")
    return value


def _judgement(values: Sequence[object] | None) -> Judgement | None:
    return None if values is None else Judgement(*map(_finite, values))
