from __future__ import annotations

import json
import math
import random
from array import array
from collections import Counter

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon.drift.categorical import MAX_NAME, MAX_UNSEEN, CategoricalDetector
from edgemon.drift.counts import compare, total_variation
from edgemon.drift.multinomial import allowed, bet
from edgemon.drift.profile import FeatureProfile
from edgemon.drift.threshold import BlindDetectorError
from tests.drift.data import normal, profile_of


def feature_of(sample: list[str], other: int = 0) -> FeatureProfile:
    return FeatureProfile(
        "class", "text", len(sample) + other, 0, array("d"), array("I"), 0.0, 0.0, (), 1.0, 0,
        dict(sorted(Counter(sample).items())), other,
    )  # fmt: skip


def detector_for(
    sample: list[str],
    window: int = 200,
    at_most: float = 0.01,
    per_predictions: int = 100_000,
    min_effect: float = 0.0,
) -> CategoricalDetector:
    return CategoricalDetector(
        feature_of(sample), window, at_most, per_predictions, min_effect=min_effect
    )


def draw(seed: int, n: int, **shares: float) -> list[str]:
    return random.Random(seed).choices(list(shares), list(shares.values()), k=n)


def transitions(detector: CategoricalDetector, stream: list[str]) -> list[tuple[int, str]]:
    found = []
    for i, text in enumerate(stream):
        what = detector.push(text)
        if what is not None:
            found.append((i, what))
    return found


HEALTHY = {"a": 0.5, "b": 0.3, "c": 0.2}


# -- the window


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from("abc"), min_size=20, max_size=60),
    st.lists(st.sampled_from([*"abcdef", ""]), max_size=100),
    st.integers(10, 30),
)
def test_the_window_is_counted_as_from_scratch(
    sample: list[str], stream: list[str], window: int
) -> None:
    detector = detector_for(sample * 20, window, 0.5, 10)
    known = sorted(set(sample))
    for i, text in enumerate(stream):
        detector.push(text)
        last = stream[max(0, i + 1 - window) : i + 1]
        reference = [20 * sample.count(name) for name in known] + [0]
        counts = [last.count(name) for name in known]
        counts.append(len(last) - sum(counts))
        assert detector.n == len(last)
        assert detector.tv() == total_variation(reference, counts)
        unseen = Counter(text or "(other)" for text in last if text not in known)
        assert detector.unseen() == unseen
        data = detector.explain()
        test = compare(reference, counts)
        assert (data["g"], data["chi_square"], data["df"], data["p"]) == test


def test_an_empty_window_is_no_drift() -> None:
    state = detector_for(draw(1, 1_000, **HEALTHY)).state()
    assert state == (0.0, 0, 0.0, 100_000 / 0.0075, False)
    assert detector_for(draw(1, 1_000, **HEALTHY)).explain()["p"] == 1.0


def test_one_category_that_stays_is_no_drift() -> None:
    detector = detector_for(["only"] * 1_000)
    assert transitions(detector, ["only"] * 5_000) == []
    assert detector.state().tv == 0.0
    assert detector.explain()["p"] == 1.0


def test_a_boolean_stream_is_two_texts() -> None:
    detector = detector_for(draw(1, 5_000, true=0.9, false=0.1))
    assert transitions(detector, draw(2, 3_000, true=0.9, false=0.1)) == []
    assert transitions(detector, draw(3, 1_000, true=0.5, false=0.5))[0][1] == "started"


# -- new categories


def test_a_new_category_is_found_within_a_few_values_and_named() -> None:
    detector = detector_for(draw(1, 5_000, **HEALTHY))
    assert transitions(detector, draw(2, 1_000, **HEALTHY)) == []
    ((found, what),) = transitions(detector, ["owl"] * 30)
    assert what == "started" and found < 10
    assert detector.unseen() == {"owl": 30}
    assert detector.message("started").startswith("class drifted: TV = 0.1")
    assert "new: 'owl'" in detector.message("started")


def test_names_of_new_categories_are_bounded_and_reused_once_they_left_the_window() -> None:
    detector = detector_for(draw(1, 5_000, **HEALTHY), window=100)
    before = detector.memory_bytes
    for i in range(1_000):
        detector.push(f"new{i}")
    unseen = detector.unseen()
    assert len(unseen) <= MAX_UNSEEN + 1
    assert sum(unseen.values()) == 100
    assert detector.memory_bytes == before
    for _ in range(100):
        detector.push("a")
    assert detector.unseen() == {}
    detector.push("late")
    detector.push("x" * (MAX_NAME + 1))
    assert detector.unseen() == {"late": 1, "(other)": 1}


def test_a_name_that_comes_back_after_losing_its_place_is_counted_anew() -> None:
    detector = detector_for(draw(1, 5_000, **HEALTHY), window=10)
    for text in ["x", *["a"] * 10, "y", "x", "x"]:
        detector.push(text)
    assert detector.unseen() == {"x": 2, "y": 1}


def test_an_empty_text_is_a_category_like_another() -> None:
    detector = detector_for(["", "a"] * 500, window=50)
    for i in range(200):
        detector.push(f"new{i % 40}")
        detector.push("")
    assert detector.explain()["categories"][""] == [0.5, 0.5]  # type: ignore[index]
    assert "" not in detector.unseen()


# -- alarm, latch and effect


def test_one_drift_raises_one_alarm_and_its_end_is_told_once() -> None:
    detector = detector_for(draw(1, 5_000, **HEALTHY))
    stream = [
        *draw(2, 2_000, **HEALTHY),
        *draw(3, 3_000, a=0.1, b=0.3, c=0.6),
        *draw(4, 3_000, **HEALTHY),
    ]
    ((started, one), (cleared, two)) = transitions(detector, stream)
    assert (one, two) == ("started", "cleared")
    assert 2_000 < started < 2_120
    assert 5_200 < cleared < 5_600
    assert not detector.drifted and detector.state().evidence < 1e6


def test_a_second_drift_raises_a_second_alarm() -> None:
    detector = detector_for(draw(1, 5_000, **HEALTHY))
    stream = [*["a"] * 500, *draw(2, 2_000, **HEALTHY), *["b"] * 500]
    assert [what for _, what in transitions(detector, stream)] == ["started", "cleared", "started"]


def test_an_effect_below_min_effect_is_held_back_until_it_is_there() -> None:
    sample = draw(1, 50_000, **HEALTHY)
    small, large = draw(2, 20_000, a=0.6, b=0.2, c=0.2), draw(3, 500, a=1.0)
    assert transitions(detector_for(sample), small)
    detector = detector_for(sample, min_effect=0.35)
    assert transitions(detector, small) == []
    # 250 of the 500 values and a block, to the next look.
    ((found, what),) = transitions(detector, large)
    assert what == "started" and detector.tv() >= 0.35 and found <= 150


def test_a_vanished_category_is_drift() -> None:
    detector = detector_for(draw(1, 5_000, **HEALTHY))
    assert transitions(detector, draw(2, 2_000, a=0.625, b=0.375))[0][0] < 400


def test_reset_forgets_window_evidence_and_latch() -> None:
    detector = detector_for(draw(1, 5_000, **HEALTHY))
    first = transitions(detector, ["c"] * 300)
    detector.reset()
    assert detector.state() == (0.0, 0, 0.0, 100_000 / 0.0075, False)
    assert detector.unseen() == {}
    assert transitions(detector, ["c"] * 300) == first != []


def test_the_promise_can_be_planned_anew() -> None:
    sample, stream = draw(1, 5_000, **HEALTHY), draw(2, 500, a=0.2, b=0.3, c=0.5)
    detector = detector_for(sample, per_predictions=1_000)
    detector.plan(0.01, 100_000)
    assert detector.state().threshold == 100_000 / 0.0075
    fresh = detector_for(sample, per_predictions=100_000)
    assert transitions(detector, stream) == transitions(fresh, stream) != []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "x", "y", ""]), max_size=120), st.integers(0, 120))
def test_restored_from_its_state_it_goes_on_the_same(stream: list[str], cut: int) -> None:
    sample = draw(1, 2_000, **HEALTHY)
    whole, later = (detector_for(sample, 40, 0.5, 50, min_effect=0.1) for _ in range(2))
    later.push("something before")
    transitions(whole, stream[:cut])
    later.restore(msgpack.unpackb(msgpack.packb(whole.to_state())))
    stream = stream[cut:] + ["b", "y", "z", "a"] * 30
    assert transitions(later, stream) == transitions(whole, stream)
    assert later.explain() == whole.explain()
    assert later.state() == whole.state()


def test_a_state_of_another_detector_is_refused() -> None:
    detector = detector_for(draw(1, 2_000, **HEALTHY), 40, 0.5, 50)
    transitions(detector, ["new"] * 40)
    state = detector.to_state()
    others = draw(1, 2_000, **HEALTHY, d=0.1)
    with pytest.raises(ValueError, match="window is another"):
        detector_for(draw(1, 2_000, **HEALTHY), 30, 0.5, 50).restore(state)
    with pytest.raises(ValueError, match="categories are others"):
        detector_for(others, 40, 0.5, 50).restore(state)
    damage: list[dict[str, object]] = [
        {"ring": b"\xff" * 80},
        {"at": [40, 0, 0, 0, 0]},
        {"unseen": []},
    ]
    for broken in damage:
        with pytest.raises(ValueError, match="window is another"):
            detector.restore(state | broken)


def test_the_window_can_be_had_in_order() -> None:
    detector = detector_for(draw(1, 2_000, **HEALTHY), window=5, at_most=0.5, per_predictions=10)
    for i, text in enumerate("abcxbca"):
        detector.push(text)
        seen = [index if index < 3 else -1 for index in detector.latest()]
        assert seen == ["abc".find(name) for name in "abcxbca"[max(0, i - 4) : i + 1]]


def test_the_event_is_json_and_names_what_moved_most() -> None:
    detector = detector_for(draw(1, 5_000, **HEALTHY))
    transitions(detector, ["c"] * 2_000)
    data = detector.explain()
    assert json.loads(json.dumps(data)) == data
    assert next(iter(data["categories"])) == "c"  # type: ignore[call-overload]
    assert data["values_seen"] == 2_000
    assert detector.message("cleared").startswith("class is as before: TV = ")


def test_memory_is_as_stated() -> None:
    for categories, window in ((3, 1_000), (500, 1_000)):
        sample = [str(i) for i in range(categories)] * 20
        detector = detector_for(sample, window)
        cells = min(categories + 1, 64)
        assert detector.memory_bytes <= 2 * window + 16 * categories + 200 * cells + 2_000


# -- settings


def test_a_reference_too_small_to_ever_alarm_is_refused_with_what_would_do() -> None:
    with pytest.raises(BlindDetectorError, match=r"what would do: .* or a window of \d+") as error:
        detector_for(["a", "b"] * 5, window=10)
    window = int(str(error.value).rsplit(" ", 1)[1])
    detector_for(["a", "b"] * 5, window=window)
    with pytest.raises(BlindDetectorError):
        detector_for(["a", "b"] * 5, window=window - 1)


def test_settings_without_meaning_are_refused() -> None:
    for arguments in ((0, 0.01, 10), (10, 0.0, 10), (10, 1.0, 10), (10, 0.01, 0)):
        with pytest.raises(ValueError, match="no alarm"):
            CategoricalDetector(feature_of(["a"] * 100), *arguments)
    numbers = profile_of(output=normal(1, 100)).features[0]
    with pytest.raises(ValueError, match="no categories"):
        CategoricalDetector(numbers, 10, 0.01, 10)


# -- the promise


def null_laws() -> list[dict[str, float]]:
    """Even, skewed, nearly constant, and a long tail with categories that no reference shows."""
    return [
        {"a": 0.5, "b": 0.5},
        {"a": 0.9, "b": 0.09, "c": 0.01},
        {"a": 0.999, "b": 0.001},
        {str(i): 1.0 / (i + 1) for i in range(300)},
        {str(i): 1.0 for i in range(3_000)},
    ]


def test_healthy_streams_keep_the_promise() -> None:
    """A budget of 30 % in 1,000 values, references of 1,000 rows: 60 streams of each law."""
    for law in null_laws():
        alarmed = 0
        for seed in range(60):
            detector = CategoricalDetector(feature_of(draw(seed, 1_000, **law)), 100, 0.3, 1_000)
            alarmed += any(map(detector.push, draw(1_000 + seed, 1_000, **law)))
        assert alarmed <= 18


def test_the_evidence_is_the_mean_of_three_sums_of_bets() -> None:
    """Before the first block ends, the guesses of window and block are no bets."""
    sample = draw(1, 5_000, **HEALTHY)
    detector = detector_for(sample)
    counts = list(feature_of(sample).categories.values())
    cell, shares, lows, highs = allowed(counts, 0, 0.0025)
    guess = [0.9 * share + 0.1 * (k == 3) for k, share in enumerate(shares)]
    factors = bet(guess, lows, highs)
    r = 0.0
    for i, text in enumerate(draw(2, 15, **HEALTHY, new=0.1), 1):
        detector.push(text)
        r = (r + 1.0) * factors[cell["abc".find(text)] if text in "abc" else 3]
        assert math.isclose(detector.state().evidence, (2 * i + r) / 3)


def test_the_evidence_of_a_known_law_grows_by_at_most_one_a_value() -> None:
    """The heart of the promise, in expectation: of 300 streams of 300 values, R is 300 or less."""
    law = {"a": 0.6, "b": 0.3, "c": 0.1}
    sample = [name for name, share in law.items() for _ in range(round(10_000 * share))]
    ends = []
    for seed in range(300):
        detector = detector_for(sample, window=50)
        for text in draw(seed, 300, **law):
            detector.push(text)
        ends.append(detector.state().evidence)
    mean = sum(ends) / len(ends)
    deviation = math.sqrt(sum((end - mean) ** 2 for end in ends) / len(ends))
    assert mean <= 300 + 3 * deviation / math.sqrt(len(ends))
    assert mean > 30  # it bets: a detector that never does would stay at 300, one that loses at 0
