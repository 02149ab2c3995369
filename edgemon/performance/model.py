"""All that is known of how well one version of a model does; who composes it gives it pairs, failures and windows."""

from __future__ import annotations

from edgemon._core import msgpack
from edgemon.drift.budget import ESTIMATE_SHARE, FAILURES_SHARE, TRUTH_SHARE, RatePlan, horizon
from edgemon.drift.labelled import CLASSIFICATION, REGRESSION, LabelledProfile
from edgemon.drift.settings import FalseAlarmBudget
from edgemon.errors import DamagedError
from edgemon.performance.calibration import Calibration, Estimate, EstimateWatch
from edgemon.performance.outcome import Classified, Outcome, judge, task_of
from edgemon.performance.scores import Scores, figures, merge
from edgemon.performance.watch import CLEARED, STARTED, ErrorWatch, Promised
from edgemon.records import Row
from edgemon.std.collections.abc import Sequence
from edgemon.typed import Any, NamedTuple, Protocol

STATE_VERSION = 1
TRUTH, ESTIMATE = "truth", "estimate"


class Settings(Protocol):
    """What it needs to know; `config.TruthSettings` is one."""

    @property
    def task(self) -> str: ...
    @property
    def threshold(self) -> float: ...
    @property
    def first(self) -> int: ...


class News(NamedTuple):
    """Something to tell. type: that of the event.  severity: of the event.  data: JSON-serialisable."""

    type: str
    severity: str
    message: str
    data: dict[str, Any]


class Performance:
    """One (model, version): scores of the open window, the watches of its errors, and what they told.

    labelled: the profile's; None: the first truths make the reference, and nothing is estimated.  window: predictions,
    of drift.window.  budget: the model's; three parts of it are spent here (drift/budget.py).

    "performance.drop" is one alarm, latched: it comes with the first of the two that sees one, truths (`by` "truth":
    concept drift) or the estimate, and "performance.recovered" when both are calm. "errors.started" and
    "errors.cleared" are of failures that the application reports.
    """

    def __init__(
        self,
        settings: Settings,
        budget: FalseAlarmBudget,
        window: int,
        labelled: LabelledProfile | None,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._window = window
        self._labelled = labelled
        self._rate = RatePlan(budget.per_s)
        self.scores = Scores()
        self._task = settings.task
        if self._task == "auto" and labelled is not None:
            self._task = labelled.task
        self._wrong: ErrorWatch | None = None
        self._failures: ErrorWatch | None = None
        self._estimates: EstimateWatch | None = None
        self._calibration: Calibration | None = None
        if labelled is not None and labelled.stream:
            self._calibration = Calibration(labelled)
            promised = self._promised(ESTIMATE_SHARE)
            self._estimates = EstimateWatch(self._calibration, promised, window)
        self._limit: float | None = None  # of absolute errors, above which one counts as wrong
        self._sizes: list[float] = []  # of a regression's errors, while the reference is made
        self._down: set[str] = set()  # who sees a drop
        self._total: dict[str, Any] = {}
        self._latest: dict[str, Any] = {}
        self._estimate: Estimate | None = None
        self._well = 0  # predictions that did not fail, before any did

    def _promised(self, share: float) -> Promised:
        budget = self._budget
        return Promised(share * budget.at_most, horizon(budget, self._rate.rate_per_s))

    # -- truths

    def pair(self, output: float | str | list[float], label: float | str) -> list[News] | None:
        """A prediction and its truth; None where they do not fit each other or the task."""
        seen = task_of(output, label)
        if self._task == "auto" or (
            self._settings.task == "auto"
            and self._labelled is None
            and (self._task, seen) == (CLASSIFICATION, REGRESSION)
            and not isinstance(output, str)
        ):
            self._begin_task(seen)
        outcome = judge(output, label, self._task, self._settings.threshold)
        if outcome is None:
            return None
        self.scores.push(outcome)
        wrong = self._is_wrong(outcome)
        if wrong is None:
            return []
        if self._wrong is None:
            self._wrong = self._watch_of_truths()
        return self._told_by_truths(self._wrong.answer(wrong))

    def _begin_task(self, task: str) -> None:
        """What the values show. Scores that turn out to be quantities begin anew as such."""
        self._task = task
        self._wrong, self._limit, self._sizes = None, None, []
        self._total, self._latest = {}, {}
        self.scores.reset()

    def _is_wrong(self, outcome: Outcome) -> bool | None:
        """None while the reference of a regression's errors is made."""
        if isinstance(outcome, Classified):
            return not outcome.correct
        size = abs(outcome.error)
        if self._limit is None and self._labelled is not None:
            self._limit = self._labelled.limit
        if self._limit is None:
            self._collect(size)
            return None
        return size > self._limit

    def _collect(self, size: float) -> None:
        from edgemon.performance.labelled import LabelledRows

        self._sizes.append(size)
        if len(self._sizes) < self._settings.first:
            return
        rows = LabelledRows(len(self._sizes), REGRESSION)
        for one in self._sizes:
            rows.pair(one, 0.0)
        made = rows.finish({}, ordered=True)
        assert made is not None
        self._limit, self._sizes = made.limit, []
        self._wrong = ErrorWatch(self._promised(TRUTH_SHARE), self._window, self._settings.first)
        self._wrong.refer(made.hits, made.rows, made.sqrt_tau)

    def _watch_of_truths(self) -> ErrorWatch:
        watch = ErrorWatch(self._promised(TRUTH_SHARE), self._window, self._settings.first)
        labelled = self._labelled
        if labelled is not None and labelled.task == self._task:
            watch.refer(labelled.hits, labelled.rows, labelled.sqrt_tau)
        return watch

    def _told_by_truths(self, change: str | None) -> list[News]:
        if change is None or self._wrong is None:
            return []
        data = self._wrong.explain() | {"task": self._task, "limit": self._limit}
        now, then = _percent(data["rate"]), _percent(data["reference_rate"])
        what = "wrong" if self._limit is None else f"off by more than {self._limit:.4g}"
        which = f"the last {data['since_answers']}" if data["since_answers"] else "the latest"
        message = f"{now} of {which} predictions with a truth are {what}, in the reference {then}: concept drift"
        return self._drop(change, TRUTH, message, data)

    def _drop(self, change: str, by: str, message: str, data: dict[str, Any]) -> list[News]:
        was = bool(self._down)
        (self._down.add if change == STARTED else self._down.discard)(by)
        if bool(self._down) == was:
            return []
        data = {"by": by} | data
        if not was:
            return [News("performance.drop", "alarm", message, data)]
        return [News("performance.recovered", "info", "the model does as well as before", data)]

    # -- failures

    def failed(self, before: int) -> list[News]:
        """A prediction failed, after `before` that did not, since the last call of this or of `close`.

        Where failures were never reported before, all that went well until now is the reference, if it is enough.
        """
        watch = self._failures
        if watch is None:
            before, self._well = before + self._well, 0
            watch = self._failures = ErrorWatch(
                self._promised(FAILURES_SHARE), self._window, self._settings.first
            )
            if before >= self._settings.first:
                # A run that ends with its first failure bounds the rate as one of a fixed length does: its length is
                # geometric. The failure itself is chosen, and not tested.
                watch.refer(0, before)
                return []
        return [
            *self._told_by_failures(watch.passed(before)),
            *self._told_by_failures(watch.answer(True)),
        ]

    def _told_by_failures(self, change: str | None) -> list[News]:
        if change is None or self._failures is None:
            return []
        data = self._failures.explain()
        if change == CLEARED:
            return [News("errors.cleared", "info", "predictions fail as rarely as before", data)]
        which = f"the last {data['since_answers']}" if data["since_answers"] else "the latest"
        message = (
            f"{_percent(data['rate'])} of {which} predictions failed, as the application says, in the reference "
            f"{_percent(data['reference_rate'])}"
        )
        return [News("errors.started", "alarm", message, data)]

    # -- windows

    @property
    def stream(self) -> str:
        """Whose histogram `close` and `estimate_row` want; "" for none."""
        return self._calibration.stream if self._calibration is not None else ""

    def estimate_row(self, hist: Sequence[int] | None) -> Row:
        """Columns for the model's own row."""
        found = self._estimate_of(hist)
        return dict(found.row()) if found is not None else {}

    def _estimate_of(self, hist: Sequence[int] | None) -> Estimate | None:
        if self._calibration is None or not hist or len(hist) != len(self._calibration.q):
            return None
        return self._calibration.estimate(hist)

    def close(self, hist: Sequence[int] | None, answers: int, over_s: float) -> list[News]:
        """A window ends. hist: of predictions by bin of `stream`, None without.  answers: predictions and failures in
        it.  over_s: how long it was."""
        news: list[News] = []
        row = self.scores.row()
        self._rated(max(answers, self.scores.n), over_s)
        if row:
            self._latest = figures(merge({}, row))
            merge(self._total, row)
            self.scores.reset()
        if (found := self._estimate_of(hist)) is not None and hist is not None:
            self._estimate = found
            assert self._estimates is not None
            if (change := self._estimates.window(hist)) is not None:
                data = self._estimates.explain()
                message = (
                    f"accuracy, estimated without truths, is {_percent(data['accuracy'])}, in the reference "
                    f"{_percent(data['reference_accuracy'])}"
                )
                news += self._drop(change, ESTIMATE, message, data)
        return news

    def went_well(self, count: int) -> list[News]:
        """So many predictions that did not fail, since the last call of this or of `failed`."""
        if self._failures is None:
            self._well += count
            return []
        return self._told_by_failures(self._failures.passed(count))

    def _rated(self, answers: int, over_s: float) -> None:
        if (
            not self._budget.per_s
            or over_s < 1.0
            or not self._rate.observe(answers / over_s, over_s)
        ):
            return
        wanted = self._promised(1.0).horizon
        for watch in (self._wrong, self._failures, self._estimates):
            if watch is not None:
                watch.plan(wanted)

    # -- what is known

    def status(self) -> dict[str, Any]:
        """For `edgemon status`. truth: of the last window that had any, and since the agent began."""
        found: dict[str, Any] = {"drop": sorted(self._down)}
        if self._total or self.scores.n:
            watch = self._wrong
            found["truth"] = {
                "task": self._task,
                "window": self._latest,
                "since_start": figures(merge(dict(_copied(self._total)), self.scores.row())),
                "reference_lacks": self._reference_lacks(),
                "reference_rate": watch.hits / watch.rows if watch is not None and watch.rows else None,
                "blind": watch.blind if watch is not None else "",
            }  # fmt: skip
        if self._estimate is not None and self._calibration is not None:
            found["estimate"] = {
                "n": self._estimate.n,
                "accuracy": self._estimate.accuracy,
                "se": self._estimate.se,
                "reference": self._calibration.accuracy,
            }
        if (failures := self._failures) is not None:
            found["failures"] = {
                "alarm": failures.latched,
                "rate": failures.recent_rate,
                "reference_lacks": failures.learning,
                "blind": failures.blind,
            }
        return found

    def _reference_lacks(self) -> int:
        if self._sizes:
            return self._settings.first - len(self._sizes)
        return self._wrong.learning if self._wrong is not None else 0

    @property
    def alarms(self) -> list[str]:
        """What is latched: "truth", "estimate", "failures"."""
        failing = self._failures is not None and self._failures.latched
        return sorted(self._down) + ["failures"] * failing

    # -- checkpoint

    def to_state(self) -> bytes:
        """What the watches have seen, and the classes that are told apart; not the open window."""
        state: bytes = msgpack.packb(
            {
                "version": STATE_VERSION,
                "for": self._fingerprint(),
                "task": self._task,
                "limit": self._limit,
                "sizes": self._sizes,
                "rate": self._rate.to_state(),
                "down": sorted(self._down),
                "well": self._well,
                "wrong": self._wrong.to_state() if self._wrong is not None else None,
                "failures": self._failures.to_state() if self._failures is not None else None,
                "estimates": self._estimates.to_state() if self._estimates is not None else None,
            }
        )
        return state

    def restore(self, data: bytes) -> None:
        """As it was; DamagedError where that is no state of one with this profile and these settings: then it has seen
        nothing."""
        try:
            state: dict[str, Any] = msgpack.unpackb(data)
            if state["version"] != STATE_VERSION or state["for"] != self._fingerprint():
                raise ValueError("profile or settings have changed since")
            self._rate.restore(state["rate"])
            self._task, self._limit = str(state["task"]), state["limit"]
            self._sizes = [float(size) for size in state["sizes"]]
            if state["wrong"] is not None:
                self._wrong = self._watch_of_truths()
                self._wrong.restore(state["wrong"])
            if state["failures"] is not None:
                promised = self._promised(FAILURES_SHARE)
                self._failures = ErrorWatch(promised, self._window, self._settings.first)
                self._failures.restore(state["failures"])
            if self._estimates is not None:
                self._estimates.restore(state["estimates"])
            self._down = {TRUTH, ESTIMATE} & set(state["down"])
            self._well = int(state["well"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            self.__init__(self._settings, self._budget, self._window, self._labelled)  # type: ignore[misc]
            raise DamagedError(f"performance state: {error}") from error

    def _fingerprint(self) -> list[Any]:
        budget, settings = self._budget, self._settings
        labelled = self._labelled.to_map() if self._labelled is not None else None
        return [
            self._window, budget.at_most, budget.per_predictions, budget.per_s,
            settings.task, settings.threshold, settings.first, labelled,
        ]  # fmt: skip


def _copied(total: dict[str, Any]) -> dict[str, Any]:
    copy = dict(total)
    if "confusion" in copy:
        copy["confusion"] = {true: dict(of) for true, of in copy["confusion"].items()}
    return copy


def _percent(share: float | None) -> str:
    return "some" if share is None else f"{100 * share:.3g} %"
