"""Who watches the law of one numeric stream: KS and e-SR, with one latch."""

from __future__ import annotations

import math

from edgemon._core import gauge
from edgemon._core.esr import EsrDetector
from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift import esr, messages
from edgemon.drift.autocorrelation import Indicator
from edgemon.drift.budget import Shares, numeric_shares
from edgemon.drift.live import LiveDependence
from edgemon.drift.parts import Promise, esr_table, refill
from edgemon.drift.profile import FeatureProfile
from edgemon.drift.report import json_safe, report
from edgemon.drift.settings import State, Transition
from edgemon.drift.threshold import Threshold, ThresholdError, threshold
from edgemon.std.array import array
from edgemon.typed import Any

# While an alarm is latched, the stream is looked at this often in a window.
LOOKS_PER_WINDOW = 20
# Bins of the profile (edges 20 %, 50 %, 80 %) whose indicators show live dependence.
_LIVE_EDGES = (3, 9, 15)
_BY = {gauge.KS: "ks", gauge.ESR: "esr"}


class DriftDetector(gauge.NumberWatch):
    """A numeric stream against its profile. One drift raises one alarm, whoever sees it first:

    - "ks": the window is full and h >= threshold (small changes);
    - "esr": the evidence of the e-SR detector is enough, and the share of the values since the
      change beyond its strongest cut is min_effect away from the reference's (large changes).

    Then the stream is latched: until it is cleared nothing alarms again. Cleared when, for a whole
    window of values, as seen at every 20th part of it, the window was full and h below clear_ratio *
    threshold. Nothing is learnt from the values, the reference is fixed. After it, all evidence starts anew.

    Without a `promise` there is the KS alone, at the given limit. With one, thresholds follow from
    it (budget.py, threshold.py, esr.py); and how far the values depend on each other is measured as
    they come (live.py): no alarm comes before the first block of it, 250 values or a
    window; where it is more than the profile says, thresholds rise and e-SR is off, and that is told
    once. Values that are missing, NaN or out of range are the business of edgemon.quality.

    Memory: that of SlidingKS, and 1.5 KB for e-SR; the e-SR table is shared.
    Time of a push: that of both; a transition takes some ten milliseconds.
    Values are counted in C (gauge.NumberWatch); here stands what is made of what that tells.

    limit: of the KS; with a promise None: it follows.  min_effect: 0 to 1.  table: shared by e-SR
    detectors of this reference, see esr_table.
    """

    __slots__ = (
        "_alarm_h", "_below", "_by", "_clear_h", "_clear_ratio", "_esr", "_every", "_feature", "_ks", "_limit", "_live",
        "_m", "_min_effect", "_pending", "_profile_hash", "_promise", "_window", "blind",
    )  # fmt: skip

    def __init__(
        self,
        feature: FeatureProfile,
        reference: Reference,
        window: int,
        limit: Threshold | None = None,
        *,
        min_effect: float = 0.0,
        clear_ratio: float = 0.8,
        profile_hash: str = "",
        promise: Promise | None = None,
        table: esr.EsrTable | None = None,
    ) -> None:
        self._feature = feature
        self._window = window
        self._min_effect = min_effect
        self._clear_ratio = clear_ratio
        self._profile_hash = profile_hash
        self._promise = promise
        self._pending: Promise | None = None  # a promise that came while latched
        self._every = max(1, window // LOOKS_PER_WINDOW)
        self._esr: EsrDetector | None = None
        self._live: LiveDependence | None = None
        self._m = reference.m
        if promise is not None:
            self._live = LiveDependence(feature.sqrt_tau, window)
            self._make_parts(promise, reference, table)
            limit = self._ks_limit(promise)
        if limit is None:
            raise ValueError("a limit or a promise is needed")
        self._limit = limit
        self._ks = SlidingKS(reference, window, 1)
        self.wire(self._ks)
        self.active_esr = self._esr
        self.until = window
        self._below = -1  # values since the stream was first seen calm, -1: it is not
        self._by = ""
        self.blind = False
        self._set_limits()

    # -- the promise

    def _make_parts(
        self, promise: Promise, reference: Reference, table: esr.EsrTable | None
    ) -> None:
        feature = self._feature
        shares = numeric_shares(promise.probability, feature.sqrt_tau)
        if shares.esr:
            table = table or esr_table(feature, reference, promise.probability)
            if table is not None:
                self._esr = EsrDetector(table, self._esr_limit(promise, shares))

    def _esr_limit(self, promise: Promise, shares: Shares) -> float:
        return esr.alarm_level(promise.horizon, (1.0 - esr.REFERENCE_SHARE) * shares.esr)

    def _ks_limit(self, promise: Promise) -> Threshold:
        """The threshold for what the KS may spend; ThresholdError where there is none."""
        assert self._live is not None
        sqrt_tau = self._live.sqrt_tau
        shares = numeric_shares(promise.probability, sqrt_tau)
        part = shares.ks
        part += shares.esr if self._esr is None else 0.0
        return threshold(self._m, self._window, promise.horizon, part, sqrt_tau)

    def plan(self, promise: Promise) -> Transition | None:
        """Another promise, because the rate is another; while latched it waits. News where that
        makes the detector blind."""
        if self.drifted:
            self._pending = promise
            return None
        self._promise, self._pending = promise, None
        return self._retune()

    def _retune(self) -> Transition | None:
        """Limits for the promise and the dependence of now."""
        promise, live = self._promise, self._live
        assert promise is not None
        assert live is not None
        was_blind = self.blind
        try:
            self._limit, self.blind = self._ks_limit(promise), False
            problem = ""
        except ThresholdError as error:
            # Kept: deaf rather than a promise broken.
            lcm = self._limit.lcm
            self._limit, self.blind, problem = Threshold(lcm + 1, lcm, math.inf), True, str(error)
        shares = numeric_shares(promise.probability, live.sqrt_tau)
        if self._esr is not None:
            if shares.esr:
                self._esr.limit = self._esr_limit(promise, shares)
                if self.active_esr is None:
                    self._esr.reset()
            self.active_esr = self._esr if shares.esr else None
        self._set_limits()
        if not self.blind or was_blind:
            return None
        message = f"{self.stream} cannot raise an alarm of the KS now: {problem}"
        return Transition("blind", self.stream, message, {"stream": self.stream})

    def _set_limits(self) -> None:
        limit = self._limit
        self._alarm_h = max(1, limit.h, math.ceil(self._min_effect * limit.lcm))
        self._clear_h = self._clear_ratio * min(self._alarm_h, limit.lcm)
        self._ks.threshold_h = limit.lcm + 1 if self.drifted else self._alarm_h

    # -- values

    def push(self, x: float) -> Transition | None:
        """Take one value. ±inf is a value like another; NaN is ValueError: the caller counts it."""
        told = self.take(x)
        return self.told(told) if told else None

    def told(self, told: int) -> Transition | None:
        """What `take` gave, not 0: for who counts values past `push`."""
        by = _BY.get(told & ~gauge.TICK, "")
        return self._tick(by) if told & gauge.TICK else self._alarm(by)

    def _tick(self, by: str) -> Transition | None:
        """A window's end, or latched, a look."""
        if self.drifted:
            return self._look()
        self.until = self._window
        news = self._end_of_window(self._live) if self._live is not None else None
        # What the block just told may have moved the threshold, or switched a detector off.
        if (by == "ks" and self._ks.h < self._alarm_h) or (by == "esr" and self.active_esr is None):
            by = ""
        return (self._alarm(by) if by else None) or news

    def _alarm(self, by: str) -> Transition | None:
        """A detector reached its limit; None where that must wait."""
        if self.drifted:
            return None
        if self._live is not None and not self._live.ready:
            return None
        if by == "esr":
            if self.pushed < self.esr_due:
                return None
            self.esr_due = self.pushed + self._every
            if self._esr_effect() < self._min_effect:
                return None
        self.drifted, self._by = True, by
        self._below = -1
        self.until = self._every
        news = self._transition("started")
        # h cannot pass lcm: from now on the kernel looks only when it is asked.
        self._ks.threshold_h = self._limit.lcm + 1
        self.active_esr = None
        self._restart_evidence()
        return news

    def _restart_evidence(self) -> None:
        if self._esr is not None:
            self._esr.reset()

    def _look(self) -> Transition | None:
        """Latched, and a look is due."""
        self.until = self._every
        if self._ks.n < self._window or self._ks.h >= self._clear_h:
            self._below = -1
            return None
        self._below = self._below + self._every if self._below >= 0 else 0
        if self._below < self._window:
            return None
        self.drifted = False
        self.until = self._window
        self.esr_due = 0
        self._restart_evidence()
        if self._pending is not None:
            self._promise, self._pending = self._pending, None
        if self._promise is not None:
            self._retune()
            self._live.begin()  # type: ignore[union-attr]  # there is one with a promise
        self._ks.threshold_h = self._alarm_h
        news = self._transition("cleared")
        self._by = ""
        return news

    def _esr_effect(self) -> float:
        """|share of the values since the change beyond the strongest cut - the reference's|."""
        assert self._esr is not None
        _, cut, _ = self._esr.peak()
        reference = self._ks.reference
        recent = self._ks.buckets()[-max(1, self._esr.since) :]
        below = sum(map(reference.bucket(cut).__ge__, recent)) / len(recent)
        return abs(below - reference.rank(cut) / reference.m)

    # -- dependence, live

    def _end_of_window(self, live: LiveDependence) -> Transition | None:
        news = None
        if live.end_of_window(self._latest, self._series):
            news = self._retune()
        if not live.to_tell():
            return news
        data: dict[str, object] = {
            "stream": self.stream,
            "profile": self._profile_hash,
            "sqrt_tau": live.sqrt_tau,
            "sqrt_tau_live": live.estimate,
            "sqrt_tau_profile": self._feature.sqrt_tau,
            "threshold_D": self.threshold_d,
            "values_seen": self.pushed,
            "consequence": f"an alarm takes a D of {self.threshold_d:.3f} now",
        }
        return Transition("autocorrelated", self.stream, messages.autocorrelated(data), data)

    def _latest(self) -> array[int]:
        return array("q", self._ks.buckets_bytes())

    def _series(self, buckets: array[int]) -> list[Indicator]:
        bucket, edges = self._ks.reference.bucket, self._feature.edges
        cuts = sorted({bucket(edges[i]) for i in _LIVE_EDGES})
        values = buckets.tobytes()
        return [Indicator.at_most(values, cut) for cut in cuts]

    # -- what it knows

    def state(self) -> State:
        """O(m) where the last push did not look."""
        ks = self._ks
        full = ks.n == self._window
        return State(ks.d, ks.n, ks.h, self._alarm_h, self.drifted, self._by, full)

    def reset(self) -> None:
        """Forget the window, the evidence and the latch; what was learnt of dependence stays."""
        self._ks.reset()
        self._restart_evidence()
        self.drifted, self._by, self._below = False, "", -1
        self.until = self._window
        self.esr_due = 0
        if self._promise is not None:
            self._retune()
            self._live.begin()  # type: ignore[union-attr]  # there is one with a promise
        self._ks.threshold_h = self._alarm_h

    @property
    def stream(self) -> str:
        return self._feature.name

    @property
    def window(self) -> int:
        """Values that the window holds when it is full."""
        return self._window

    @property
    def threshold_d(self) -> float:
        """D at which the alarm comes."""
        return self._alarm_h / self._limit.lcm

    @property
    def sqrt_tau(self) -> float:
        """That the threshold is widened by: the profile's, or more."""
        return self._live.sqrt_tau if self._live is not None else self._feature.sqrt_tau

    @property
    def settled(self) -> bool:
        """Whether `sqrt_tau` has been measured on live values."""
        return self._live is None or self._live.ready

    @property
    def memory_bytes(self) -> int:
        """Of its own, without the reference and the e-SR table."""
        return self._ks.memory_bytes + (self._esr.memory_bytes if self._esr is not None else 0)

    def explain(self) -> dict[str, object]:
        """What is known of the stream now, for an event: docs/drift.md names the fields.

        What the e-SR saw is in its latest values: most of the window may be older, and tell of health.
        """
        last = self._esr.since if self._by == "esr" and self._esr is not None else 0
        data = {
            "stream": self.stream,
            "by": self._by,
            "threshold_h": self._alarm_h,
            "threshold_D": self.threshold_d,
            "sqrt_tau": self.sqrt_tau,
            "profile": self._profile_hash,
            "values_seen": self.pushed,
            "range": json_safe([self._feature.low, self._feature.high]),
        } | report(self._ks, self._feature.edges, last)
        if last:
            data["values_since_change"] = last
        return data

    def _transition(self, what: str) -> Transition:
        data = self.explain()
        started = what == "started"
        message = messages.started(data) if started else messages.cleared(data, self._clear_ratio)
        return Transition(what, self.stream, message, data)

    # -- checkpoint

    def to_state(self) -> dict[str, object]:
        """For a checkpoint, msgpack-able. The values themselves are not in it, only their buckets."""
        return {
            "buckets": array("I", self._ks.buckets()).tobytes(),
            "esr": self._esr.to_bytes() if self._esr is not None else b"",
            "live": self._live.to_state() if self._live is not None else None,
            "at": [self.pushed, self.until, self._below, self.esr_due],
            "by": self._by,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """As it was: every alarm to come is the same. ValueError, KeyError or TypeError when that is
        no state of such a detector; the detector is then in no good state."""
        if self._live is not None:
            self._live.restore(state["live"])
        self.pushed, until, self._below, self.esr_due = map(int, state["at"])
        self._by = str(state["by"])
        self.drifted = bool(self._by)
        if not 1 <= until <= (self._every if self.drifted else self._window):
            raise ValueError(f"{self.stream}: its counters are not what they should be")
        self.until = until
        self._ks.threshold_h = self._limit.lcm + 1
        refill(self._ks, array("I", state["buckets"]))
        if self._esr is not None:
            table, limit = self._esr.table, self._esr.limit
            self._esr = EsrDetector.from_bytes(table, limit, state["esr"])
            self.active_esr = self._esr
        if self._promise is not None:
            self._retune()
        else:
            self._set_limits()
        if self.drifted:
            self.active_esr = None
