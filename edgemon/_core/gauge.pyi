from edgemon._core.esr import EsrDetector
from edgemon._core.hist import Histogram
from edgemon._core.ks import SlidingKS
from edgemon._core.moments import Moments
from edgemon._core.sketch import QuantileSketch

# What `NumberWatch.take` tells, as in csrc/em_watch.h.
KS: int
ESR: int
TICK: int
# What checks tell, beside a bit each question, as in csrc/em_quality.h.
QUALITY_TICK: int
RUN: int
MOVED: int

class NumberWindow:
    """What the open window of a numeric stream counts: finite values in its three parts, NaN and
    infinities by name, and predictions without a value.

    Made without parts, for a stream that may hold text. Memory: 60 bytes without them. O(1).
    """

    moments: Moments | None
    sketch: QuantileSketch | None
    hist: Histogram | None
    nan: int
    pinf: int
    ninf: int
    missing: int
    def begin(self, moments: Moments, sketch: QuantileSketch, hist: Histogram | None) -> None:
        """Take the parts: numbers come."""
    def push(self, x: float) -> None:
        """Count one number, NaN and ±inf included. ValueError before `begin`."""

class Answers:
    """Answers to a question of yes and no, numbered from 1, that an e-SR judges; only a yes is told
    (csrc/em_quality.h).

    fed: the last answer that the detector has.  told: yes since the owner set it to 0.
    """

    detector: EsrDetector
    fed: int
    told: int
    def attach(self, detector: EsrDetector) -> None:
        """Whom to ask; it has `fed` answers."""
    def yes(self, number: int) -> bool:
        """Answer `number` is yes, those since the last yes were no. True: it is too often now.
        ValueError for a number that was passed."""
    def catch_up(self, number: int) -> None:
        """All answers up to `number` that were not told were no."""

class NumberWatch:
    """Who watches the law of a numeric stream: KS and e-SR (csrc/em_watch.h). It counts and looks; what it tells, its
    owner judges.

    pushed: numbers.  until: values to the next TICK, at least 1.  esr_due: the e-SR tells nothing before so many
    numbers.  drifted: latched, nothing but TICK is told.  active_esr: None while it is off.
    """

    pushed: int
    until: int
    esr_due: int
    drifted: bool
    active_esr: EsrDetector | None
    def wire(self, ks: SlidingKS) -> None:
        """The KS that it slides."""
    def take(self, x: float) -> int:
        """One number; 0, or who saw something, plus TICK when `until` ran out. NaN is ValueError."""

class RateChecks:
    """Questions of yes and no that every value or row answers (csrc/em_quality.h); numbered from 0.

    seen: answers to each.  until: answers to the next QUALITY_TICK, at least 1.  asked, muted: a bit each question
    that is judged; that is not told now.  learning: yes are counted in `learnt` and nothing is judged.
    """

    seen: int
    until: int
    asked: int
    muted: int
    learning: bool
    def attach(self, question: int, answers: Answers | None) -> None:
        """Who judges a question from now on; None: its next yes is told."""
    def yes(self, question: int) -> int:
        """Of the open window."""
    def learnt(self, question: int) -> int:
        """While learning."""
    def set_learnt(self, question: int, count: int) -> None: ...
    def answer(self, yes: int) -> int:
        """One more answer to each question; yes: a bit each that is yes. What is to be told, nearly always 0."""
    def reset_window(self) -> None:
        """The next window begins."""

class StreamCheck(RateChecks):
    """What may be wrong with one stream; a new one asks nothing and learns nothing.

    range: finite; beyond it is out of range.  last, run: the last number, and how many equal to it came in a row.
    longest: run of the open window.  run_limit: a run that gets as long is told as RUN; 0: none is.  stuck: the next
    other number is told as MOVED.  ties, numbers: numbers equal to the one before, and numbers, while `counting`.
    Memory: 350 bytes.
    """

    range: tuple[float, float]
    run_limit: int
    ties: int
    numbers: int
    counting: bool
    stuck: bool
    @property
    def last(self) -> float: ...
    @property
    def run(self) -> int: ...
    @property
    def longest(self) -> int: ...
    def take(self, x: float) -> int:
        """One number, not NaN; what is to be told."""
    def same(self, x: float) -> bool:
        """Whether this number, NaN among them, is the cell before, bit by bit; it is the cell before from now on."""
    def same_cell(self, bits: int) -> bool:
        """As `same`, for a cell that is no number; bits: 0 to 2^64 - 1."""
    def reset_window(self) -> None:
        """As of RateChecks, and the longest run."""
    def resume_run(self, last: float, run: int) -> None:
        """As it was."""

class RowCheck(RateChecks):
    """What may be wrong with the rows of one model. Limits are infinite until they are set."""

    def time(self, ts: float, wall_s: float) -> int:
        """The bits of what is wrong with a row's time; wall_s: NaN where the clock is not known."""
    def forget_time(self) -> None:
        """The next row has none before it."""
    def set_limits(self, late_s: float, early_s: float, disorder_s: float) -> None:
        """Seconds behind the clock, ahead of it, and behind the row before."""
