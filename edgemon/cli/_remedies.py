"""What can be done about what was dropped or refused, by the reason of its counter."""

from __future__ import annotations

from collections.abc import Iterable

from edgemon.cli._terminal import wrapped

# Only reasons of which that is not plain from the name.
REMEDIES = {
    "too_many_features": "ingest.max_features allows more",
    "too_many_streams": "ingest.max_streams allows more; each costs a few kilobytes",
    "too_many_models": "ingest.max_models allows more, versions counted apart",
    "too_many_versions": "max_versions of the model allows more at one time",
    "too_many_clients": "ingest.max_clients allows more",
    "string_size": "ingest.max_string_bytes allows more",
    "frame_size": "ingest.max_frame_bytes allows more",
    "row_too_large": "batch.max_bytes allows more",
    "ts_future": "`ts` is seconds since 1970, not milliseconds, and at most ingest.max_future ahead",
    "wrong_type": "a stream is of numbers or of texts, as its first value or its profile was",
    "too_many_tables": 'truth.join = "always" of a model takes its truths in any case',
    "no_prediction": "truths whose id no prediction had within truth.ttl, or before the model's first truth "
    '(truth.join = "always")',
    "unlike": "truths that do not fit: a class that the vector does not have, text for a number",
}


def lines(counters: Iterable[str]) -> list[str]:
    """A line for each reason that one of the counters has. counters: their names, with labels."""
    names = list(counters)
    return [
        wrapped(f"  {reason}: {remedy}", "    ")
        for reason, remedy in REMEDIES.items()
        if any(f'reason="{reason}"' in name for name in names)
    ]
