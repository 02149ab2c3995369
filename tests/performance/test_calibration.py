"""Accuracy without labels: the map, the estimate under covariate shift, and who watches it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from edgemon.drift.build import ProfileBuilder
from edgemon.drift.labelled import LabelledProfile
from edgemon.drift.profile import Profile
from edgemon.performance.calibration import Calibration, EstimateWatch, monotone, valley
from edgemon.performance.watch import CLEARED, STARTED, Promised

Array = np.ndarray[Any, Any]
PROMISED = Promised(0.01 * 0.03, 1_000_000)


def population(n: int, seed: int, hard: float = 0.2) -> tuple[Array, Array]:
    """Scores of an overconfident model and truths. hard: share of cases near the boundary; another share is covariate
    shift: how often a score is right stays what it was."""
    rng = np.random.default_rng(seed)
    center = np.where(rng.random(n) < hard, 0.0, rng.choice([-3.0, 3.0], n))
    logit = center + rng.normal(size=n)
    truth = rng.random(n) < 1 / (1 + np.exp(-logit))
    return 1 / (1 + np.exp(-2 * logit)), truth


def profile_of(scores: Array, truth: Array, *, as_vector: bool = False) -> Profile:
    builder = ProfileBuilder("m", 1_000)
    for score, label in zip(scores.tolist(), truth.tolist(), strict=True):
        if as_vector:
            builder.number("confidence", max(score, 1 - score))
            builder.labelled.pair([1 - score, score], float(label))
        else:
            builder.number("output", score)
            builder.labelled.pair(score, float(label))
        builder.row_done()
    return builder.finish()


def labelled(profile: Profile) -> LabelledProfile:
    assert profile.labelled is not None
    return profile.labelled


def hist_of(profile: Profile, values: Array) -> list[int]:
    (feature,) = profile.features
    return [int(n) for n in np.bincount(np.searchsorted(feature.edges, values), minlength=20)]


@pytest.mark.parametrize("as_vector", [False, True])
@pytest.mark.parametrize("hard", [0.1, 0.2, 0.5, 0.8])
def test_the_estimate_follows_the_accuracy_where_inputs_get_harder(
    hard: float, as_vector: bool
) -> None:
    profile = profile_of(*population(10_000, 1), as_vector=as_vector)
    calibration = Calibration(labelled(profile))
    scores, truth = population(20_000, 2, hard)
    accuracy = ((scores >= 0.5) == truth).mean()
    values = np.maximum(scores, 1 - scores) if as_vector else scores
    found = calibration.estimate(hist_of(profile, values))
    assert found is not None and found.n == 20_000
    # The bins are wide where few of the reference lay: half a percent, and chance.
    assert abs(found.accuracy - accuracy) < 0.01 + 2 * found.se
    assert abs(np.maximum(scores, 1 - scores).mean() - accuracy) > 0.02  # what the raw scores say


def test_of_the_reference_itself_the_estimate_is_its_accuracy() -> None:
    scores, truth = population(5_000, 3)
    profile = profile_of(scores, truth)
    calibration = Calibration(labelled(profile))
    found = calibration.estimate(hist_of(profile, scores))
    assert found is not None
    assert found.accuracy == pytest.approx(((scores >= 0.5) == truth).mean(), abs=1e-12)
    assert calibration.accuracy == pytest.approx(found.accuracy)


@pytest.mark.parametrize("window", [1_000, 20_000])
def test_the_standard_error_is_what_the_estimate_is_off_by(window: int) -> None:
    """Reference, calibration and window drawn anew, without a shift: about 95 of 100 lie within two. Of a large window
    it is the calibration that is off."""
    within = 0
    for seed in range(60):
        profile = profile_of(*population(1_000, seed))
        scores, truth = population(window, seed + 1_000)
        found = Calibration(labelled(profile)).estimate(hist_of(profile, scores))
        assert found is not None
        within += abs(found.accuracy - ((scores >= 0.5) == truth).mean()) < 2 * found.se
    assert within >= 52


def test_the_map_is_the_isotonic_regression() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        rows = rng.integers(1, 50, 20)
        right = rng.binomial(
            rows, np.clip(np.linspace(0.3, 0.9, 20) + rng.normal(0, 0.1, 20), 0, 1)
        )
        blocks = monotone(right.tolist(), rows.tolist())
        ours = np.repeat([hits / n for hits, n, _ in blocks], [bins for _, _, bins in blocks])
        theirs = IsotonicRegression().fit_transform(range(20), right / rows, sample_weight=rows)
        assert np.allclose(ours, theirs)


def test_a_score_is_surest_at_both_ends_and_empty_bins_have_their_neighbours_share() -> None:
    rows = [10, 10, 0, 10, 10, 10]
    blocks = valley([9, 7, 0, 5, 8, 10], rows)
    assert sum(bins for _, _, bins in blocks) == 6
    assert sum(n for _, n, _ in blocks) == 50
    shares = [hits / n for hits, n, bins in blocks for _ in range(bins)]
    assert shares[0] == 0.9 and shares[-1] == 1.0 and min(shares) == 0.5
    turn = shares.index(min(shares))
    assert sorted(shares[: turn + 1], reverse=True) == shares[: turn + 1]
    assert sorted(shares[turn:]) == shares[turn:]


def test_windows_add_up() -> None:
    profile = profile_of(*population(5_000, 5))
    calibration = Calibration(labelled(profile))
    first, second = population(1_000, 6)[0], population(3_000, 7)[0]
    a, b = (calibration.estimate(hist_of(profile, scores)) for scores in (first, second))
    both = calibration.estimate(hist_of(profile, np.concatenate([first, second])))
    assert a is not None and b is not None and both is not None
    assert both.correct == pytest.approx(a.correct + b.correct)
    assert both.variance == pytest.approx(a.variance + b.variance)
    assert both.sd <= (a.n * a.sd + b.n * b.sd) / both.n + 1e-12


def test_no_predictions_give_no_estimate() -> None:
    calibration = Calibration(labelled(profile_of(*population(1_000, 8))))
    assert calibration.estimate([0] * 20) is None


def watched(window: int = 1_000) -> tuple[Profile, EstimateWatch]:
    profile = profile_of(*population(10_000, 9))
    return profile, EstimateWatch(Calibration(labelled(profile)), PROMISED, window)


def told(profile: Profile, watch: EstimateWatch, windows: int, seed: int, hard: float) -> list[str]:
    drawn = (population(500, seed + k, hard)[0] for k in range(windows))
    changes = [watch.window(hist_of(profile, scores)) for scores in drawn]
    return [change for change in changes if change is not None]


def test_harder_inputs_are_told_once_and_their_end_too() -> None:
    profile, watch = watched()
    assert told(profile, watch, 40, 100, 0.2) == []
    assert told(profile, watch, 10, 200, 0.9) == [STARTED]
    assert (
        watch.latched and watch.explain()["accuracy"] < watch.explain()["reference_accuracy"] - 0.1
    )
    assert told(profile, watch, 10, 300, 0.2) == [CLEARED]


def test_the_estimates_promise_holds_with_room() -> None:
    """A promise loose enough to be broken by chance: reference and windows drawn anew each time."""
    alarms, runs = 0, 100
    for seed in range(runs):
        profile = profile_of(*population(1_000, seed))
        watch = EstimateWatch(Calibration(labelled(profile)), Promised(0.5, 5_000), 500)
        alarms += bool(told(profile, watch, 10, 10_000 + 10 * seed, 0.2))
    assert alarms / runs <= 0.5


def test_a_watch_goes_on_where_it_was() -> None:
    profile, watch = watched()
    told(profile, watch, 5, 400, 0.9)
    assert watch.latched
    again = watched()[1]
    again.restore(watch.to_state())
    assert told(profile, watch, 10, 500, 0.2) == told(profile, again, 10, 500, 0.2) == [CLEARED]
