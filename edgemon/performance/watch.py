"""Whether errors come more often than they did: one guaranteed detector, for wrong predictions and for failed ones."""

from __future__ import annotations

from edgemon.drift import esr
from edgemon.drift.autocorrelation import sqrt_tau_at_least
from edgemon.drift.rates import RareEvent
from edgemon.drift.threshold import BlindDetectorError
from edgemon.typed import Any, NamedTuple

# Looks that make up a window, as RareEvent counts them.
_LOOKS = 20
STARTED, CLEARED = "started", "cleared"


class Promised(NamedTuple):
    """P(any false alarm within `horizon` answers) <= probability."""

    probability: float
    horizon: int


class ErrorWatch:
    """A stream of answers, wrong or right, against the rate of wrong ones in a reference.

    The promise, as that of esr.BernoulliEsr: P(any alarm within `horizon` answers) <= probability, while each answer,
    given those before, is wrong with a probability of at most that of the reference's law. A quarter of the probability
    pays for what `hits` of `rows` leave open about that law (Clopper and Pearson).

    The reference is given (`refer`), or made of the first `first` answers, on which nothing is tested. Where their
    order surely shows dependence (sqrt(tau) above 1.1) the promise would not hold: the watch is `blind`, and says so.
    One alarm is latched; it is over when for a whole window of answers the wrong ones were as few as the reference lets
    expect. After it, all evidence starts anew.

    window: answers, 20 or more.  Memory: 2 KB, and `first` bytes while the reference is made.  O(1) an answer.

    >>> watch = ErrorWatch(Promised(1e-3, 1_000_000), window=1_000, first=1_000)
    >>> watch.refer(hits=50, rows=1_000)
    >>> [watch.answer(True) for _ in range(12)].index("started")
    9
    """

    __slots__ = (
        "_calm_for", "_every", "_first", "_look_at", "_made", "_promised", "_rare", "_since", "_window",
        "answers", "blind", "hits", "latched", "rows",
    )  # fmt: skip

    def __init__(self, promised: Promised, window: int, first: int) -> None:
        self._promised = promised
        self._window = window
        self._first = first
        self._every = max(1, window // _LOOKS)
        self._made: bytearray | None = bytearray()  # the reference in the making
        self._rare: RareEvent | None = None
        self.answers = 0  # that were tested
        self._look_at = self._every
        self.hits = self.rows = 0
        self.latched = False
        self._since = 0  # the answer that the alarm came with
        self._calm_for = 0  # looks since the alarm that were calm, without one between that was not
        self.blind = ""

    def refer(self, hits: int, rows: int, tau: float = 1.0) -> None:
        """The reference: wrong answers of all. tau: sqrt(tau) of their order."""
        self._made = None
        self.hits, self.rows = hits, rows
        if not esr.usable(tau):
            self.blind = f"errors of the reference depend on those before (sqrt(tau) {tau:.2f})"
            return
        try:
            self._rare = RareEvent(
                hits, rows, self._promised.horizon, self._promised.probability, self._window
            )
        except BlindDetectorError as error:
            self.blind = str(error)

    @property
    def learning(self) -> int:
        """Answers that the reference still lacks; 0: it is there."""
        return self._first - len(self._made) if self._made is not None else 0

    def answer(self, wrong: bool) -> str | None:
        """One answer; "started" or "cleared" where it makes news."""
        if self._made is not None:
            self._made.append(wrong)
            self._end_reference(self._made)
            return None
        rare = self._rare
        if rare is None:
            return None
        self.answers += 1
        if wrong:
            reached = rare.yes(self.answers)
            if reached and not self.latched:
                self.latched, self._since, self._calm_for = True, self.answers, 0
                return STARTED
        return self._look()

    def passed(self, count: int) -> str | None:
        """So many answers that were right, at once."""
        if self._made is not None:
            take = min(count, self._first - len(self._made))
            self._made.extend(bytes(take))
            count -= take
            self._end_reference(self._made)
        if self._rare is None:
            return None
        self.answers += count
        return self._look()

    def _end_reference(self, made: bytearray) -> None:
        if len(made) >= self._first:
            tau = sqrt_tau_at_least([wrong > 0 for wrong in made])
            self.refer(sum(made), len(made), tau)

    def _look(self) -> str | None:
        rare = self._rare
        if rare is None:
            return None
        # More looks than make two windows say nothing new.
        self._look_at = max(self._look_at, self.answers - 2 * _LOOKS * self._every)
        while self.answers >= self._look_at:
            self._look_at += self._every
            calm = rare.calm()
            if not self.latched:
                continue
            self._calm_for = self._calm_for + 1 if calm else 0
            if self._calm_for >= _LOOKS:
                self.latched = False
                rare.restart(self.answers)
                return CLEARED
        return None

    def plan(self, horizon: int) -> None:
        """Another number of answers that the promise covers."""
        self._promised = self._promised._replace(horizon=horizon)
        if self._rare is not None and not self.latched:
            self._rare.plan(horizon)

    @property
    def recent_rate(self) -> float | None:
        """Of the last window or so; None where nothing was watched yet, or nothing since an alarm was cleared."""
        rare, recent = self._rare, min(self.answers, self._window)
        if rare is None or not recent or (rare.fed >= self.answers and not rare.recent):
            return None
        return rare.recent / recent

    def explain(self) -> dict[str, Any]:
        """What an alarm is about. since_answers: an estimate of when the rate rose.  rate: of these answers, or where
        there is no such moment of the last window or so."""
        rare = self._rare
        since = rare.since if rare is not None else 0
        return {
            "rate": rare.share(since) if rare is not None and since else self.recent_rate,
            "reference_rate": self.hits / self.rows if self.rows else None,
            "reference_rows": self.rows,
            "rate_upper": rare.rate_upper if rare is not None else None,
            "since_answers": since,
        }

    # -- checkpoint

    def to_state(self) -> list[Any]:
        """For a checkpoint."""
        made = bytes(self._made) if self._made is not None else None
        rare = self._rare.to_state() if self._rare is not None else None
        return [
            made, self.hits, self.rows, self.blind, rare, self.answers, self._look_at, self.latched, self._since,
            self._calm_for, self._promised.horizon,
        ]  # fmt: skip

    def restore(self, state: list[Any]) -> None:
        """As it was; ValueError or TypeError when that is no state of this one."""
        made, hits, rows, blind, rare, answers, look_at, latched, since, calm_for, horizon = state
        self.plan(int(horizon))
        if made is not None:
            self._made = bytearray(made[: self._first])
            return
        self.refer(int(hits), int(rows))
        self.blind = str(blind)
        if (self._rare is None) != (rare is None):
            if rare is not None:
                raise ValueError("the state of an errors' watch does not fit its reference")
            self._rare = None
        if self._rare is not None:
            self._rare.restore(rare)
        self.answers, self._look_at = int(answers), int(look_at)
        self.latched, self._since, self._calm_for = bool(latched), int(since), int(calm_for)
