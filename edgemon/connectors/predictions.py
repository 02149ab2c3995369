"""What is logged of a model's predictions, whatever the framework."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgemon.connectors.columns import Columns
from edgemon.connectors.outputs import KINDS, MAX_CLASSES, Kind, as_array, outputs_of
from edgemon.connectors.shared import ClientLike, Log

MAX_FEATURES = 250  # ingest.max_features is 256 by default, and an output may add three


class PredictionLog(Log):
    """Takes a model's batches apart into predictions and hands them to a client.

    client: an `edgemon.Client`, the path of an ingest socket, or None for the default one.
    model, version: their names.
    outputs: "values" as they are, "probabilities", "logits" (logged as probabilities: softmax, or the logistic function
    for one column), "labels" (classes, logged as text).
    classes: the classes' names; then the likeliest one's is the feature "output.class".
    max_classes: 1 to 1,024; a wider vector of confidences is logged as class, confidence and entropy.
    select: what of the model's outputs is logged, a function of them; without it the first.
    columns: names of the input's columns, or which ones of a table are taken.  max_features: 0 to 250; wider and
    larger inputs, images, become mean, std, min, max and share missing of each channel.  channel_axis: where channels
    are; None: as the framework has them.  batched: False where inputs and outputs have no axis for the batch.
    sample: share of the predictions that are logged, each by its own chance.  max_rows: 1 and more; of a larger batch
    so many rows are taken, evenly spaced.
    ValueError for what is out of range, TypeError for a client that is none. Logging raises nothing and never waits.

    >>> PredictionLog("/nowhere/ingest.sock", "digits", outputs="logits", sample=0.1)
    PredictionLog(model='digits', outputs='logits')
    """

    def __init__(
        self,
        client: ClientLike,
        model: str,
        *,
        version: str | int | None = None,
        outputs: Kind = "values",
        classes: Sequence[Any] | None = None,
        max_classes: int = 100,
        select: Callable[[Any], Any] | None = None,
        columns: Sequence[str] | None = None,
        max_features: int = 64,
        channel_axis: int | None = None,
        batched: bool = True,
        sample: float = 1.0,
        max_rows: int = 1024,
    ) -> None:
        if outputs not in KINDS:
            raise ValueError(f"outputs is one of {', '.join(KINDS)}, not {outputs!r}")
        if not 1 <= max_classes <= MAX_CLASSES:
            raise ValueError(f"max_classes is 1 to {MAX_CLASSES}, not {max_classes}")
        if not 0 <= max_features <= MAX_FEATURES:
            raise ValueError(f"max_features is 0 to {MAX_FEATURES}, not {max_features}")
        if not 0.0 <= sample <= 1.0:
            raise ValueError(f"sample is 0 to 1, not {sample}")
        if max_rows < 1:
            raise ValueError(f"max_rows is at least 1, not {max_rows}")
        super().__init__(client)
        self.model = model
        self.version = version
        self.outputs = outputs
        self.classes = list(classes) if classes is not None else None
        self.max_classes = max_classes
        self.select = select
        self.columns = list(columns) if columns is not None else None
        self.max_features = max_features
        self.channel_axis = channel_axis
        self.batched = batched
        self.sample = sample
        self.max_rows = max_rows
        self._random = random.Random()

    def record(
        self,
        inputs: Any,
        outputs: Any,
        seconds: float | None,
        *,
        kind: str | None = None,
        classes: Sequence[Any] | None = None,
        columns: Sequence[str] | None = None,
        channel_axis: int = 1,
    ) -> None:
        """Log a batch. Never raises, and keeps nothing of what it is given.

        inputs: an array, a table, or a map name -> array; None for none.  outputs: what `chosen` returned.
        seconds: that the whole batch took.
        kind, classes, columns, channel_axis: what the framework knows. kind goes before the log's own.
        """
        with self.guarded(), np.errstate(all="ignore"):
            self.count(calls=1)
            array = as_array(outputs)
            if not self.batched:
                array, inputs = array[None], _with_batch_axis(inputs)
            n = len(array)
            rows = self.rows_of(n)
            if rows is not None:
                array = array[rows]
            if len(array) == 0:
                return
            named = classes if self.classes is None else self.classes
            values, beside = outputs_of(array, kind or self.outputs, named, self.max_classes)
            features: dict[str, Any] = {"features": beside or None}
            if inputs is not None and self.max_features:
                found = Columns(n, self.max_features)
                found.add(
                    inputs,
                    slice(None) if rows is None else rows,
                    columns=columns if self.columns is None else self.columns,
                    channel_axis=channel_axis if self.channel_axis is None else self.channel_axis,
                )
                features = found.arguments(beside)
                self.skip("features", found.left_out)
            latency = None if seconds is None else seconds / n
            taken = self.client.log_many(
                self.model, values, version=self.version, latency=latency, **features
            )
            self.count(logged=taken)
            self.skip("refused", len(array) - taken)

    def chosen(self, outputs: Any) -> Any:
        """Of a model's outputs, what is logged."""
        if self.select is not None:
            return self.select(outputs)
        while isinstance(outputs, (Mapping, list, tuple)):
            parts = outputs.values() if isinstance(outputs, Mapping) else outputs
            # A loss that stands before the logits has no axis.
            several = next(
                (part for part in parts if getattr(part, "ndim", 0) or _holds(part)), None
            )
            if several is None:
                break
            outputs = several
        return outputs

    def rows_of(self, n: int) -> Any:
        """Which of n rows are logged: None for all, else their indices. What is left out is counted."""
        rows: Any = range(n)
        if self.sample < 1.0:
            rows = list(self._sampled(n))
            self.skip("sample", n - len(rows))
        if len(rows) > self.max_rows:
            self.skip("max_rows", len(rows) - self.max_rows)
            rows = [rows[index * len(rows) // self.max_rows] for index in range(self.max_rows)]
        return None if len(rows) == n else list(rows)

    def _sampled(self, n: int) -> Iterator[int]:
        """Of n rows each by its own chance. The distance to the next is geometric: what is left out costs nothing."""
        at = -1
        while self.sample > 0.0:
            gap = math.log(1.0 - self._random.random()) / math.log1p(-self.sample)
            at += 1 + int(min(gap, n))
            if at >= n:
                break
            yield at

    def __repr__(self) -> str:
        return f"PredictionLog(model={self.model!r}, outputs={self.outputs!r})"


def _holds(part: Any) -> bool:
    """Whether an output is itself several; rows of a list, or of a ZipMap, are not."""
    return isinstance(part, tuple)


def _with_batch_axis(inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return {name: _with_batch_axis(one) for name, one in inputs.items()}
    return inputs if inputs is None else as_array(inputs)[None]
