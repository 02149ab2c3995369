"""References from values that the application has at hand: one profile a model, made stream by stream."""

from __future__ import annotations

from collections.abc import Iterable

from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import FeatureProfile, Profile
from edgemon.errors import UsageError
from edgemon.monitor.values import features_of

# Streams that are not features, in the order that profiles have them in.
OWN_STREAMS = ("output", "confidence", "entropy", "class", "latency")


class References:
    """What `set` was given so far, by model."""

    def __init__(self) -> None:
        self._streams: dict[str, dict[str, FeatureProfile]] = {}

    def with_stream(self, model: str, name: str, values: Iterable[object]) -> Profile:
        """The model's profile, with this stream in it. `keep` makes that last.

        name: one of OWN_STREAMS, else a feature's ("f:output" is the feature of that name).
        values: numbers or texts, None for missing; an array of one axis. UsageError for anything else.
        """
        stream = name if name in OWN_STREAMS or name.startswith("f:") else f"f:{name}"
        streams = self._streams.get(model, {}) | {stream: _feature(stream, name, values)}
        ordered = sorted(
            streams, key=lambda s: OWN_STREAMS.index(s) if s in OWN_STREAMS else len(OWN_STREAMS)
        )
        rows = max(feature.n + feature.missing for feature in streams.values())
        return Profile(model, tuple(streams[stream] for stream in ordered), rows)

    def keep(self, model: str, profile: Profile) -> None:
        """The profile was taken: the model's next stream joins these."""
        self._streams[model] = {feature.name: feature for feature in profile.features}


def _feature(stream: str, name: str, values: Iterable[object]) -> FeatureProfile:
    try:
        column = features_of(values)
    except TypeError:
        column = None
    if not isinstance(column, list):
        raise UsageError(f"the reference of {name!r} is a sequence or array of numbers or texts")
    builder = ProfileBuilder("")
    builder.declare(stream)
    for value in column:
        if isinstance(value, str):
            builder.text(stream, value)
        elif isinstance(value, (int, float)):
            builder.number(stream, float(value))
        elif value is not None:
            raise UsageError(f"the reference of {name!r} holds a {type(value).__name__}")
        builder.row_done()
    profile = builder.finish()
    if not profile.features:
        raise UsageError(f"the reference of {name!r} holds no value")
    return profile.features[0]
