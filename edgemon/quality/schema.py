"""The shape of a model's input: which streams there are, and whether each is numbers or text.

It is learnt from the first predictions (or given by the profile) and then watched: a feature that appears, vanishes
or changes its type is told once, and counted each time.
"""

from __future__ import annotations

from edgemon.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Literal

    StreamKind = Literal["numeric", "text"]
else:
    StreamKind = str

# A feature that first shows up after this many predictions is news; before, the schema is still being learnt.
SETTLED_AFTER = 100


class SchemaChange(NamedTuple):
    """what: "added" | "type" | "missing"."""

    what: str
    stream: str
    message: str


class Schema:
    """The streams of one (model, version). Bounded by the caller, who creates the streams.

    kinds: known in advance, from the profile; then everything else is news from the first prediction on.
    """

    __slots__ = ("_kinds", "_learning", "_told", "features")

    def __init__(self, kinds: dict[str, StreamKind] | None = None) -> None:
        self._kinds: dict[str, StreamKind] = dict(kinds or {})
        self._learning = 0 if kinds else SETTLED_AFTER
        self._told: set[tuple[str, str]] = set()
        self.features = {stream for stream in self._kinds if stream.startswith("f:")}

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

    def learn(self, stream: str, kind: StreamKind) -> SchemaChange | None:
        """A stream's first value arrived."""
        self._kinds[stream] = kind
        if stream.startswith("f:"):
            self.features.add(stream)
        if self._learning:
            return None
        return self._once(
            "added", stream, f"{stream} appeared ({kind}); it was not in the input before"
        )

    def wrong_type(self, stream: str, got: StreamKind) -> SchemaChange | None:
        """A value of the other kind arrived."""
        return self._once("type", stream, f"{stream} was {self._kinds[stream]} and now sends {got}")

    def missing(self, stream: str) -> SchemaChange | None:
        """A known feature was absent from an event."""
        if self._learning:
            return None
        return self._once(
            "missing", stream, f"{stream} is missing from an event for the first time"
        )

    def _once(self, what: str, stream: str, message: str) -> SchemaChange | None:
        if (what, stream) in self._told:
            return None
        self._told.add((what, stream))
        return SchemaChange(what, stream, message)
