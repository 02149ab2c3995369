"""A model's place on the hot path: which of its streams the table in C counts, past Python."""

from __future__ import annotations

from edgemon._core.intake import ModelSlots
from edgemon.flow.window import StreamWindow
from edgemon.quality.stream import StreamQuality
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.agent.models import Model
    from edgemon.drift.detector import DriftDetector


# Streams of numbers that are no features.
_OF_VECTORS = {"confidence", "entropy"}
_NUMBERS = {"output", "latency"} | _OF_VECTORS


class HotPath:
    """The streams of one model that are in `slots`, by their number there, and those that are to be entered."""

    __slots__ = ("_pending", "_slot_of", "checks", "detectors", "slots")

    def __init__(self, slots: ModelSlots) -> None:
        self.slots = slots
        self.detectors: list[DriftDetector | None] = []  # of each slot
        self.checks: list[StreamQuality | None] = []
        self._slot_of: dict[str, int] = {}
        self._pending: dict[str, StreamWindow] = {}

    def hold(self) -> None:
        """The next prediction is observed in Python, whatever could be done here."""
        self.slots.slow = True

    def add(self, stream: str, window: StreamWindow) -> None:
        """A new stream: it is entered with the next prediction, if it is of a kind that can be."""
        self._pending[stream] = window

    def forget(self, windows: dict[str, StreamWindow]) -> None:
        """All streams; these are to be entered anew."""
        self._slot_of.clear()
        self.detectors.clear()
        self.checks.clear()
        self._pending = dict(windows)
        self.slots.clear()

    def enter(self, model: Model, features: dict[str, float | str | None]) -> None:
        """A prediction with these features, as they came, was observed: take such ones from now on, where that can be.

        It cannot while the schema is being learnt, a profile is made or a recording runs, nor where there is text.
        """
        slots, recording, capture = self.slots, model.recording, model.capture
        slots.skip = capture.skip
        if (
            model.schema.learning
            or model.baseline is not None
            or (recording is not None and not recording.complete)
        ):
            slots.slow = True
            return
        if self._pending:
            self._enter_streams(model)
        if "f0" in features and slots.positions != len(features):
            self._enter_positions(model, len(features))
        slots.features = len(model.schema.features)
        # What is kept is by column, and a vector is none.
        slots.eager, slots.keep = capture.eager, capture.plain and not slots.vectors
        if slots.keep:
            slots.set_gaps(capture.gaps())
        slots.slow = False

    def _enter_streams(self, model: Model) -> None:
        names = model.feature_names
        for stream, window in list(self._pending.items()):
            kind = model.schema.kind(stream)
            if kind is None:
                continue
            del self._pending[stream]
            feature, name = stream.startswith("f:"), stream.removeprefix("f:")
            if kind == "text" or not (feature or stream in _NUMBERS):
                continue
            if name == "f0" and names and "f0" not in names:
                name = ""  # by name it is one of an unnamed list, and may be called otherwise
            detector = model.detectors.detector(stream) if model.detectors is not None else None
            check = model.check(stream, None)
            self._slot_of[stream] = self.slots.enter(stream, name, window, detector, check)
            self.detectors.append(detector)
            self.checks.append(check)
        if not self.slots.vectors and _OF_VECTORS.issubset(self._slot_of):
            self.slots.vectors = True

    def _enter_positions(self, model: Model, length: int) -> None:
        """What `Model.named` makes of an unnamed list."""
        named = model.named(dict.fromkeys(f"f{i}" for i in range(length)))
        slots = [self._slot_of.get(f"f:{name}", -1) for name in named]
        if min(slots) >= 0:
            self.slots.set_positions(slots)
