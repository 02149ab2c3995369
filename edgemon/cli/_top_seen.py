"""What `edgemon top` has been answered until now. Pure: no clock, no terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from edgemon.cli.status import troubles

KEPT = 120  # samples of each curve
MAX_CURVES = 2_000  # of all; series that come later are shown without one


class History:
    """The latest KEPT values of each series, of at most MAX_CURVES."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, ...], deque[float]] = {}

    def add(self, value: float, *series: str) -> None:
        known = self._of.get(series)
        if known is None:
            if len(self._of) >= MAX_CURVES:
                return
            known = self._of[series] = deque(maxlen=KEPT)
        known.append(value)

    def of(self, *series: str) -> Sequence[float]:
        return self._of.get(series, ())


class Seen:
    """What was answered until now: the latest answers, curves, and since when nobody answers.

    Times are wall-clock seconds, given by the caller.
    """

    def __init__(self) -> None:
        self.agent: dict[str, Any] | None = None
        self.ship: dict[str, Any] | None = None
        self.at_s = 0.0
        self.gone_since_s: float | None = None
        self.problem = ""
        self.restarts = 0
        self.history = History()
        self._troubles: dict[str, int] = {}  # when the agent was first seen

    def take(self, agent: dict[str, Any], ship: dict[str, Any] | None, now_s: float) -> None:
        """Both status objects."""
        if self.agent is None or agent["pid"] != self.agent["pid"]:
            self.restarts += self.agent is not None
            self._troubles = troubles(agent, ship)
        self.agent, self.ship, self.at_s, self.gone_since_s = agent, ship, now_s, None
        add = self.history.add
        add(agent["ingest"]["rate_per_s"], "ingest")
        for series, value in agent["system"].items():
            add(value, "system", series)
        for model in agent["models"]:
            add(model["rate_per_s"], "rate", model["model"], model["version"])
            for stream in model["drift"]:
                add(closeness(stream) or 0.0, "drift", *stream_key(model, stream))

    def lose(self, problem: str, now_s: float) -> None:
        """Nobody answered."""
        self.problem = problem
        if self.gone_since_s is None:
            self.gone_since_s = now_s

    def new_troubles(self) -> dict[str, int]:
        """What was dropped or failed since this page looks."""
        if self.agent is None:
            return {}
        now = troubles(self.agent, self.ship)
        return {
            name: more
            for name, value in now.items()
            if (more := value - self._troubles.get(name, 0))
        }


def closeness(stream: dict[str, Any]) -> float | None:
    """D as a share of the threshold at which the alarm comes; None for texts, which have none."""
    return stream["d"] / stream["threshold_d"] if stream["threshold_d"] else None


def stream_key(model: dict[str, Any], stream: dict[str, Any]) -> tuple[str, str, str]:
    return model["model"], model["version"], stream["stream"]
