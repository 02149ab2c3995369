"""Predictions and their truths from JSON lines into a profile builder."""

from __future__ import annotations

import math

from edgemon.drift.build import KindError, ProfileBuilder
from edgemon.drift.confidence import summarize
from edgemon.drift.sources import LABEL, Roles, SourceError, put
from edgemon.metrics import Counters
from edgemon.performance.join import JoinTable, Pair
from edgemon.std import json, random
from edgemon.std.collections.abc import Iterable, Iterator
from edgemon.typed import Any

# Predictions of a file of JSON lines that wait for their label, and labels that wait for theirs.
_JOIN_KEEP, _JOIN_BYTES = 100_000, 64 << 20
_JOIN_SEED = random.Random().getrandbits(64)


def read_json_lines(
    lines: Iterable[str], builder: ProfileBuilder, roles: Roles, source: str, model: str = ""
) -> Iterator[int]:
    """JSON lines as the agent's socket takes them. Yields the rows read, now and then.

    Lines of other models than `model` are left out; without it all must be of one model. So are
    metrics. roles name features (without "f:") and their kinds. The truth of a prediction is its "label", in the same
    line or in a label's own, which is joined by id.
    """
    seen_model = model
    truths = JoinTable(_JOIN_KEEP, _JOIN_BYTES, math.inf, Counters(), _JOIN_SEED)
    line_number = 0
    try:
        for line_number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except ValueError as error:
                raise SourceError(f"{source}:{line_number}: not JSON: {error}") from error
            if not isinstance(event, dict):
                raise SourceError(
                    f"{source}:{line_number}: an object with model and output is needed"
                )
            name = event.get("model", "")
            if model and name != model:
                continue
            if "output" not in event and "features" not in event:
                if LABEL in event and "id" in event:
                    known = truths.labelled(str(event["id"]), "", _label(event[LABEL]), 0.0)
                    _judge_pair(builder, known)
                continue
            if line_number > 1 and seen_model and name != seen_model:
                raise SourceError(
                    f"{source}:{line_number}: predictions of {name!r}, before of {seen_model!r}; "
                    "say which with --model"
                )
            seen_model = seen_model or name
            _prediction(event, builder, roles)
            if event.get("output") is not None:
                _judge_event(event, builder, truths)
            builder.row_done()
            if builder.rows % 1000 == 0:
                yield builder.rows
    except KindError as error:
        raise SourceError(
            f"{source}:{line_number}: {error}; name it with --text, or --ignore it"
        ) from error
    except (TypeError, ValueError, OverflowError) as error:
        raise SourceError(f"{source}:{line_number}: {error}") from error
    if not builder.rows:
        of = f" of model {model!r}" if model else ""
        raise SourceError(f"{source}: there is no prediction{of} in it")
    yield builder.rows


def _label(value: object) -> float | str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    raise TypeError(f"a label is a number or text, not a {type(value).__name__}")


def _judge_event(event: dict[str, Any], builder: ProfileBuilder, truths: JoinTable) -> None:
    output = event["output"]
    if not isinstance(output, str):
        output = [float(x) for x in output] if isinstance(output, list) else float(output)
    if event.get(LABEL) is not None:
        _judge_pair(builder, Pair("", output, _label(event[LABEL])))
    elif event.get("id") is not None:
        _judge_pair(builder, truths.predicted(str(event["id"]), "", output, 0.0))


def _judge_pair(builder: ProfileBuilder, pair: Pair | None) -> None:
    if pair is not None and pair.output != []:
        builder.labelled.pair(pair.output, pair.label)


def _prediction(event: dict[str, Any], builder: ProfileBuilder, roles: Roles) -> None:
    output = event.get("output")
    if isinstance(output, list) and output:
        brief = summarize([float(entry) for entry in output])
        builder.number("confidence", brief.confidence)
        builder.number("entropy", brief.entropy)
        builder.text("class", str(brief.position))
    else:
        put(builder, "output", output, as_text="output" in roles.text)
    put(builder, "latency", event.get("latency"))
    features = event.get("features") or {}
    if isinstance(features, list):
        features = {f"f{i}": value for i, value in enumerate(features)}
    if not isinstance(features, dict):
        raise TypeError("features must be an object or a list")
    for name, value in features.items():
        if name not in roles.ignore and (not roles.features or name in roles.features):
            put(builder, f"f:{name}", value, as_text=name in roles.text)
