from edgemon._core.esr import EsrDetector
from edgemon._core.hist import Histogram
from edgemon._core.ks import SlidingKS
from edgemon._core.moments import Moments
from edgemon._core.sketch import QuantileSketch

# What `NumberWatch.take` and `take_missing` tell, as in csrc/em_watch.h.
KS: int
ESR: int
RANGE: int
MISSING: int
TICK: int

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
    (csrc/em_watch.h).

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
    """Who watches a numeric stream: KS, e-SR, range and missing values (csrc/em_watch.h). It counts
    and looks; what it tells, its owner judges.

    pushed: numbers.  seen: numbers and missing values.  until: values to the next TICK, at least 1.
    esr_due: the e-SR tells nothing before so many numbers.  drifted: latched, nothing but TICK is
    told.  range: what lies beyond is told to `outside`.  active_esr: None while it is off.
    """

    pushed: int
    seen: int
    until: int
    esr_due: int
    drifted: bool
    range: tuple[float, float]
    active_esr: EsrDetector | None
    def wire(self, ks: SlidingKS, outside: Answers | None, missing: Answers | None) -> None:
        """The parts; None: nobody asks that."""
    def take(self, x: float) -> int:
        """One number; 0, or who saw something, plus TICK when `until` ran out. NaN is ValueError."""
    def take_missing(self) -> int:
        """One prediction had no value; as `take`."""
