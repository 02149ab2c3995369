"""What the windows of a classifier hold beyond its streams: which class follows which, and how sure it is."""

from __future__ import annotations

from edgemon.drift.confidence import Confidence, ConfidenceCounts
from edgemon.drift.counts import TransitionCounts
from edgemon.records import Row
from edgemon.std import json
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.drift.profile import Profile


class ClassWindow:
    """Mergeable counts of one window, for the rows of the streams `class` (or a text `output`) and `confidence`.

    The classes told apart are the profile's, else the positions of the first vector; a text output without a
    profile has no transitions, since its classes are not known from the beginning.
    """

    __slots__ = ("_stream", "confidence", "transitions")

    def __init__(self, profile: Profile | None) -> None:
        self._stream = "class"
        self.confidence = ConfidenceCounts()
        self.transitions: TransitionCounts | None = None
        for stream in ("class", "output"):
            feature = profile.feature(stream) if profile is not None else None
            if feature is not None and feature.kind == "text":
                self._stream = stream
                self.transitions = TransitionCounts(feature.categories)
                break

    def vector(self, brief: Confidence, width: int) -> None:
        """Count a vector of `width` confidences."""
        if self.transitions is None:
            self.transitions = TransitionCounts(str(position) for position in range(width))
        self.confidence.push(brief)
        self.transitions.push(str(brief.position))

    def text(self, name: str) -> None:
        """Count an output that is a class name."""
        if self.transitions is not None:
            self.transitions.push(name)

    def columns(self, stream: str) -> Row:
        """What the window's row of this stream gets beside its own columns."""
        if stream == "confidence" and self.confidence.total:
            row: Row = {"confidence_hist": list(self.confidence.counts)}
            if self.confidence.invalid:
                row["invalid"] = self.confidence.invalid
            return row
        if stream == self._stream and self.transitions is not None and self.transitions.total:
            names = [*self.transitions.names, None]
            table = {"classes": names, "counts": self.transitions.matrix()}
            return {"transitions": json.dumps(table, ensure_ascii=False)}
        return {}

    def reset(self) -> None:
        """The next window; a transition across the border counts in it."""
        self.confidence.reset()
        if self.transitions is not None:
            self.transitions.reset()
