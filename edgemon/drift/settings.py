"""What a detector is told, and what it tells."""

from __future__ import annotations

from edgemon.typed import NamedTuple, Protocol


class FalseAlarmBudget(Protocol):
    """P(any false alarm of a model within a span) <= at_most.

    The span: per_predictions predictions, or where that is 0, per_s seconds.
    """

    @property
    def at_most(self) -> float: ...
    @property
    def per_predictions(self) -> int: ...
    @property
    def per_s(self) -> float: ...


class Settings(Protocol):
    """What a detector needs to know; `config.DriftSettings` is one.

    window: predictions.  min_effect: smallest D, or total variation of categories, that is an alarm.
    clear_ratio: share of the threshold, 0 to 1.
    """

    @property
    def window(self) -> int: ...
    @property
    def false_alarms(self) -> FalseAlarmBudget: ...
    @property
    def min_effect(self) -> float: ...
    @property
    def clear_ratio(self) -> float: ...


class Transition(NamedTuple):
    """News of a stream.

    what: "started" | "cleared" | "autocorrelated" (its values depend on each other more than the
    profile shows) | "blind" (at the rate of now no alarm is possible).  data: JSON-serialisable; for
    the first two, what `explain` gives.
    """

    what: str
    stream: str
    message: str
    data: dict[str, object]


class State(NamedTuple):
    """A numeric stream now. n: values in its window; h, d: of those; threshold_h: for a full window, full: it is one.

    by: which detector raised the alarm that is latched, "" for none.
    """

    d: float
    n: int
    h: int
    threshold_h: int
    drifted: bool
    by: str = ""
    full: bool = False
