"""The shape of a model's input: which streams there are, and whether each is numbers or text.

It is learnt from the first predictions (or given by the profile) and then watched: a feature that appears is told once.
One that vanishes or changes its type is a question of how often (stream.py, rows.py).
"""

from __future__ import annotations

from edgemon.quality.kinds import QualityNews
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Literal

    StreamKind = Literal["numeric", "text"]
else:
    StreamKind = str

# A feature that first shows up after this many predictions is news; before, the schema is still being learnt.
SETTLED_AFTER = 100


class Schema:
    """The streams of one (model, version). Bounded by the caller, who creates the streams.

    kinds: known in advance, from the profile; then everything else is news from the first prediction on.
    """

    __slots__ = ("_given", "_kinds", "_learning", "features")

    def __init__(self, kinds: dict[str, StreamKind] | None = None) -> None:
        self._kinds: dict[str, StreamKind] = dict(kinds or {})
        self._learning = 0 if kinds else SETTLED_AFTER
        self.features = {stream for stream in self._kinds if stream.startswith("f:")}
        self._given = len(self.features) if kinds else None  # features of the profile

    def kind(self, stream: str) -> StreamKind | None:
        """What the stream is known to hold, None before its first value."""
        return self._kinds.get(stream)

    @property
    def learning(self) -> bool:
        """Whether a feature that appears is no news yet."""
        return self._learning > 0

    def prediction_seen(self) -> None:
        """Count one prediction towards the settling of the schema."""
        if self._learning > 0:
            self._learning -= 1

    def learn(self, stream: str, kind: StreamKind) -> QualityNews | None:
        """A stream's first value arrived."""
        self._kinds[stream] = kind
        if stream.startswith("f:"):
            self.features.add(stream)
        if self._learning or not stream.startswith("f:"):
            return None
        if self._given is None:
            message = f"{stream} appeared ({kind}); it was not in the input before"
        else:
            message = f"{stream} ({kind}) is not in the profile"
            if (
                stream[2:3] == "f" and stream[3:].isdigit()
            ):  # as those of a list without names are called
                message += f"; a list without names gets its names if it has {self._given} values"
        data: dict[str, object] = {"kind": "features_changed", "added": stream}
        return QualityNews("features_changed", stream, message, data)
