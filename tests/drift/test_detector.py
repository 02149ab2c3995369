from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgemon.drift.detector import DriftDetector, ModelDetectors, Transition, faults
from edgemon.drift.profile import Profile
from edgemon.drift.threshold import Threshold, ThresholdError
from tests.drift.data import Budget, Settings, normal, profile_of


def detector_for(
    reference: array[float] | list[float],
    window: int = 100,
    h: int | None = None,
    min_effect: float = 0.0,
) -> DriftDetector:
    """With a threshold of h, or else at D = 0.3."""
    profile = profile_of(output=reference)
    m = profile.reference("output", window).m
    lcm = math.lcm(m, window)
    limit = Threshold(h or math.ceil(0.3 * lcm), lcm, 0.0)
    return DriftDetector(
        profile.features[0],
        profile.reference("output", window),
        window,
        limit,
        min_effect=min_effect,
    )


def transitions(
    detector: DriftDetector, values: array[float] | list[float]
) -> list[tuple[int, str]]:
    """(index, what) of each transition."""
    found = []
    for i, x in enumerate(values):
        news = detector.push(x)
        if news is not None:
            found.append((i, news.what))
    return found


# -- when an alarm comes


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 6).map(float), min_size=20, max_size=60),
    st.lists(
        st.integers(-1, 8).map(float) | st.sampled_from([math.inf, -math.inf, -0.0]),
        max_size=80,
    ),
    st.integers(1, 20),
    st.floats(0.05, 1.0),
)
def test_the_alarm_comes_at_the_first_value_at_which_scipy_reaches_the_threshold(
    reference: list[float], stream: list[float], window: int, d: float
) -> None:
    profile = profile_of(output=reference)
    lcm = math.lcm(len(reference), window)
    h = max(1, math.ceil(d * lcm))
    detector = detector_for(reference, window, h)
    assert profile.reference("output", window).m == len(reference)
    first = next((i for i, _ in transitions(detector, stream)), None)
    expected = None
    for i in range(window - 1, len(stream)):
        found = stats.ks_2samp(
            _finite(reference), _finite(stream[i + 1 - window : i + 1]), method="asymp"
        )
        if round(found.statistic * lcm) >= h:
            expected = i
            break
    assert first == expected


def _finite(values: list[float]) -> list[float]:
    return [max(-1e300, min(1e300, value)) for value in values]


def test_fewer_values_than_the_window_never_alarm() -> None:
    detector = detector_for(normal(1, 1_000))
    assert transitions(detector, [1e9] * 99) == []
    assert detector.state()[:2] == (1.0, 99)
    assert transitions(detector, [1e9]) == [(0, "started")]


def test_a_constant_that_stays_what_it_was_is_no_drift() -> None:
    # A peer that orders ties by group reports D = 1 here.
    detector = detector_for([5.0] * 500)
    assert transitions(detector, [5.0] * 1_000) == []
    assert detector.state().d == 0.0


def test_a_constant_that_becomes_another_is_drift_with_d_of_one() -> None:
    detector = detector_for([5.0] * 500)
    assert transitions(detector, [5.0] * 200 + [6.0] * 200) == [(229, "started")]
    assert detector.state().d == 1.0


def test_a_reference_of_one_value_works() -> None:
    detector = detector_for([5.0], window=10)
    assert transitions(detector, [5.0] * 20 + [4.0] * 3) == [(22, "started")]
    assert detector.explain()["direction"] == "down"


def test_infinities_are_values_beyond_all_others() -> None:
    detector = detector_for(normal(1, 1_000))
    assert transitions(detector, [*normal(2, 200), *[math.inf] * 60])[0][1] == "started"
    assert detector.explain()["direction"] == "up"
    both = detector_for([-math.inf, 0.0, math.inf] * 100)
    assert transitions(both, [-math.inf, 0.0, math.inf] * 100) == []


def test_nan_is_for_the_caller_to_count() -> None:
    detector = detector_for(normal(1, 1_000))
    with pytest.raises(ValueError, match="NaN"):
        detector.push(math.nan)


def test_an_effect_below_min_effect_is_no_alarm_however_significant() -> None:
    reference, shifted = normal(1, 10_000), normal(2, 5_000, mean=0.15)
    assert transitions(detector_for(reference, 1000, 300), shifted)[0][1] == "started"
    assert transitions(detector_for(reference, 1000, 300, min_effect=0.15), shifted) == []


# -- the latch


def test_one_drift_raises_one_alarm_and_its_end_is_told_once() -> None:
    detector = detector_for(normal(1, 1_000))
    stream = [*normal(2, 500), *normal(3, 5_000, mean=1.5), *normal(4, 2_000)]
    (started, cleared) = transitions(detector, stream)
    assert started[1] == "started" and 500 < started[0] < 600
    assert cleared[1] == "cleared" and 5_600 < cleared[0] < 5_800
    assert detector.state().drifted is False


def test_a_second_drift_raises_a_second_alarm() -> None:
    detector = detector_for(normal(1, 1_000))
    stream = [*normal(2, 300, mean=2.0), *normal(3, 500), *normal(4, 300, mean=-2.0)]
    assert [what for _, what in transitions(detector, stream)] == ["started", "cleared", "started"]


def test_hovering_between_the_two_thresholds_neither_clears_nor_alarms_again() -> None:
    # D alternates between 0.28 and 0.32 around the threshold of 0.3, far above 0.8 of it.
    reference = [float(i) for i in range(100)]
    detector = detector_for(reference, window=100)
    stream = [float(min(99, i + 32)) for i in range(100)]
    for round_ in range(50):
        stream += [float(min(99, i + (28 if round_ % 2 else 32))) for i in range(100)]
    assert [what for _, what in transitions(detector, stream)] == ["started"]


@pytest.mark.parametrize("window", [10, 20, 100, 1000])
def test_clearing_takes_a_whole_window_below_the_lower_threshold(window: int) -> None:
    detector = detector_for([float(i % 10) for i in range(10 * window)], window)
    assert transitions(detector, [20.0] * window) == [(window - 1, "started")]
    ((cleared, what),) = transitions(detector, [float(i % 10) for i in range(4 * window)])
    assert what == "cleared"
    # After 0.76 of a window h is below; then one window more, both seen at every 20th part.
    assert 1.7 * window <= cleared <= 1.9 * window


def test_reset_forgets_window_and_latch() -> None:
    detector = detector_for(normal(1, 1_000))
    transitions(detector, [9.0] * 100)
    assert detector.state().drifted
    detector.reset()
    assert (detector.state().drifted, detector.state().n) == (False, 0)
    assert transitions(detector, [9.0] * 100) == [(99, "started")]


def test_memory_does_not_grow_with_the_stream() -> None:
    detector = detector_for(normal(1, 1_000), window=1000)
    before = detector.memory_bytes
    transitions(detector, normal(2, 5_000, mean=1.0))
    assert detector.memory_bytes == before < 8_000


# -- a model's detectors


def test_each_stream_gets_its_share_of_the_budget() -> None:
    sample = normal(1, 1_000)
    few = ModelDetectors(profile_of(output=sample), Settings())
    many = ModelDetectors(profile_of(**{f"f_{i}": sample for i in range(30)}), Settings())
    (one,) = few
    assert all(detector.threshold_d > one.threshold_d for detector in many)


def test_texts_are_counted_against_the_profile_and_take_no_share() -> None:
    profile = profile_of(output=normal(1, 1_000), f_c=["x", "y"] * 500)
    detectors = ModelDetectors(profile, Settings())
    assert [detector.stream for detector in detectors] == ["output"]
    for text in ("x", "x", "new"):
        detectors.text("f:c", text)
    assert detectors.new_categories() == {"f:c": (3, 1)}


def test_streams_that_only_one_side_knows_are_reported() -> None:
    detectors = ModelDetectors(
        profile_of(output=normal(1, 1_000), f_a=normal(2, 1_000)), Settings()
    )
    assert detectors.push("output", 0.0) is None
    assert detectors.push("f:b", 0.0) is None
    detectors.text("f:c", "x")
    assert detectors.unseen() == ["f:a"]
    assert detectors.unknown() == ["f:b", "f:c"]
    assert detectors.state("f:b") is None
    state = detectors.state("output")
    assert state is not None and (state.n, state.drifted) == (1, False)


def test_unknown_names_are_bounded() -> None:
    detectors = ModelDetectors(profile_of(output=normal(1, 1_000)), Settings())
    for i in range(1_000):
        detectors.push(f"f:{i}", 0.0)
    assert len(detectors.unknown()) == 256


def test_versions_share_references_and_nothing_else() -> None:
    profile = profile_of(output=normal(1, 1_000))
    old, new = ModelDetectors(profile, Settings()), ModelDetectors(profile, Settings())
    for _ in range(300):
        old.push("output", 9.0)
    assert old.drifted() == ["output"]
    assert new.drifted() == []
    assert new.status()[0]["n"] == 0


def test_an_alarm_explains_itself() -> None:
    profile = profile_of(output=normal(1, 1_000))
    detectors = ModelDetectors(profile, Settings())
    stream = [*normal(3, 400), *normal(2, 200, mean=0.6)]
    news = [detectors.push("output", x) for x in stream]
    (started,) = [one for one in news if one is not None]
    assert isinstance(started, Transition)
    assert started.message.startswith("output drifted up: D = 0.")
    assert started.data["by"] == "ks"
    assert started.data["profile"] == profile.hash
    assert started.data["stream"] == "output"
    assert started.data["h"] >= started.data["threshold_h"]  # type: ignore[operator]


def test_settings_that_cannot_keep_the_promise_are_refused_stream_by_stream() -> None:
    profile = profile_of(output=normal(1, 1_000), f_short=normal(1, 50))
    assert len(faults(profile, Settings())) == 1
    detectors = ModelDetectors(profile, Settings())  # the other is tested
    assert [one.stream for one in detectors] == ["output"]
    assert detectors.untested["f:short"].startswith("the reference is smaller than the window")
    assert detectors.push("f:short", 9.0) is None and detectors.unknown() == []
    words = r"^output: the reference is smaller than the window"
    with pytest.raises(ThresholdError, match=words):
        ModelDetectors(profile_of(output=normal(1, 50)), Settings())
    (blind,) = faults(profile_of(output=normal(1, 20)), Settings(window=10))
    assert blind.startswith("output: a window of 10") and "what would do: " in blind
    assert faults(profile_of(output=normal(1, 1_000)), Settings()) == []


def test_loaded_for_its_detectors_a_profile_gives_the_same_alarms() -> None:
    whole = profile_of(output=normal(1, 950))
    lean = Profile.from_bytes(whole.to_bytes(), window=100)
    stream = [*normal(2, 500), *normal(3, 300, mean=1.0)]
    one, two = (ModelDetectors(profile, Settings()) for profile in (whole, lean))
    assert [one.push("output", x) for x in stream] == [two.push("output", x) for x in stream]
    assert one.drifted() == ["output"]


# -- the promise


def null_laws(chance: random.Random) -> list[Callable[[], float]]:
    """Normal, heavy tails, few levels, 90 % zeros."""
    return [
        lambda: chance.gauss(0.0, 1.0),
        lambda: chance.gauss(0.0, 1.0) ** 3,
        lambda: float(chance.randrange(4)),
        lambda: max(0.0, chance.random() - 0.9),
    ]


def test_healthy_streams_keep_the_promise() -> None:
    """A budget of 20 % over 3,000 predictions of a model with 4 streams, on 200 models."""
    budget = Settings(false_alarms=Budget(0.2, 3_000), window=100)
    alarmed = 0
    for seed in range(200):
        laws = null_laws(random.Random(seed))
        columns = {f"f_{i}": [law() for _ in range(1_000)] for i, law in enumerate(laws)}
        detectors = list(ModelDetectors(profile_of(**columns), budget))
        alarmed += any(
            detector.push(law()) is not None
            for detector, law in zip(detectors, laws, strict=True)
            for _ in range(3_000)
        )
    # At most 40 are due. The bound is not empty either: two streams are continuous.
    assert 5 <= alarmed <= 40


@pytest.mark.parametrize(
    ("shift", "at_most"),
    [(0.5, 900), (1.0, 400), (3.0, 250)],
)
def test_a_shift_is_found_within_a_window_or_so(shift: float, at_most: int) -> None:
    delays = []
    for seed in range(10):
        profile = profile_of(output=normal(seed, 10_000))
        detectors = ModelDetectors(profile, Settings(window=1000, min_effect=0.05))
        for x in normal(seed + 100, 3_000):
            assert detectors.push("output", x) is None
        stream = normal(seed + 200, 3_000, mean=shift)
        delays.append(
            next(i for i, x in enumerate(stream) if detectors.push("output", x) is not None)
        )
    assert max(delays) <= at_most
