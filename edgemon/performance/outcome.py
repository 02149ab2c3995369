"""One prediction against its truth: right or wrong, how sure, or how far off."""

from __future__ import annotations

from edgemon.drift.confidence import summarize
from edgemon.drift.labelled import CLASSIFICATION, REGRESSION
from edgemon.typed import NamedTuple, TypeAlias

TASKS = ("auto", CLASSIFICATION, REGRESSION)
# A longer name of a class is counted by its beginning.
MAX_NAME = 64


class Classified(NamedTuple):
    """true, predicted: names of classes.  confidence: of the predicted class, 0 to 1, None where it is not known.
    brier: the prediction's part of the Brier score, None where there are no probabilities."""

    true: str
    predicted: str
    confidence: float | None
    brier: float | None

    @property
    def correct(self) -> bool:
        return self.true == self.predicted


class Measured(NamedTuple):
    """error: prediction less truth, finite."""

    error: float


Outcome: TypeAlias = Classified | Measured


def task_of(output: float | str | list[float], label: float | str) -> str:
    """What a model does, as far as one pair shows it.

    Classes are texts, the positions of a vector of confidences, or 0 and 1 for a score from 0 to 1. All other numbers
    are quantities. A quantity from 0 to 1 whose truth happens to be 0 or 1 looks like a score.

    >>> task_of(0.93, 1.0), task_of(21.5, 20.0), task_of("cat", "dog"), task_of([0.1, 0.9], 1.0)
    ('classification', 'regression', 'classification', 'classification')
    """
    if isinstance(output, (list, str)) or isinstance(label, str) or _is_score(output, label):
        return CLASSIFICATION
    return REGRESSION


def judge(
    output: float | str | list[float], label: float | str, task: str, threshold: float = 0.5
) -> Outcome | None:
    """The outcome; None where output and label do not fit each other or the task, or are not finite.

    Classification: a vector is judged by its largest entry (the first of equals) against the label as a position; a
    number from 0 to 1 with a label 0 or 1 as the probability of class "1", which is predicted from `threshold` on; all
    else by name. Brier's score is sum_k (p_k - y_k)^2 over the classes of a vector of three or more, and (p - y)^2,
    half of that, for two, as is usual (Brier, Monthly Weather Review 78, 1950).

    >>> judge(0.75, 1.0, "classification")
    Classified(true='1', predicted='1', confidence=0.75, brier=0.0625)
    >>> judge([0.5, 0.25, 0.25], 2.0, "classification")
    Classified(true='2', predicted='0', confidence=0.5, brier=0.875)
    >>> judge(3.0, 5.0, "regression")
    Measured(error=-2.0)
    """
    if task == REGRESSION:
        if isinstance(output, (list, str)) or isinstance(label, str):
            return None
        error = output - label
        return Measured(error) if error - error == 0.0 else None
    if isinstance(output, list):
        return _of_vector(output, label)
    if _is_score(output, label):
        assert isinstance(output, float | int) and isinstance(label, float | int)
        yes = output >= threshold
        confidence = output if yes else 1.0 - output
        return Classified(name_of(label), "1" if yes else "0", confidence, (output - label) ** 2)
    if output != output or label != label:
        return None
    return Classified(name_of(label), name_of(output), None, None)


def name_of(value: float | str) -> str:
    """A class's name, the same for 3, 3.0 and "3"."""
    if isinstance(value, str):
        return value if len(value) <= MAX_NAME else value[: MAX_NAME - 1] + "…"
    return str(int(value)) if abs(value) < 1e16 and value == value // 1 else repr(value)


def _is_score(output: object, label: object) -> bool:
    return (
        isinstance(output, (int, float))
        and isinstance(label, (int, float))
        and 0.0 <= output <= 1.0
        and label in (0.0, 1.0)
    )


def _of_vector(vector: list[float], label: float | str) -> Classified | None:
    try:
        position = int(label)
    except (ValueError, OverflowError):  # a text that is no number, NaN, an infinity
        return None
    if not 0 <= position < len(vector) or (not isinstance(label, str) and position != label):
        return None
    brief = summarize(vector)
    confidence = brier = None
    if brief.valid:
        confidence = min(1.0, brief.confidence)
        # Of many classes nearly all terms are p_k squared.
        brier = sum(p * p for p in vector) - 2.0 * vector[position] + 1.0
        if len(vector) <= 2:
            brier *= 0.5
    elif brief.confidence != brief.confidence:
        return None
    return Classified(str(position), str(brief.position), confidence, brier)
