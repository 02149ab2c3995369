"""A batch of a model's outputs -> what `Client.log_many` takes, and the features that say more of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

Kind = Literal["values", "probabilities", "logits", "labels"]
KINDS: tuple[str, ...] = get_args(Kind)
MAX_CLASSES = 1024  # numbers of an output, docs/protocol.md


def as_array(batch: Any) -> Any:
    """An array whose first axis is the batch. A list of maps class -> probability (ZipMap) becomes a table."""
    if isinstance(batch, Sequence) and batch and isinstance(batch[0], Mapping):
        names = list(batch[0])
        return np.array([[row[name] for name in names] for row in batch])
    array = np.asarray(batch)
    # What numpy has no arithmetic for: bfloat16 of ml_dtypes (kind V); and half loses the sum of a softmax.
    if array.dtype.kind == "V" or array.dtype == np.float16:
        array = array.astype(np.float32)
    return array


def outputs_of(
    array: Any, kind: str, classes: Sequence[Any] | None, max_classes: int
) -> tuple[Any, dict[str, Any]]:
    """Outputs of n rows, and columns of n to log beside the features.

    array: (n,), (n, 1) or (n, m).  kind: "values" as they are; "probabilities" as they are, of m classes, or of one
    class against the other; "logits" through the softmax over m, or the logistic function for one; "labels" as text.
    classes: their names; then the column "output.class" has the likeliest one's.
    Of more classes than max_classes the output is the likeliest one's name (its index without names), and the columns
    "output.confidence" and "output.entropy" (nats) stand for the vector.
    ValueError for another shape, and for "values" wider than max_classes.
    """
    if array.ndim == 0 or array.ndim > 2:
        raise ValueError(
            f"outputs of shape {array.shape}: one number, class or vector a row is needed; give select="
        )
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if kind == "labels":
        if array.ndim != 1:
            raise ValueError(f"labels of shape {array.shape}: one a row is needed")
        return [str(label) for label in array.tolist()], {}
    if array.dtype.kind not in "fiub":
        raise ValueError(f'outputs of type {array.dtype}: numbers are needed, or outputs="labels"')
    if kind == "values":
        if array.ndim == 2 and array.shape[1] > max_classes:
            raise ValueError(
                f"an output of {array.shape[1]} numbers, and max_classes is {max_classes}"
            )
        return array, {}
    if kind == "logits":
        array = _softmax(array) if array.ndim == 2 else _logistic(array)
    return _confidences(array, classes, max_classes)


def _confidences(
    array: Any, classes: Sequence[Any] | None, max_classes: int
) -> tuple[Any, dict[str, Any]]:
    likeliest = (array >= 0.5).astype(int) if array.ndim == 1 else array.argmax(axis=1)
    count = 2 if array.ndim == 1 else array.shape[1]
    if classes is not None and len(classes) != count:
        raise ValueError(f"{len(classes)} classes are named, and the output has {count}")
    if array.ndim == 2 and count > max_classes:
        names = [str(classes[at]) if classes is not None else str(at) for at in likeliest.tolist()]
        positive = np.where(array > 0, array, 1.0)
        return names, {
            "output.confidence": array.max(axis=1),
            "output.entropy": -(array * np.log(positive)).sum(axis=1),
        }
    if classes is None:
        return array, {}
    return array, {"output.class": [str(classes[at]) for at in likeliest.tolist()]}


def _softmax(logits: Any) -> Any:
    """Over the last axis, in doubles, given back in the type of the logits."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    return shares.astype(logits.dtype) if logits.dtype.kind == "f" else shares


def _logistic(logits: Any) -> Any:
    shares = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return shares.astype(logits.dtype) if logits.dtype.kind == "f" else shares
