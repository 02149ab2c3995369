"""A profile in the making, on the device, from the predictions that come in."""

from __future__ import annotations

from edgemon.drift.build import KindError, ProfileBuilder
from edgemon.drift.profile import Profile
from edgemon.std.collections.abc import Generator
from edgemon.std.contextlib import suppress

# Over all streams; a model with more of them is given up to fewer predictions.
MAX_VALUES = 1_000_000


class Baseline:
    """Takes the next `want` predictions of a model's version, then makes their profile, a stream at each
    prediction that follows, so that the agent is never away for long.

    adopts: it takes the place of a profile, on command.  Memory: 16 bytes a value, at most 16 MB in all.
    """

    __slots__ = ("_builder", "_steps", "adopts", "want")

    def __init__(self, name: str, want: int, *, adopts: bool = False) -> None:
        self.want = want
        self.adopts = adopts
        self._builder = ProfileBuilder(name)
        self._steps: Generator[None, None, Profile] | None = None

    @property
    def have(self) -> int:
        """Predictions that are in."""
        return self._builder.rows

    def add(self, stream: str, value: float | str) -> None:
        """One value of the prediction that is under way."""
        if self._steps is not None:
            return
        with suppress(KindError):  # the schema has told of it already
            if isinstance(value, str):
                self._builder.text(stream, value)
            else:
                self._builder.number(stream, value)

    def prediction_done(self) -> Profile | None:
        """All values of a prediction are in; the profile, when it is finished."""
        builder = self._builder
        if self._steps is None:
            builder.row_done()
            if builder.rows >= self.want or builder.rows * builder.streams >= MAX_VALUES:
                self._steps = builder.steps()
            return None
        try:
            next(self._steps)
        except StopIteration as end:
            profile: Profile = end.value
            return profile
        return None
