"""A numeric stream: what its open window counts, and who watches it."""

from libc.stdint cimport uint64_t

from edgemon._core._border cimport ordered, real
from edgemon._core.esr cimport EsrDetector, c_bool
from edgemon._core.hist cimport Histogram
from edgemon._core.ks cimport SlidingKS
from edgemon._core.moments cimport Moments
from edgemon._core.sketch cimport QuantileSketch


cdef extern from "em_window.h" nogil:
    void em_window_push(em_window *, const double *, size_t)

cdef extern from "em_watch.h" nogil:
    const int EM_WATCH_KS
    const int EM_WATCH_ESR
    const int EM_WATCH_RANGE
    const int EM_WATCH_MISSING
    const int EM_WATCH_TICK
    c_bool em_answers_yes(em_answers *, uint64_t)
    void em_answers_catch_up(em_answers *, uint64_t)
    size_t em_watch_push_until(em_watch *, const double *, size_t, unsigned *)
    unsigned em_watch_missing(em_watch *)


KS, ESR, RANGE, MISSING = EM_WATCH_KS, EM_WATCH_ESR, EM_WATCH_RANGE, EM_WATCH_MISSING
TICK = EM_WATCH_TICK


cdef class NumberWindow:
    def begin(self, Moments moments not None, QuantileSketch sketch not None, Histogram hist):
        self.moments, self.sketch, self.hist = moments, sketch, hist
        self.window.moments = &moments.moments
        self.window.sketch = &sketch.sketch
        self.window.hist = NULL if hist is None else &hist.hist

    def push(self, x):
        cdef double value = real(x)
        if self.window.moments == NULL:
            raise ValueError("a window that has not begun")
        em_window_push(&self.window, &value, 1)

    @property
    def nan(self):
        return self.window.nan

    @nan.setter
    def nan(self, uint64_t value):
        self.window.nan = value

    @property
    def pinf(self):
        return self.window.pinf

    @pinf.setter
    def pinf(self, uint64_t value):
        self.window.pinf = value

    @property
    def ninf(self):
        return self.window.ninf

    @ninf.setter
    def ninf(self, uint64_t value):
        self.window.ninf = value

    @property
    def missing(self):
        return self.window.missing

    @missing.setter
    def missing(self, uint64_t value):
        self.window.missing = value


cdef class Answers:
    def attach(self, EsrDetector detector not None):
        self.detector = detector
        self.answers.esr = &detector.esr

    def yes(self, uint64_t number):
        if self.answers.esr == NULL or number <= self.answers.fed:
            raise ValueError(f"answer {number} comes after {self.answers.fed}")
        return em_answers_yes(&self.answers, number)

    def catch_up(self, uint64_t number):
        if self.answers.esr != NULL:
            em_answers_catch_up(&self.answers, number)

    @property
    def fed(self):
        return self.answers.fed

    @fed.setter
    def fed(self, uint64_t value):
        self.answers.fed = value

    @property
    def told(self):
        return self.answers.yes

    @told.setter
    def told(self, uint64_t value):
        self.answers.yes = value


cdef class NumberWatch:
    def wire(self, SlidingKS ks not None, Answers outside, Answers missing):
        for answers in (outside, missing):
            if answers is not None and (<Answers>answers).answers.esr == NULL:
                raise ValueError("answers without a detector")
        self.watched_ks, self.outside, self.missing_answers = ks, outside, missing
        self.watch.ks = &ks.ks
        self.watch.outside = NULL if outside is None else &outside.answers
        self.watch.missing = NULL if missing is None else &missing.answers
        if self.watch.until == 0:
            self.watch.until = 1

    def take(self, x):
        cdef double value = ordered(x)
        cdef unsigned told = 0
        if self.watch.ks == NULL:
            raise ValueError("a watch that is not wired")
        em_watch_push_until(&self.watch, &value, 1, &told)
        return told

    def take_missing(self):
        if self.watch.ks == NULL:
            raise ValueError("a watch that is not wired")
        return em_watch_missing(&self.watch)

    @property
    def active_esr(self):
        return self.active

    @active_esr.setter
    def active_esr(self, EsrDetector esr):
        self.active = esr
        self.watch.esr = NULL if esr is None else &esr.esr

    @property
    def range(self):
        return self.watch.low, self.watch.high

    @range.setter
    def range(self, bounds):
        low, high = bounds
        self.watch.low = ordered(low)
        self.watch.high = ordered(high)

    @property
    def pushed(self):
        return self.watch.pushed

    @pushed.setter
    def pushed(self, uint64_t value):
        self.watch.pushed = value

    @property
    def seen(self):
        return self.watch.seen

    @seen.setter
    def seen(self, uint64_t value):
        self.watch.seen = value

    @property
    def until(self):
        return self.watch.until

    @until.setter
    def until(self, uint64_t value):
        if value == 0:
            raise ValueError("a tick is at least one value away")
        self.watch.until = value

    @property
    def esr_due(self):
        return self.watch.esr_due

    @esr_due.setter
    def esr_due(self, uint64_t value):
        self.watch.esr_due = value

    @property
    def drifted(self):
        return self.watch.latched

    @drifted.setter
    def drifted(self, bint value):
        self.watch.latched = value
