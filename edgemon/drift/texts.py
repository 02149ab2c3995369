"""Who watches the categories of one text stream, with one latch."""

from __future__ import annotations

import math

from edgemon._core.crc32c import crc32c
from edgemon.drift import messages
from edgemon.drift.autocorrelation import Indicator, of_categories
from edgemon.drift.categorical import CategoricalDetector
from edgemon.drift.changepoint import change_point
from edgemon.drift.esr import usable
from edgemon.drift.live import LiveDependence
from edgemon.drift.numeric import LOOKS_PER_WINDOW
from edgemon.drift.parts import Promise
from edgemon.drift.profile import FeatureProfile
from edgemon.drift.settings import Transition
from edgemon.std.array import array
from edgemon.std.collections.abc import Sequence
from edgemon.typed import Any

# Of values that depend on each other one in so many times tau is judged. Where correlation falls
# geometrically, what is left of it between two of those is below 1e-3.
_THINNING = 5.0
# Most frequent categories of a block whose indicators show live dependence.
_LIVE_CATEGORIES = 3


class TextDetector:
    """A text stream against its profile. One drift raises one alarm, by "categories": their shares moved, a
    category that the reference does not have among them (categorical.py). Cleared when they are as before for a
    whole window (as CategoricalDetector has it).

    Where values depend on those before, by the profile or live, the promise of the categories would
    break: then only one value in 5 tau is judged, so the window spans as many times more of them.

    BlindDetectorError where the categories could never raise an alarm.
    Memory: that of CategoricalDetector.
    """

    __slots__ = (
        "_below", "_by", "_categories", "_collected", "_every", "_feature", "_live",
        "_pending", "_profile_hash", "_promise", "_thinning", "_until", "_until_judged", "_until_window",
        "_window", "drifted", "new", "pushed",
    )  # fmt: skip

    def __init__(
        self,
        feature: FeatureProfile,
        window: int,
        promise: Promise,
        *,
        min_effect: float = 0.0,
        clear_ratio: float = 0.8,
        profile_hash: str = "",
    ) -> None:
        self._feature = feature
        self._window = window
        self._profile_hash = profile_hash
        self._promise = promise
        self._pending: Promise | None = None
        self._categories = CategoricalDetector(
            feature,
            window,
            promise.probability,
            promise.horizon,
            min_effect=min_effect,
            clear_ratio=clear_ratio,
        )
        self._live = LiveDependence(feature.sqrt_tau, window)
        self._collected = array("q")
        self._thinning = 1
        self._set_thinning()
        self._every = max(1, window // LOOKS_PER_WINDOW)
        self._until = self._every
        self._until_window = window
        self._until_judged = 1
        self._below = -1
        self._by = ""
        self.drifted = False
        self.pushed = self.new = 0

    def _set_thinning(self) -> None:
        tau = self._live.sqrt_tau**2
        self._thinning = 1 if usable(self._live.sqrt_tau) else math.ceil(_THINNING * tau)

    def plan(self, promise: Promise) -> None:
        """Another promise, because the rate is another; while latched it waits."""
        if self.drifted:
            self._pending = promise
            return
        self._promise, self._pending = promise, None
        self._categories.plan(promise.probability, promise.horizon)

    def push(self, text: str) -> Transition | None:
        """Take one value."""
        self.pushed += 1
        if text not in self._feature.categories:
            self.new += 1
        if self._live.collects:
            self._collected.append(crc32c(text.encode("utf-8", "surrogatepass")))
        news = None
        self._until_window -= 1
        if not self._until_window:
            news = self._end_of_window()
        what = None
        self._until_judged -= 1
        if not self._until_judged:
            self._until_judged = self._thinning
            # Before the first block nobody knows how far values depend on each other.
            if self._live.ready:
                what = self._categories.push(text)
        if what == "started" and not self.drifted:
            return self._alarm()
        if self.drifted:
            self._until -= 1
            if not self._until:
                return self._look() or news
        return news

    def _alarm(self) -> Transition:
        self.drifted, self._by = True, "categories"
        self._below = -1
        self._until = self._every
        return self._transition("started")

    def _look(self) -> Transition | None:
        """Latched, and a look is due."""
        self._until = self._every
        self._below = self._below + self._every if self._below >= 0 else 0
        if self._below < self._window or self._categories.drifted:
            return None
        self.drifted = False
        if self._pending is not None:
            self.plan(self._pending)
        self._live.begin()
        del self._collected[:]
        self._until_window = self._window
        news = self._transition("cleared")
        self._by = ""
        return news

    def _end_of_window(self) -> Transition | None:
        self._until_window = self._window
        if self.drifted:
            del self._collected[:]
            return None
        live = self._live
        if live.end_of_window(self._taken, _series):
            self._set_thinning()
        if not live.to_tell():
            return None
        data: dict[str, object] = {
            "stream": self.stream,
            "profile": self._profile_hash,
            "sqrt_tau": live.sqrt_tau,
            "sqrt_tau_live": live.estimate,
            "sqrt_tau_profile": self._feature.sqrt_tau,
            "values_seen": self.pushed,
            "consequence": f"one value in {self._thinning} is judged now",
        }
        return Transition("autocorrelated", self.stream, messages.autocorrelated(data), data)

    def _taken(self) -> Sequence[int]:
        taken, self._collected = self._collected, array("q")
        return taken

    @property
    def stream(self) -> str:
        return self._feature.name

    @property
    def window(self) -> int:
        """Judged values that the window holds when it is full."""
        return self._window

    @property
    def by(self) -> str:
        """Which detector raised the alarm that is latched, "" for none."""
        return self._by

    @property
    def sqrt_tau(self) -> float:
        """How far values depend on each other: the profile's, or more."""
        return self._live.sqrt_tau

    @property
    def tv(self) -> float:
        """Total variation distance of the window from the reference. O(categories)."""
        return self._categories.tv()

    @property
    def n(self) -> int:
        """Values in its window now."""
        return self._categories.n

    @property
    def memory_bytes(self) -> int:
        """Of its own."""
        return self._categories.memory_bytes

    def explain(self) -> dict[str, object]:
        """What is known of the stream now, for an event: docs/drift.md names the fields."""
        return self._categories.explain() | {
            "by": self._by,
            "profile": self._profile_hash,
            "sqrt_tau": self._live.sqrt_tau,
            "judged_one_in": self._thinning,
            "values_seen": self.pushed,
            "values_since_change": self._since_change(),
        }

    def _since_change(self) -> int:
        """Since when the categories whose share grew come more often: an estimate."""
        latest = self._categories.latest()
        if not latest:
            return 0
        reference = [*self._feature.categories.values()]
        known, m = len(reference), self._feature.n
        counts = [0] * (known + 1)
        for category in latest:
            counts[min(category, known)] += 1
        reference.append(self._feature.other)
        grew = [w * m > r * len(latest) for r, w in zip(reference, counts, strict=True)]
        inside = sum(r for r, is_in in zip(reference, grew, strict=True) if is_in)
        # Two values, 0 and 1; their buckets are 1 and 3.
        buckets = [3 if grew[min(category, known)] else 1 for category in latest]
        return change_point([m - inside, inside], buckets).values * self._thinning

    def _transition(self, what: str) -> Transition:
        return Transition(what, self.stream, self._categories.message(what), self.explain())

    def to_state(self) -> dict[str, object]:
        """For a checkpoint, msgpack-able."""
        at = [self.pushed, self.new, self._until, self._until_window, self._below]
        return {
            "categories": self._categories.to_state(),
            "live": self._live.to_state(),
            "collected": self._collected.tolist(),
            "at": [*at, self._until_judged],
            "by": self._by,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """As it was. ValueError, KeyError or TypeError when that is no state of such a detector; the
        detector is then in no good state."""
        self._categories.restore(state["categories"])
        self._live.restore(state["live"])
        self._collected = array("q", state["collected"])
        self.pushed, self.new, until, until_window, self._below, judged = map(int, state["at"])
        self._set_thinning()
        if not (1 <= until <= self._every and 1 <= until_window <= self._window and judged >= 1):
            raise ValueError(f"{self.stream}: its counters are not what they should be")
        self._until, self._until_window, self._until_judged = until, until_window, judged
        self._by = str(state["by"])
        self.drifted = bool(self._by)


def _series(categories: Sequence[int]) -> list[Indicator]:
    return of_categories(categories, _LIVE_CATEGORIES)
