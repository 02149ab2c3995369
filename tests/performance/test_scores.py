"""Outcomes and scores against scikit-learn, and merged windows against one large window."""

from __future__ import annotations

import doctest
import importlib
import json
import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    mean_absolute_error,
    precision_recall_fscore_support,
    root_mean_squared_error,
)

from edgemon.drift.confidence import BINS
from edgemon.performance.outcome import Classified, Measured, judge, name_of, task_of
from edgemon.performance.scores import MAX_CLASSES, OTHER, Scores, figures, merge

ROOMS = ("calibration", "join", "outcome", "scores", "watch")


@pytest.mark.parametrize("module", ROOMS)
def test_examples_in_docstrings_are_true(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"edgemon.performance.{module}"))
    assert result.attempted and not result.failed


def vectors(n: int, classes: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Confidences that are somewhat right, and truths."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), truth] += 1.5
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return scores, truth


def windows_of(outcomes: list[Classified | Measured], cuts: int) -> dict[str, Any]:
    """The outcomes in `cuts` windows of one model, merged."""
    scores, merged = Scores(), dict[str, Any]()
    for part in np.array_split(np.arange(len(outcomes)), cuts):
        for index in part:
            scores.push(outcomes[index])
        merge(merged, json.loads(json.dumps(scores.row())))
        scores.reset()
    return merged


def judged(output: Any, label: Any, task: str = "classification", threshold: float = 0.5) -> Any:
    outcome = judge(output, label, task, threshold)
    assert outcome is not None
    return outcome


def expected_calibration_error(confidence: Any, right: Any) -> float:
    """The definition, over equal bins of which the last is closed."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return sum(
        float(np.sum(place == b) / len(right) * abs(right[place == b].mean() - confidence[place == b].mean()))
        for b in np.unique(place)
    )  # fmt: skip


@pytest.mark.parametrize("cuts", [1, 7])
def test_vectors_agree_with_scikit_learn(cuts: int) -> None:
    scores, truth = vectors(2_000, 5, 1)
    predicted = scores.argmax(axis=1)
    found = figures(
        windows_of([judged(list(s), float(t)) for s, t in zip(scores, truth, strict=True)], cuts)
    )
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, predicted), abs=1e-12)
    assert found["brier"] == pytest.approx(brier_score_loss(truth, scores, labels=range(5)))
    precision, recall, _, support = precision_recall_fscore_support(truth, predicted)
    for k in range(5):
        of = found["classes"][str(k)]
        assert (of["precision"], of["recall"]) == pytest.approx((precision[k], recall[k]))
        assert of["n"] == support[k]
    ece = expected_calibration_error(scores.max(axis=1), predicted == truth)
    assert found["ece"] == pytest.approx(ece, abs=1e-12)


@pytest.mark.parametrize("as_vector", [False, True])
def test_scores_of_two_classes_agree_with_scikit_learn(as_vector: bool) -> None:
    scores, truth = vectors(2_000, 2, 2)
    positive = scores[:, 1]
    outputs = [list(s) if as_vector else float(p) for s, p in zip(scores, positive, strict=True)]
    outcomes = [judged(output, float(t)) for output, t in zip(outputs, truth, strict=True)]
    found = figures(windows_of(outcomes, 3))
    assert found["brier"] == pytest.approx(brier_score_loss(truth, positive))
    predicted = (positive >= 0.5).astype(int)
    precision, recall, _, _ = precision_recall_fscore_support(truth, predicted)
    assert found["classes"]["1"]["precision"] == pytest.approx(precision[1])
    assert found["classes"]["0"]["recall"] == pytest.approx(recall[0])
    sure = np.maximum(positive, 1 - positive)
    assert found["ece"] == pytest.approx(expected_calibration_error(sure, predicted == truth))


def test_errors_of_quantities_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    truth, predicted = rng.normal(20, 5, 1_000), rng.normal(21, 5, 1_000)
    pairs = zip(predicted, truth, strict=True)
    found = figures(windows_of([judged(float(p), float(t), "regression") for p, t in pairs], 4))
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, predicted))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(truth, predicted))
    assert found["bias"] == pytest.approx((predicted - truth).mean())


def test_the_threshold_moves_the_class_and_how_sure_it_is() -> None:
    assert judged(0.3, 1.0, threshold=0.2)[:3] == ("1", "1", 0.3)
    assert judged(0.3, 1.0, threshold=0.5)[:3] == ("1", "0", 0.7)


@pytest.mark.parametrize(
    ("output", "label", "task"),
    [
        ([0.5, 0.5], 2.0, "classification"),
        ([0.5, 0.5], -1.0, "classification"),
        ([0.5, 0.5], 0.5, "classification"),
        ([0.5, 0.5], "cat", "classification"),
        ([0.5, 0.5], math.nan, "classification"),
        ([math.nan, 0.5], 1.0, "classification"),
        (math.nan, 1.0, "classification"),
        (1.0, math.nan, "classification"),
        (math.inf, 1.0, "regression"),
        (1.0, math.nan, "regression"),
        ("cat", 1.0, "regression"),
        ([1.0], 1.0, "regression"),
    ],
)
def test_what_does_not_fit_is_no_outcome(output: Any, label: Any, task: str) -> None:
    assert judge(output, label, task) is None


def test_classes_have_one_name_whatever_they_came_as() -> None:
    assert judged("3", 3.0).correct and judged(3.0, "3").correct and judged([0.1, 0.9], "1").correct
    assert judged("cat", "dog") == Classified("dog", "cat", None, None)
    assert name_of(2.5) == "2.5"
    assert name_of(-1e300) == "-1e+300"  # and no name of three hundred digits
    assert task_of(3.0, 3.0) == "regression" and task_of(1.0, 0.0) == "classification"


def test_vectors_that_are_no_distribution_have_a_class_and_no_probability() -> None:
    assert judged([3.0, 1.0], 0.0) == Classified("0", "0", None, None)


def test_classes_beyond_the_bound_are_one_and_right_or_wrong_all_the_same() -> None:
    scores = Scores()
    for k in range(MAX_CLASSES + 10):
        scores.push(judged(str(k), str(k)))
    scores.push(judged(str(MAX_CLASSES), str(MAX_CLASSES + 1)))
    row = scores.row()
    assert len(json.loads(str(row["confusion"]))["classes"]) == MAX_CLASSES + 1
    found = figures(merge({}, row))
    assert (found["n"], row["correct"]) == (MAX_CLASSES + 11, MAX_CLASSES + 10)
    assert len(found["classes"]) == MAX_CLASSES and OTHER not in found["classes"]


def test_a_class_that_was_never_predicted_has_no_precision() -> None:
    scores = Scores()
    scores.push(judged("a", "b"))
    classes = figures(merge({}, scores.row()))["classes"]
    assert classes == {
        "a": {"n": 0, "precision": 0.0, "recall": None},
        "b": {"n": 1, "precision": None, "recall": 0.0},
    }


def test_an_empty_window_has_no_row_and_no_figures() -> None:
    assert Scores().row() == {} and figures({}) == {}
