"""When windows close, and when what is open is saved."""

from __future__ import annotations

import time

from edgemon.agent.batches import Batches
from edgemon.agent.clocks import Clocks
from edgemon.agent.loop import Loop, Timer
from edgemon.agent.pipeline import Pipeline
from edgemon.std.collections.abc import Callable

# How often what comes in lets `schedule` look at all models, which the hot path cannot afford each time.
_LOOK_NS = 1_000_000_000


class Windows:
    """The timers of the pipeline: one for the window that ends first, one for checkpoints.

    predictions(): how many were counted so far; without new ones nothing is saved.
    """

    def __init__(
        self,
        loop: Loop,
        clocks: Clocks,
        pipeline: Pipeline,
        batches: Batches,
        predictions: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._clocks = clocks
        self._pipeline = pipeline
        self._batches = batches
        self._predictions = predictions
        self.listening: Callable[[], bool] = lambda: True  # whether applications are read from
        self._closing: Timer | None = None
        self._saving: Timer | None = None
        self._looked_ns = 0
        self._saved_at: float = 0  # predictions counted when the detectors' state was saved last
        batches.open_windows = lambda: pipeline.open_windows(time.monotonic_ns())
        batches.begun_windows = pipeline.begun_windows

    def predictions_came(self, mono_ns: int) -> None:
        """What they begin is scheduled and journaled at once; that a model's pace is known by now, within a second."""
        if self._pipeline.begun:
            self._pipeline.begun = False
            self._batches.await_windows()
        if self._pipeline.sooner or mono_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = mono_ns
            self.schedule()

    def schedule(self) -> None:
        """A model may have begun."""
        self._pipeline.sooner = False
        due_s, timer = self._pipeline.next_due_s(), self._closing
        if due_s is None or (
            timer is not None and timer.callback is not None and timer.when_s <= due_s
        ):
            return
        if timer is not None:
            timer.cancel()
        self._closing = self._loop.call_at(due_s, self._close)

    def _close(self) -> None:
        self._closing = None
        mono_ns, _ = self._clocks.observe()
        self._pipeline.close_due_windows(mono_ns, listening=self.listening())
        self.schedule()

    def save_every(self, interval_s: float) -> None:
        """Begin to save what a restart would cost, or begin anew after a reload."""
        if self._saving is not None:
            self._saving.cancel()
        self._saving = self._loop.call_every(interval_s, self._save)

    def _save(self) -> None:
        predictions = self._predictions()
        if predictions != self._saved_at:
            self._saved_at = predictions
            self._pipeline.save()
            self._batches.checkpoint()
