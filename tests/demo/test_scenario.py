"""The scene: disjoint thirds, one law for all three, dirt on the pictures alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the demo extra is not installed")

from scipy.stats import ks_2samp

from edgemon.demo import scenario
from edgemon.demo.scenario import FEATURES, SIDE, Camera, Scenario


@pytest.fixture(scope="module")
def scene() -> Scenario:
    return scenario.build(3)


def test_thirds_are_disjoint_and_together_are_all_images() -> None:
    thirds = scenario.split(3)
    ids = [set(third.ids.tolist()) for third in thirds]
    assert not ids[0] & ids[1] and not ids[0] & ids[2] and not ids[1] & ids[2]
    assert ids[0] | ids[1] | ids[2] == set(range(1_797))


def test_each_third_has_every_digit_equally_often() -> None:
    counts = [np.bincount(third.labels, minlength=10) for third in scenario.split(3)]
    assert (np.abs(counts[0] - counts[1]) <= 1).all() and (np.abs(counts[0] - counts[2]) <= 1).all()


def test_equal_seeds_give_equal_pictures_and_other_seeds_others() -> None:
    def pictures(seed: int) -> scenario.Floats:
        return (
            Camera(scenario.split(seed).live, np.random.default_rng(seed)).take(np.zeros(5)).pixels
        )

    assert (pictures(3) == pictures(3)).all()
    assert not (pictures(3) == pictures(4)).all()


def test_equal_seeds_train_equal_classifiers(scene: Scenario) -> None:
    pixels = np.random.default_rng(0).random((20, SIDE, SIDE))
    again = scenario.build(3).reader.observe(pixels)
    assert (scene.reader.observe(pixels).confidences == again.confidences).all()


def test_a_clean_lens_changes_nothing() -> None:
    pictures = np.random.default_rng(0).random((4, SIDE, SIDE))
    assert np.allclose(scenario.through_lens(pictures, np.zeros(4)), pictures, atol=1e-12)


def test_dirt_blurs_and_fades_each_picture_by_its_own_amount() -> None:
    pictures = np.repeat(np.random.default_rng(0).random((1, SIDE, SIDE)), 3, axis=0)
    clean, some, full = scenario.through_lens(pictures, np.array([0.0, 0.4, 1.0]))
    assert clean.std() > some.std() > full.std()
    assert (
        np.abs(np.diff(clean)).mean() > np.abs(np.diff(some)).mean() > np.abs(np.diff(full)).mean()
    )


def test_dirt_begins_after_the_last_clean_picture_and_stays_full() -> None:
    dirt = scenario.dirt_at(np.array([-50, 0, 1, 100, 200, 900]), growth=200)
    assert dirt.tolist() == [0.0, 0.0, 0.005, 0.5, 1.0, 1.0]


def test_blank_and_saturated_pictures_have_finite_features() -> None:
    pixels = np.stack([np.zeros((SIDE, SIDE)), np.ones((SIDE, SIDE))])
    assert np.isfinite(scenario.features(pixels)).all()


def test_a_brighter_left_half_moves_the_centroid_to_the_left() -> None:
    picture = np.full((1, SIDE, SIDE), 0.1)
    picture[:, :, :4] = 0.9
    values = dict(zip(FEATURES, scenario.features(picture)[0], strict=True))
    assert values["centroid_x"] < -1.0
    assert values["centroid_y"] == pytest.approx(0.0, abs=1e-9)


def test_the_classifier_reads_unseen_clean_pictures_and_fails_under_dirt(scene: Scenario) -> None:
    clean, dirty = scene.live.take(np.zeros(1_000)), scene.live.take(np.ones(1_000))

    def right(pictures: scenario.Pictures) -> float:
        confidences = scene.reader.observe(pictures.pixels).confidences
        return float((confidences.argmax(axis=1) == pictures.labels).mean())

    assert right(clean) > 0.9
    assert right(dirty) < right(clean) - 0.2


def test_reference_and_live_pictures_agree_until_dirt_parts_them(scene: Scenario) -> None:
    reference = scenario.features(scene.reference.take(np.zeros(4_000)).pixels)
    clean = scenario.features(scene.live.take(np.zeros(4_000)).pixels)
    dirty = scenario.features(scene.live.take(np.full(4_000, 0.5)).pixels)
    for column, name in enumerate(FEATURES):
        assert ks_2samp(reference[:, column], clean[:, column]).statistic < 0.07, name
    far = [
        ks_2samp(reference[:, column], dirty[:, column]).statistic
        for column in range(len(FEATURES))
    ]
    assert sum(distance > 0.3 for distance in far) >= 4
