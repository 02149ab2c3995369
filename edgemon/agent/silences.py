"""When a model is silent: all its versions beside each other, for a new one takes the predictions of the old."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from edgemon.agent.models import Model
from edgemon.quality.kinds import QualityNews

Models = Mapping[tuple[str, str], Model]


def due_s(models: Models) -> float:
    """When the next model is to be asked, monotonic seconds; infinite for never."""
    silences = (model.quality.silence for model in models.values() if model.quality is not None)
    return min((one.due_s for one in silences if one is not None), default=math.inf)


def check(models: Models, now_s: float, *, listening: bool) -> Iterator[tuple[Model, QualityNews]]:
    """Ask those that are due. listening: whether the agent reads from applications; a model is silent only then."""
    for model in models.values():
        silence = model.quality.silence if model.quality is not None else None
        if silence is None or now_s < silence.due_s:
            continue
        newest = max(other.last_seen_s for other in models.values() if other.model == model.model)
        if not listening:
            silence.away(now_s)
        elif newest > model.last_seen_s:
            silence.away(newest)
        elif (news := silence.check(now_s)) is not None:
            yield model, news
