"""Whether a model has been silent for longer than its own pace lets expect.

No law of the pauses is assumed. Of n pauses that could have come in any order, the next one is the longest with a
probability of 1 / (n + 1); it must be _FACTOR times as long as the longest to be told, and that is asked of models
alone that were seen at their pace for _SPANS times as long as that again, and for a day. So a model that works by the
hour and rests by the night has shown its longest pause before it is asked.
"""

from __future__ import annotations

import math

from edgemon.quality import messages
from edgemon.quality.kinds import QualityNews
from edgemon.typed import Any

_MIN_PAUSES = 100
_FACTOR = 10.0
_SPANS = 5.0
_MIN_SEEN_S = 86_400.0
# A shorter silence is told by rule alone.
_FLOOR_S = 120.0
# The longest pause of this span and the one before count.
_MEMORY_S = 7 * 86_400.0
# When it is due, what waits in the sockets is read first: the agent itself may have been away.
_GRACE_S = 1.0


class Silence:
    """The pauses of one model. Pure: `now_s` is monotonic, and stands still while the device sleeps.

    rule_s: the longest silence that is allowed, 0: what its own pace says.
    """

    __slots__ = (
        "_before_s",
        "_first_s",
        "_longest_s",
        "_pauses",
        "_since_s",
        "_suspect_s",
        "last_s",
        "rule_s",
        "told",
    )

    def __init__(self, rule_s: float, now_s: float) -> None:
        self.rule_s = rule_s
        self._first_s = self.last_s = self._since_s = now_s
        self._longest_s = self._before_s = 0.0
        self._pauses = 0
        self._suspect_s = math.inf
        self.told = False

    def heard(self, now_s: float) -> QualityNews | None:
        """Predictions came; news where that ends a silence."""
        pause_s = now_s - self.last_s
        self.last_s = now_s
        self._suspect_s = math.inf
        if pause_s <= 0.0:
            return None
        self._pauses += 1
        if pause_s > self._longest_s:
            self._longest_s = pause_s
        if now_s - self._since_s > _MEMORY_S:
            self._before_s, self._longest_s, self._since_s = self._longest_s, 0.0, now_s
        if not self.told:
            return None
        self.told = False
        data: dict[str, object] = {"kind": "silence", "silent_s": round(pause_s, 3)}
        return QualityNews(
            "silence", "", f"predictions come again, after {pause_s:.1f} s", data, over=True
        )

    def away(self, now_s: float) -> None:
        """The agent was not listening until now."""
        if now_s > self.last_s:
            self.last_s, self._suspect_s = now_s, math.inf

    @property
    def limit_s(self) -> float:
        """The silence that is told; infinite for none."""
        if self.rule_s:
            return self.rule_s
        limit = max(_FLOOR_S, _FACTOR * max(self._longest_s, self._before_s))
        seen_s = self.last_s - self._first_s
        regular = self._pauses >= _MIN_PAUSES and seen_s >= max(_MIN_SEEN_S, _SPANS * limit)
        return limit if regular else math.inf

    @property
    def due_s(self) -> float:
        """When to `check`; infinite for never."""
        if self.told:
            return math.inf
        if self._suspect_s < math.inf:
            return self._suspect_s + _GRACE_S
        return self.last_s + self.limit_s

    def check(self, now_s: float) -> QualityNews | None:
        """It is due."""
        if now_s < self.due_s:
            return None
        if self._suspect_s == math.inf:
            self._suspect_s = now_s
            return None
        self.told = True
        limit_s = self.limit_s
        data: dict[str, object] = {
            "kind": "silence",
            "silent_s": round(now_s - self.last_s, 3),
            "limit_s": round(limit_s, 3),
            "longest_pause_s": round(max(self._longest_s, self._before_s), 3),
        }
        return QualityNews("silence", "", messages.silence(data, bool(self.rule_s)), data)

    def to_state(self) -> list[float]:
        """For a checkpoint: its pace, in seconds back from the last prediction."""
        seen_s, since_s = self.last_s - self._first_s, max(0.0, self.last_s - self._since_s)
        return [self._longest_s, self._before_s, float(self._pauses), seen_s, since_s]

    def restore(self, state: Any) -> None:
        """The pace of before; it goes on now. ValueError or TypeError when that is no state."""
        longest, before, pauses, seen, since = (float(number) for number in state)
        if not all(0.0 <= number < math.inf for number in (longest, before, pauses, seen, since)):
            raise ValueError("a pace that is none")
        self._longest_s, self._before_s, self._pauses = longest, before, int(pauses)
        self._first_s, self._since_s = self.last_s - seen, self.last_s - since
